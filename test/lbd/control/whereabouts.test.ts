import t from 'tap';
import { parseConfig } from '../../../common/config.ts';
import type { BackendTarget } from '../../../lbd/control/health/monitor.ts';
import { Whereabouts } from '../../../lbd/control/whereabouts.ts';

t.test('an address that this host gets later, and by which a backend leads back, is found', async (t) => {
  const config = parseConfig(
    `
frontends: { in: { bind: ["*:28201"], mode: tcp, pool: p } }
pools: { p: { backends: { s1: { address: "192.0.2.7:28201" } } } }
`,
    '/test.yaml',
    { cpus: 1 },
  );
  let own = new Set(['192.0.2.1']);
  const applied: (readonly BackendTarget[])[] = [];
  let heard = () => {};
  const it = new Whereabouts({
    monitor: {
      apply: (targets) => {
        applied.push(targets);
        heard();
      },
      prepare: () => {},
      update: () => {},
      usable: () => [],
    },
    readdress: () => {},
    tell: () => {},
    hostAddresses: () => own,
    lookMs: 5,
  });
  t.teardown(() => it.close());
  it.follow(config, () => undefined);
  t.match(applied, [[{ id: 'p/s1', addresses: ['192.0.2.7'] }]]);
  const again = new Promise<void>((resolve) => {
    heard = resolve;
  });
  own = new Set(['192.0.2.1', '192.0.2.7']);
  const awake = setInterval(() => {}, 1000);
  await again;
  clearInterval(awake);
  t.match(applied, [{}, [{ id: 'p/s1', addresses: [], leadsBack: true }]]);
});

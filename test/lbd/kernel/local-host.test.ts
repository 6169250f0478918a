import t from 'tap';
import { parseConfig } from '../../../common/config.ts';
import { LocalHost } from '../../../lbd/kernel/local-host.ts';
import { fakeHost } from './fake-host.ts';

const CONFIG = parseConfig(
  `frontends: { f: { bind: ["*:5000"], mode: tcp, pool: p, engine: kernel } }
pools: { p: { backends: { a: { address: "192.0.2.21:9" } } } }
`,
  '/etc/tandem/tandem.yaml',
);
const ORDER = { config: CONFIG, frontends: ['f'], gates: {}, young: {} };
const QUIET = { tell: () => {}, onLoaded: () => {} };

t.test('who ends while an order is carried out claims the table no more', async (t) => {
  const { host, parts } = fakeHost();
  const apply = Promise.withResolvers<void>();
  const local = new LocalHost(QUIET, { ...parts, nft: { ...parts.nft!, apply: () => apply.promise } });
  const kept = local.keep(ORDER);
  const closed = local.close();
  apply.resolve();
  await Promise.all([kept, closed]);
  t.notOk(host.claimed);
});

t.test('an order after the end does nothing', async (t) => {
  const { scripts, parts } = fakeHost();
  let watches = 0;
  const watch = () => ({ start: () => watches++, close() {} });
  const local = new LocalHost(QUIET, { ...parts, watch });
  await local.close();
  t.equal(await local.keep(ORDER), undefined);
  t.strictSame([watches, scripts], [0, []]);
});

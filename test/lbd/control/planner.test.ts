import t from 'tap';
import { parseConfig } from '../../../common/config.ts';
import { doorsOf } from '../../../lbd/control/own-doors.ts';
import { addressesOf, hostsOf, Planner, targetsOf } from '../../../lbd/control/planner.ts';
import { createSharedBuffers, GATE_CLOSED, GATE_OPEN, SharedState } from '../../../lbd/shared/shared.ts';
import { testConfig } from './test-config.ts';

t.test('rows stay with their owners, and new ones begin at 0', async (t) => {
  const buffers = createSharedBuffers(1);
  const shared = new SharedState(buffers, -1);
  const worker = new SharedState(buffers, 0);
  const planner = new Planner(shared);
  const first = planner.plan(testConfig({ pools: { web: { s1: 1, s2: 1 } } }));
  t.same([first.slots, first.frontendRows], [{ 'web/s1': 0, 'web/s2': 1 }, { web: 0 }]);
  worker.countBackend(1, 0, 5);
  worker.countBackend(2, 0, 5);
  worker.countFrontend(1, 1, 5);
  shared.setGate(1, GATE_OPEN, 3);
  shared.setGate(2, GATE_OPEN, 3);
  const second = planner.plan(testConfig({ pools: { api: { a1: 1 }, web: { s2: 1 } } }));
  t.same(
    [second.slots, second.frontendRows],
    [
      { 'api/a1': 2, 'web/s2': 1 },
      { api: 1, web: 0 },
    ],
  );
  t.same([planner.slot('web/s1'), planner.frontendRow('api')], [undefined, 1]);
  t.equal(shared.backendCounter(1, 'requests'), 5);
  t.equal(shared.backendCounter(2, 'requests'), 0);
  t.equal(shared.frontendCounter(1, 'accepted'), 0);
  t.same([shared.gate(1), shared.gate(2)], [GATE_OPEN, GATE_CLOSED]);
});

t.test('a config that does not fit moves no row', async (t) => {
  const planner = new Planner(new SharedState(createSharedBuffers(1), -1));
  const small = testConfig({ pools: { web: { s1: 1 } } });
  planner.plan(small);
  const pool = small.pools[0]!;
  const backends = Array.from({ length: 8193 }, (_, i) => ({ ...pool.backends[0]!, name: `b${i}` }));
  const frontends = [{ ...small.frontends[0]!, name: 'other' }];
  t.throws(() => planner.plan({ ...small, frontends, pools: [{ ...pool, backends }] }), {
    code: 'TOO_MANY',
    message: /^8193 backends do not fit: there is room for 8192/,
  });
  t.same([planner.frontendRow('web'), planner.slot('web/s1')], [0, 0]);
});

t.test('every backend is a target of its pool’s check', async (t) => {
  t.match(targetsOf(testConfig({ pools: { web: { s1: 1 }, api: { a1: 1 } } })), [
    { id: 'web/s1', host: '127.0.0.1', port: 9001, config: { type: 'none' } },
    { id: 'api/a1' },
  ]);
});

t.test('a host that is a name is checked and reached at its addresses', async (t) => {
  const config = testConfig({
    more: '  api: { backends: { a1: { address: "A.test:80" }, a2: { address: "b.test:80" } } }',
  });
  t.strictSame(hostsOf(config), ['127.0.0.1', 'A.test', 'b.test']);
  const known = { addresses: ['10.0.0.1'], pending: false, trouble: 'no name server answers', ageMs: 5 };
  const unknown = { addresses: [], pending: false, trouble: 'the name is not known', ageMs: 5 };
  const targets = targetsOf(config, undefined, (host) =>
    host === 'A.test' ? known : host === 'b.test' ? unknown : undefined,
  );
  t.match(targets, [
    { id: 'web/s1', addresses: ['127.0.0.1'] },
    { id: 'api/a1', host: 'A.test', addresses: ['10.0.0.1'] },
    { id: 'api/a2', host: 'b.test', addresses: [], nowhere: 'host name b.test: the name is not known' },
  ]);
  t.equal(targets[1]!.nowhere, undefined, 'the last good address is of use');
  const usable = (id: string) => (id === 'api/a1' ? ['10.0.0.1'] : []);
  t.strictSame(addressesOf(config, usable), { 'api/a1 A.test:80': ['10.0.0.1'] });
  t.equal(addressesOf(testConfig(), usable), undefined, 'nobody is told anything where there is no name');
});

t.test('a name that leads back to the frontend of its pool is no address of its backend', async (t) => {
  const config = parseConfig(
    `
frontends: { in: { bind: ["*:5000"], mode: tcp, pool: p }, out: { bind: ["127.0.0.1:6000"], mode: tcp, pool: q } }
pools:
  p: { backends: { a: { address: "a.test:5000" }, b: { address: "b.test:5001" } } }
  q: { backends: { c: { address: "a.test:5000" }, d: { address: "a.test:6000" } } }
`,
    '/test.yaml',
    { cpus: 1 },
  );
  const led = (...addresses: string[]) =>
    targetsOf(config, undefined, () => ({ addresses, pending: false, trouble: '', ageMs: 0 })).map(
      ({ id, addresses: where, nowhere = '' }) => [id, where.join(), nowhere],
    );
  t.match(led('127.0.0.1'), [
    ['p/a', '', 'host name a.test leads to 127.0.0.1:5000, where frontends.in listens: what'],
    ['p/b', '127.0.0.1', ''],
    ['q/c', '127.0.0.1', ''],
    ['q/d', '', 'host name a.test leads to 127.0.0.1:6000, where frontends.out listens: what'],
  ]);
  t.match(led('127.0.0.1', '192.0.2.7')[0], ['p/a', '192.0.2.7', ''], 'the others stay');
});

t.test('an address of this host at which a frontend of its pool listens is not checked', async (t) => {
  const config = parseConfig(
    `
frontends: { in: { bind: ["*:5000"], mode: tcp, pool: p } }
pools: { p: { backends: { a: { address: "192.0.2.7:5000" }, b: { address: "192.0.2.8:5000" } } } }
`,
    '/test.yaml',
    { cpus: 1 },
  );
  const doors = doorsOf(config, new Set(['192.0.2.7']));
  t.match(targetsOf(config, undefined, undefined, doors), [
    {
      ...{ id: 'p/a', addresses: [] },
      nowhere: 'its address is one where frontends.in listens: what it gets would go round for ever',
      leadsBack: true,
    },
    { id: 'p/b', addresses: ['192.0.2.8'], leadsBack: undefined },
  ]);
});

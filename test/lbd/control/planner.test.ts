import t from 'tap';
import { Planner, targetsOf } from '../../../lbd/control/planner.ts';
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
  const backends = Array.from({ length: 4097 }, (_, i) => ({ ...pool.backends[0]!, name: `b${i}` }));
  const frontends = [{ ...small.frontends[0]!, name: 'other' }];
  t.throws(() => planner.plan({ ...small, frontends, pools: [{ ...pool, backends }] }), {
    code: 'TOO_MANY',
    message: /^4097 backends do not fit: there is room for 4096/,
  });
  t.same([planner.frontendRow('web'), planner.slot('web/s1')], [0, 0]);
});

t.test('every backend is a target of its pool’s check', async (t) => {
  t.match(targetsOf(testConfig({ pools: { web: { s1: 1 }, api: { a1: 1 } } })), [
    { id: 'web/s1', host: '127.0.0.1', port: 9001, config: { type: 'none' } },
    { id: 'api/a1' },
  ]);
});

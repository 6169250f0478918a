import t from 'tap';
import { LearntHealth } from '../../../../lbd/control/care/learnt-health.ts';
import type { HealthReport } from '../../../../lbd/control/health/monitor.ts';
import { Registers } from '../../../../lbd/session/registers.ts';

function setUp(state: HealthReport['state'] = 'unknown') {
  const registers = new Registers('lb1');
  const sets: string[] = [];
  registers.onChange((key) => sets.push(key));
  const seeds: string[] = [];
  const report = { state } as HealthReport;
  const learnt = new LearntHealth(registers, {
    report: () => report,
    seed: (id, healthy, why) => seeds.push(`${id} ${healthy} ${why}`),
  });
  return { registers, learnt, sets, seeds };
}

t.test('a result is shared when it differs from what the pair knows', async (t) => {
  const { registers, learnt, sets } = setUp();
  learnt.learn('web/s1', { state: 'unknown', why: '' });
  t.same(sets, []);
  learnt.learn('web/s1', { state: 'unhealthy', why: 'connection refused' });
  learnt.learn('web/s1', { state: 'unhealthy', why: 'timed out after 5 s' });
  t.same(sets, ['health/web/s1']);
  learnt.learn('web/s1', { state: 'healthy', why: 'status 200' });
  t.same(registers.get('health/web/s1'), { healthy: true, why: 'status 200' });
  registers.merge({ key: 'health/web/s1', value: { healthy: false, why: 'x' }, version: 99, origin: 'lb2' });
  t.equal(sets.length, 3, 'what the peer says is not answered');
});

t.test('what the pair knows stands in for a first result, not for later ones', async (t) => {
  for (const [state, expected] of [
    ['unknown', ['web/s1 false as last seen by the pair: connection refused']],
    ['healthy', []],
    ['unhealthy', []],
  ] as const) {
    const { registers, learnt, seeds } = setUp(state);
    learnt.seed('web/s1');
    registers.set('health/web/s1', { healthy: false, why: 'connection refused' });
    learnt.seed('web/s1');
    t.same(seeds, expected, state);
  }
});

t.test('nonsense in a register is not learnt, and a long reason is cut', async (t) => {
  const { registers, learnt, seeds } = setUp();
  for (const value of [null, 'healthy', { healthy: 'yes' }, [], 1]) {
    registers.set('health/web/s1', value);
    learnt.seed('web/s1');
  }
  t.same(seeds, []);
  learnt.learn('web/s2', { state: 'unhealthy', why: 'x'.repeat(10_000) });
  t.ok(JSON.stringify(registers.get('health/web/s2')).length < 400);
});

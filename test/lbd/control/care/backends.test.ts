import t from 'tap';
import type { Config } from '../../../../common/model.ts';
import { Backends } from '../../../../lbd/control/care/backends.ts';
import type { HealthReport } from '../../../../lbd/control/health/monitor.ts';
import { type Json, Registers } from '../../../../lbd/session/registers.ts';
import {
  createSharedBuffers,
  GATE_CLOSED,
  GATE_OPEN,
  GATE_STUCK,
  SharedState,
} from '../../../../lbd/shared/shared.ts';
import { testConfig } from '../test-config.ts';

const UNKNOWN: HealthReport = {
  state: 'unknown',
  drainRequested: false,
  why: 'waiting for the first check',
  sinceMs: 0,
  checks: [],
  failingChecks: [],
};
const HEALTHY: HealthReport = { ...UNKNOWN, state: 'healthy', why: 'status 200' };
const REFUSED: HealthReport = { ...UNKNOWN, state: 'unhealthy', why: 'connection refused' };

const SLOTS: Readonly<Record<string, number>> = { 'web/s1': 0, 'web/s2': 1, 'api/a1': 2 };

function setUp(config: Config = testConfig({ pools: { web: { s1: 1, s2: 3 } } }), slots = SLOTS) {
  const buffers = createSharedBuffers(1);
  const shared = new SharedState(buffers, -1);
  const worker = new SharedState(buffers, 0);
  const registers = new Registers('lb1');
  const health = new Map<string, HealthReport>();
  const told: string[] = [];
  const cut: number[] = [];
  let nowMs = 1000;
  let changes = 0;
  const backends = new Backends({
    shared,
    registers,
    health: (id) => health.get(id) ?? UNKNOWN,
    now: () => nowMs,
    tell: (level, kind, text) => told.push(`${level} ${kind} ${text}`),
    cut: (slot) => cut.push(slot),
    changed: () => changes++,
  });
  t.teardown(() => backends.close());
  backends.apply(config, slots);
  return {
    backends,
    shared,
    worker,
    registers,
    cut,
    report(id: string, report: HealthReport) {
      health.set(id, report);
      backends.evaluate(id);
    },
    pass(ms: number) {
      nowMs += ms;
      backends.evaluate();
    },
    /** What was told since the last call. */
    news: () => told.splice(0),
    changes: () => changes,
  };
}

t.test('health opens and closes the gates, and each change is told once', async (t) => {
  const { backends, shared, report, news, changes } = setUp();
  t.equal(shared.gate(0), GATE_CLOSED);
  t.match(backends.usable(), { healthy: false, why: 'no pool has a backend that takes clients: web' });
  report('web/s1', HEALTHY);
  report('web/s2', REFUSED);
  t.same(news(), [
    'info backend web/s1: starting → ready: status 200',
    'warn backend web/s2: starting → down: connection refused',
  ]);
  t.same([shared.gate(0), shared.eligible(0), shared.gate(1)], [GATE_OPEN, true, GATE_CLOSED]);
  t.same(backends.usable(), { healthy: true, why: '' });
  const before = changes();
  report('web/s2', { ...REFUSED, why: 'timed out after 5 s' });
  t.same(news(), []);
  t.equal(changes(), before);
  t.equal(backends.status('web/s2').why, 'timed out after 5 s');
});

t.test(
  'an outage of more pools than anybody reads is told with their number and the first names',
  async (t) => {
    const names = Array.from({ length: 100 }, (_, i) => `p${i}`);
    const config = testConfig({ pools: Object.fromEntries(names.map((name) => [name, { s1: 1 }])) });
    const { backends } = setUp(config, Object.fromEntries(names.map((name, i) => [`${name}/s1`, i])));
    t.equal(
      backends.usable().why,
      'no pool has a backend that takes clients: p0, p1, p2, p3, p4, p5 and 94 more',
    );
  },
);

t.test('a pool without backends is told once, with the reasons, and so is its return', async (t) => {
  const { backends, report, news } = setUp();
  report('web/s1', HEALTHY);
  report('web/s2', HEALTHY);
  backends.set('web/s2', { admin: 'maint' });
  news();
  report('web/s1', REFUSED);
  t.match(news(), [
    'warn backend web/s1: ready → down: connection refused',
    'warn pool pool web has no backend that takes clients: s1 is down (connection refused), s2 is maint (set to maint by the operator)',
  ]);
  t.equal(backends.warnings().length, 1);
  report('web/s1', { ...REFUSED, why: 'timed out after 5 s' });
  t.same(news(), []);
  report('web/s1', HEALTHY);
  t.match(news(), [/ready/, 'info pool pool web takes clients again: s1']);
  t.same(backends.warnings(), []);
});

t.test('while first checks run, nothing is said about the pool', async (t) => {
  const { report, news } = setUp();
  report('web/s1', REFUSED);
  t.match(news(), [/^warn backend web\/s1/]);
  report('web/s2', REFUSED);
  t.match(news(), [/^warn backend web\/s2/, /^warn pool pool web has no backend/]);
});

t.test('a drain follows what is in flight and cuts what is left', async (t) => {
  const { backends, shared, worker, report, pass, cut } = setUp();
  report('web/s1', HEALTHY);
  worker.enter(0);
  backends.set('web/s1', { admin: 'drain' });
  t.equal(shared.gate(0), GATE_STUCK);
  t.match(backends.status('web/s1'), { state: 'draining', admin: 'drain', active: 1 });
  pass(29_999);
  t.same(cut, []);
  pass(1);
  t.same(cut, [0]);
  t.equal(shared.gate(0), GATE_CLOSED);
  worker.leave(0);
  pass(100);
  t.match(backends.status('web/s1'), { state: 'drained', active: 0, since_ms: 100 });
  t.same(cut, [0]);
});

t.test('weights: set, told, back to the config, 0 takes no new clients', async (t) => {
  const { backends, shared, report, news } = setUp();
  report('web/s2', HEALTHY);
  news();
  t.equal(shared.weight(1), 3);
  backends.set('web/s2', { weight: 0 });
  t.same([shared.weight(1), shared.eligible(1), shared.gate(1)], [0, false, GATE_OPEN]);
  t.match(backends.status('web/s2'), { state: 'ready', weight: 0, why: /^weight 0: no new clients/ });
  backends.set('web/s2', { admin: 'drain' });
  t.equal(backends.status('web/s2').weight, 0, 'one wish does not undo the other');
  backends.set('web/s2', { weight: null, admin: 'ready' });
  t.same([shared.weight(1), shared.eligible(1)], [3, true]);
  t.same(
    news().filter((line) => line.startsWith('info backend web/s2: weight')),
    ['info backend web/s2: weight 3 → 0', 'info backend web/s2: weight 0 → 3'],
  );
});

t.test('what an operator took back is not shown as a wish of theirs', async (t) => {
  const { backends } = setUp();
  const at = () => backends.status('web/s2').admin_at;
  backends.set('web/s2', { weight: 7 });
  t.type(at(), 'string');
  backends.set('web/s2', { weight: null });
  t.equal(at(), undefined, 'the weight is that of the config');
  backends.set('web/s2', { admin: 'drain' });
  backends.set('web/s2', { weight: null });
  t.type(at(), 'string', 'the drain is still meant');
  backends.set('web/s2', { admin: 'ready' });
  t.equal(at(), undefined);
});

t.test('a wish of the peer holds here too, and nonsense in a register does not', async (t) => {
  const { backends, registers, report } = setUp();
  report('web/s1', HEALTHY);
  registers.merge({
    key: 'backend/web/s1',
    value: { admin: 'maint', weight: 9 },
    version: 50,
    origin: 'lb2',
  });
  backends.evaluate('web/s1');
  t.match(backends.status('web/s1'), { state: 'maint', weight: 9 });
  const nonsense: Json[] = [null, 'maint', 7, { admin: 'closed', weight: -1 }, { weight: 1e9 }, []];
  for (const value of nonsense) {
    registers.set('backend/web/s1', value);
    backends.evaluate('web/s1');
    t.match(backends.status('web/s1'), { state: 'ready', admin: 'ready', weight: 1 });
  }
});

t.test('a reload keeps who stays', async (t) => {
  const { backends, report, pass, news } = setUp();
  report('web/s1', HEALTHY);
  report('web/s2', HEALTHY);
  backends.set('web/s2', { admin: 'drain' });
  pass(10_000);
  news();
  backends.apply(testConfig({ pools: { web: { s2: 5 }, api: { a1: 1 } } }), SLOTS);
  t.match(backends.status('web/s2'), { state: 'draining', since_ms: 10_000, weight: 5 });
  t.match(backends.status('api/a1'), { state: 'starting' });
  t.notOk(backends.has('web/s1'));
  t.throws(() => backends.status('web/s1'), /no such backend/);
  t.same(backends.ids(), ['web/s2', 'api/a1']);
  pass(20_000);
  t.match(backends.status('web/s2'), { state: 'drained' });
});

t.test('without pools a node is of use', async (t) => {
  const { backends } = setUp({ ...testConfig(), pools: [] });
  t.same(backends.usable(), { healthy: true, why: '' });
});

t.test('what the first check of a new backend found is told, also where it was over before', async (t) => {
  const { backends, shared, report, news } = setUp();
  report('web/s1', HEALTHY);
  report('web/s2', HEALTHY);
  report('api/a1', REFUSED);
  news();
  backends.apply(testConfig({ pools: { web: { s1: 1, s2: 3 }, api: { a1: 1 } } }), SLOTS);
  t.same(news(), [
    'warn backend api/a1: starting → down: connection refused',
    'warn pool pool api has no backend that takes clients: a1 is down (connection refused)',
  ]);
  t.equal(shared.gate(2), GATE_CLOSED);
});

import t, { type Test } from 'tap';
import { parseConfig } from '../../../../common/config.ts';
import { hashText } from '../../../../common/hash.ts';
import { Backends } from '../../../../lbd/control/care/backends.ts';
import type { HealthReport } from '../../../../lbd/control/health/monitor.ts';
import { Backend } from '../../../../lbd/dispatch/backend.ts';
import { Pool } from '../../../../lbd/dispatch/pool.ts';
import { Registers } from '../../../../lbd/session/registers.ts';
import { createSharedBuffers, SharedState } from '../../../../lbd/shared/shared.ts';
import { sessionTable } from '../../worker-context.ts';

const REPORT: HealthReport = {
  state: 'healthy',
  drainRequested: false,
  why: 'status 200',
  sinceMs: 0,
  checks: [],
  failingChecks: [],
};

/** Four healthy backends s1 to s4 of a pool with these keys, the control plane's view and a worker's. */
function setUp(t: Test, keys: string, size = 4) {
  const names = Array.from({ length: size }, (_, i) => `s${i + 1}`);
  const config = parseConfig(
    `
frontends: { web: { bind: ["127.0.0.1:80"], mode: http, pool: web } }
pools:
  web:
    ${keys}
    backends: { ${names.map((name, i) => `${name}: { address: "127.0.0.1:${i + 1}" }`).join(', ')} }
`,
    '/test.yaml',
    { cpus: 1 },
  );
  const buffers = createSharedBuffers(1);
  const shared = new SharedState(buffers, -1);
  const worker = new SharedState(buffers, 0);
  const health = new Map<string, HealthReport>(names.map((name) => [name, REPORT]));
  const told: string[] = [];
  let nowMs = 1000;
  const backends = new Backends({
    shared,
    registers: new Registers('lb1'),
    health: (id) => health.get(id.slice(4))!,
    now: () => nowMs,
    tell: (level, kind, text) => told.push(`${level} ${kind} ${text}`),
    cut: () => {},
    changed: () => {},
  });
  t.teardown(() => backends.close());
  backends.apply(config, Object.fromEntries(names.map((name, slot) => [`web/${name}`, slot])));
  const pool = new Pool(
    config.pools[0]!,
    config.pools[0]!.backends.map((it, slot) => new Backend('web', it, slot, worker)),
    worker,
    sessionTable(),
    0,
  );
  told.splice(0);
  return {
    backends,
    shared,
    worker,
    pool,
    pass(ms: number) {
      nowMs += ms;
      backends.tick();
    },
    health(name: string, state: HealthReport['state'], more: Partial<HealthReport> = {}) {
      const why = state === 'healthy' ? 'status 200' : 'connection refused';
      health.set(name, { ...REPORT, state, why, ...more });
      backends.evaluate(`web/${name}`);
    },
    status: (name: string) => backends.status(`web/${name}`),
    states: () => names.map((name) => backends.status(`web/${name}`).state),
    /** How many of many clients each backend gets. */
    shares() {
      const counts = names.map(() => 0);
      for (let i = 0; i < 4000; i++)
        counts[pool.choose(`192.0.2.${i}`, hashText(`${i}`), undefined, i, undefined)]!++;
      return counts.map((count) => count / 4000);
    },
    news: () => told.splice(0),
  };
}

t.test('a backend that fails its clients is left out, and comes back', async (t) => {
  const it = setUp(t, 'outlier: true');
  for (let i = 0; i < 5; i++) it.worker.vitals.answered(0, true, 5);
  it.pass(50);
  t.match(it.status('s1'), {
    state: 'ejected',
    health: 'healthy',
    why: '5 answers of 500 and above in a row; left out for 30s',
    ejections: 1,
  });
  t.match(it.news(), [
    'warn backend web/s1: ready → ejected: 5 answers of 500 and above in a row; left out for 30s',
  ]);
  t.equal(it.shares()[0], 0);
  it.pass(29_999);
  t.equal(it.status('s1').state, 'ejected');
  it.pass(1);
  t.equal(it.status('s1').state, 'ready');
  t.match(it.news(), ['info backend web/s1: ejected → ready: status 200']);
  t.ok(it.shares()[0]! > 0.2);
  for (let i = 0; i < 5; i++) it.worker.vitals.failed(0, 5);
  it.pass(50);
  t.match(it.status('s1').why, /5 failed connects, resets or time-outs in a row; left out for 1m$/);
});

t.test('no more are left out than the pool can spare', async (t) => {
  const it = setUp(t, 'outlier: { max_ejected: 50% }');
  for (const slot of [0, 1, 2, 3]) for (let i = 0; i < 5; i++) it.worker.vitals.answered(slot, true, 5);
  it.pass(50);
  t.same(it.states(), ['ejected', 'ejected', 'ready', 'ready']);
  t.match(it.status('s3').why, /^would be left out if the pool could spare it: 5 answers of 500/);
  it.pass(30_000);
  t.same(it.states(), ['ready', 'ready', 'ejected', 'ejected'], 'and now it can');
});

t.test('the last backend that takes clients is never left out', async (t) => {
  const it = setUp(t, 'outlier: { max_ejected: 100% }');
  for (const name of ['s2', 's3', 's4']) it.health(name, 'unhealthy');
  for (let i = 0; i < 5; i++) it.worker.vitals.failed(0, 5);
  it.pass(50);
  t.same(it.states(), ['ready', 'down', 'down', 'down']);
});

t.test('a backend slower than the others is left out at the end of an interval', async (t) => {
  const it = setUp(t, 'outlier: { latency_factor: 3, interval: 1s }');
  const answer = (slot: number, ms: number) => {
    it.worker.countBackend(slot, 6, 30);
    it.worker.countBackend(slot, 10, 30 * ms);
  };
  for (const [slot, ms] of [20, 500, 25, 30].entries()) answer(slot, ms);
  it.pass(900);
  t.equal(it.status('s2').state, 'ready');
  it.pass(100);
  t.match(it.status('s2'), {
    state: 'ejected',
    why: /^answers took 500 ms, those of the others 25 ms; left out/,
  });
});

t.test('off: nothing that workers see leaves a backend out', async (t) => {
  const it = setUp(t, 'slow_start: 1s');
  for (let i = 0; i < 50; i++) it.worker.vitals.failed(0, 5);
  it.pass(50);
  t.equal(it.status('s1').state, 'ready');
});

t.test('slow start: a backend that comes back gets its clients bit by bit', async (t) => {
  for (const algorithm of ['round-robin', 'least-connections', 'random', 'consistent-hash'])
    await t.test(algorithm, async (t) => {
      const it = setUp(t, `algorithm: ${algorithm}\n    slow_start: 10s`);
      t.equal(it.status('s1').share, undefined, 'at the start all are alike');
      it.health('s1', 'unhealthy');
      it.pass(1000);
      it.health('s1', 'healthy');
      t.match(it.status('s1'), {
        state: 'ready',
        share: 10,
        why: /^slow start: gets 10% of its clients; status 200$/,
      });
      const tenth = it.shares()[0]!;
      it.pass(5000);
      t.match(it.status('s1'), { share: 50 });
      const half = it.shares()[0]!;
      it.pass(5000);
      t.match(it.status('s1'), { share: undefined, why: 'status 200' });
      const all = it.shares()[0]!;
      t.ok(tenth < half && half < all && tenth > 0 && all > 0.15, `${tenth} ${half} ${all}`);
    });
});

t.test('slow start: where no other is left, it takes all', async (t) => {
  const it = setUp(t, 'slow_start: 10s', 1);
  it.health('s1', 'unhealthy');
  it.health('s1', 'healthy');
  t.equal(it.status('s1').share, 10);
  t.same(it.shares(), [1]);
});

t.test('panic: with too few healthy backends all are used, and it is told', async (t) => {
  const it = setUp(t, 'panic: 50%');
  it.health('s1', 'unhealthy');
  it.health('s2', 'unhealthy');
  t.same([it.backends.strain('web')!.panic, it.shares()[0]], [false, 0]);
  it.news();
  it.health('s3', 'unhealthy');
  t.ok(it.shares().every((share) => share > 0.2));
  t.match(it.news(), [
    'warn backend web/s3: ready → down: connection refused',
    'warn pool pool web panics: 1 of 4 backends healthy, below 50%: all are used',
  ]);
  t.match(it.status('s3'), {
    state: 'down',
    why: /^used all the same, the pool panics; connection refused$/,
  });
  t.match(it.backends.warnings(), ['pool web panics: too few backends are healthy, all are used']);
  it.health('s4', 'unhealthy');
  t.match(it.backends.usable(), { healthy: false }, 'the other node may be better off');
  it.backends.set('web/s4', { admin: 'maint' });
  t.equal(it.shares()[3], 0, 'what the operator took out stays out');
  it.news();
  it.health('s1', 'healthy');
  it.health('s2', 'healthy');
  t.match(it.news().at(-1), 'info pool pool web panics no more: 2 of 4 backends healthy');
  t.same([it.shares()[2], it.backends.warnings()], [0, []]);
});

t.test('panic: a backend that leads back to its frontend gets nobody', async (t) => {
  const it = setUp(t, 'panic: 50%');
  it.health('s1', 'unhealthy', { why: 'its address is one where frontends.web listens', leadsBack: true });
  it.health('s2', 'unhealthy');
  it.health('s3', 'unhealthy');
  t.equal(it.backends.strain('web')!.panic, true);
  t.same([it.shares()[0], it.shares()[1]! > 0.2], [0, true]);
  t.equal(it.status('s1').why, 'its address is one where frontends.web listens');
  t.match(
    it.news().at(-1),
    /: 1 of 4 backends healthy, below 50%: all are used but s1, which leads back to the frontend$/,
  );
  t.match(it.backends.warnings(), [
    /^pool web panics: .*, all are used but s1, which leads back to the frontend$/,
  ]);
});

t.test('panic: where all backends lead back to the frontend, none is said to be used', async (t) => {
  const it = setUp(t, 'panic: 50%', 3);
  it.backends.set('web/s3', { admin: 'maint' });
  for (const name of ['s1', 's2']) it.health(name, 'unhealthy', { why: 'own', leadsBack: true });
  t.ok(it.news().some((line) => /panics: .*: none is used: s1, s2 lead back to the frontend$/.test(line)));
  t.match(it.backends.warnings(), [
    'pool web has no backend that takes clients: ',
    'pool web panics: too few backends are healthy, none is used: s1, s2 lead back to the frontend',
  ]);
});

t.test('the status tells what a pool has open, and which limit is reached', async (t) => {
  const it = setUp(t, 'limits: { requests: 2 }');
  it.worker.enter(0);
  it.worker.enter(1);
  t.ok(it.pool.breaker.refusesRequest());
  t.match(it.backends.strain('web'), {
    open: { requests: 2, pending: 0, connections: 0, retrying: 0 },
    at_limit: ['requests: 2 of 2'],
    refused: { requests: 1, pending: 0, connections: 0, retry_budget: 0 },
  });
  t.same(it.backends.warnings(), ['pool web refuses what is more: requests: 2 of 2']);
  it.worker.leave(0);
  t.notOk(it.pool.breaker.refusesRequest());
});

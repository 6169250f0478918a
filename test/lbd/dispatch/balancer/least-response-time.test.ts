import t from 'tap';
import { LatencyDecay } from '../../../../lbd/control/care/latency-decay.ts';
import { LeastResponseTime } from '../../../../lbd/dispatch/balancer/least-response-time.ts';
import type { PoolView } from '../../../../lbd/dispatch/balancer/types.ts';
import { createSharedBuffers, GATE_OPEN, SharedState } from '../../../../lbd/shared/shared.ts';
import { FakePool } from './fake-pool.ts';

const count = (pool: PoolView, balancer: LeastResponseTime, picks: number) => {
  const counts = new Array<number>(pool.size).fill(0);
  for (let n = 0; n < picks; n++) counts[balancer.pick()]!++;
  return counts;
};

t.test('fastest first, in flight counts', (t) => {
  const pool = new FakePool({ a: 1, b: 1 });
  pool.change('a', { latencyMs: 10 });
  pool.change('b', { latencyMs: 25 });
  const balancer = new LeastResponseTime(pool, 0);
  t.equal(balancer.pick(), 0);
  pool.change('a', { active: 1 });
  t.equal(balancer.pick(), 0, '10 ms × 2 is still better than 25 ms');
  pool.change('a', { active: 2 });
  t.equal(balancer.pick(), 1, '10 ms × 3 is not');
  t.end();
});

t.test('without a sample: a try at once, but no flood', (t) => {
  const pool = new FakePool({ a: 1, b: 1, fresh: 1 });
  pool.change('a', { latencyMs: 10 });
  pool.change('b', { latencyMs: 10 });
  const balancer = new LeastResponseTime(pool, 2);
  t.equal(balancer.pick(), 2);
  pool.change('fresh', { active: 1 });
  t.strictSame(count(pool, balancer, 10), [5, 5, 0], 'waits for its first response');
  t.end();
});

t.test('none has a sample: equal ones take turns', (t) => {
  const pool = new FakePool({ a: 1, b: 1, c: 1 });
  t.strictSame(count(pool, new LeastResponseTime(pool, 1), 9), [3, 3, 3]);
  t.end();
});

t.test('a spike counts at once, and a backend that recovered is tried again', (t) => {
  const shared = new SharedState(createSharedBuffers(1), 0);
  const pool: PoolView = {
    size: 2,
    name: (index) => `s${index}`,
    available: (index) => shared.eligible(index),
    weight: (index) => shared.weight(index),
    active: (index) => shared.active(index),
    latencyMs: (index) => shared.latencyMs(index),
    generation: 1,
  };
  for (const slot of [0, 1]) {
    shared.setGate(slot, GATE_OPEN, 1);
    shared.observeLatency(slot, 10);
  }
  const balancer = new LeastResponseTime(pool, 0);
  t.strictSame(count(pool, balancer, 10), [5, 5]);
  shared.observeLatency(0, 2000);
  t.strictSame(count(pool, balancer, 10), [0, 10], 'the very next pick avoids it');

  const decay = new LatencyDecay(shared);
  const serve = (slowMs: number) => {
    const counts = [0, 0];
    for (let n = 0; n < 20; n++) {
      const picked = balancer.pick();
      counts[picked]!++;
      shared.observeLatency(picked, picked === 0 ? slowMs : 10);
    }
    return counts;
  };
  let ticks = 0;
  let seen = serve(2000);
  for (; seen[0] === 0 && ticks < 1000; ticks++) {
    decay.tick([0, 1]);
    seen = serve(2000);
  }
  t.ok(ticks > 30 && ticks < 120, `tried again after ${ticks} ticks`);
  t.equal(seen[0], 1, 'still slow: one request, then left alone again');
  for (ticks = 0; (seen[0] ?? 0) < 5 && ticks < 1000; ticks++) {
    decay.tick([0, 1]);
    seen = serve(10);
  }
  t.ok(ticks < 120, `has its part again ${ticks} ticks after it recovered`);
  t.end();
});

t.test('the average of a backend that hangs does not fade', (t) => {
  const shared = new SharedState(createSharedBuffers(1), 0);
  shared.observeLatency(0, 500);
  shared.enter(0);
  const decay = new LatencyDecay(shared);
  for (let n = 0; n < 100; n++) decay.tick([0]);
  t.equal(shared.latencyMs(0), 500);
  shared.leave(0);
  decay.tick([0]);
  t.ok(shared.latencyMs(0) < 500);
  t.end();
});

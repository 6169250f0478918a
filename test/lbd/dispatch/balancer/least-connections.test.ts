import t from 'tap';
import { LeastConnections } from '../../../../lbd/dispatch/balancer/least-connections.ts';
import type { Balancer } from '../../../../lbd/dispatch/balancer/types.ts';
import { WeightedLeastConnections } from '../../../../lbd/dispatch/balancer/weighted-least-connections.ts';
import { FakePool } from './fake-pool.ts';

/** Picks and keeps each request open. */
function fill(pool: FakePool, balancer: Balancer, picks: number): string {
  return Array.from({ length: picks }, () => {
    const backend = pool.backends[balancer.pick(0)]!;
    backend.active++;
    return backend.name;
  }).join(' ');
}

t.test('the one with the fewest in flight', (t) => {
  const pool = new FakePool({ a: 1, b: 1, c: 1 });
  pool.change('a', { active: 3 });
  pool.change('b', { active: 2 });
  t.equal(fill(pool, new LeastConnections(pool, 0), 6), 'c c b c a b');
  t.end();
});

t.test('equal ones take turns', (t) => {
  const pool = new FakePool({ a: 1, b: 1, c: 1, d: 1 });
  pool.change('b', { active: 9 });
  const balancer = new LeastConnections(pool, 0);
  t.equal(Array.from({ length: 6 }, () => pool.name(balancer.pick())).join(' '), 'a c d a c d');
  t.end();
});

t.test('weighted: fills by weight', (t) => {
  const pool = new FakePool({ a: 4, b: 2, c: 1 });
  fill(pool, new WeightedLeastConnections(pool, 0), 70);
  t.strictSame(
    pool.backends.map((backend) => backend.active),
    [40, 20, 10],
  );
  t.end();
});

t.test('weighted: an idle pool takes turns by weight instead of asking only the heaviest', (t) => {
  const pool = new FakePool({ a: 3, b: 1 });
  const balancer = new WeightedLeastConnections(pool, 0);
  t.equal(Array.from({ length: 8 }, () => pool.name(balancer.pick())).join(' '), 'a a b a a a b a');
  t.end();
});

t.test('weighted: with two in flight the light one gets about its part', (t) => {
  const pool = new FakePool({ a: 3, b: 1 });
  const balancer = new WeightedLeastConnections(pool, 0);
  let light = 0;
  let open = balancer.pick();
  pool.backends[open]!.active++;
  for (let n = 0; n < 1000; n++) {
    const picked = balancer.pick();
    pool.backends[picked]!.active++;
    pool.backends[open]!.active--;
    open = picked;
    if (picked === 1) light++;
  }
  t.ok(light >= 150 && light <= 350, `${light} of 1000, ideal 250`);
  t.end();
});

t.test('weighted: one that drained into overload is left alone', (t) => {
  const pool = new FakePool({ a: 10, b: 1 });
  pool.change('a', { active: 100 });
  const balancer = new WeightedLeastConnections(pool, 0);
  t.equal(fill(pool, balancer, 9), 'b b b b b b b b b');
  t.end();
});

import t from 'tap';
import { WeightedRoundRobin } from '../../../../lbd/dispatch/balancer/weighted-round-robin.ts';
import { FakePool } from './fake-pool.ts';

const names = (pool: FakePool, balancer: WeightedRoundRobin, picks: number) =>
  Array.from({ length: picks }, () => pool.backends[balancer.pick()]?.name ?? '-').join(' ');

t.test('smooth: weights 5 1 1', (t) => {
  const pool = new FakePool({ a: 5, b: 1, c: 1 });
  const balancer = new WeightedRoundRobin(pool, 0);
  t.equal(names(pool, balancer, 7), 'a a b a c a a');
  t.equal(names(pool, balancer, 7), 'a a b a c a a', 'and again');
  t.end();
});

t.test('a backend that comes back gets no burst', (t) => {
  const pool = new FakePool({ a: 1, b: 1, c: 1 });
  const balancer = new WeightedRoundRobin(pool, 0);
  pool.change('b', { up: false });
  t.equal(names(pool, balancer, 6), 'a c a c a c');
  pool.change('b', { up: true });
  t.equal(names(pool, balancer, 6), 'a b c a b c');
  t.end();
});

t.test('a new weight counts from the next pick on', (t) => {
  const pool = new FakePool({ a: 1, b: 1 });
  const balancer = new WeightedRoundRobin(pool, 0);
  names(pool, balancer, 4);
  pool.change('b', { weight: 3 });
  const picks = names(pool, balancer, 8).split(' ');
  t.equal(picks.filter((name) => name === 'b').length, 6);
  t.end();
});

t.test('seeds set workers apart, and keep the shares', (t) => {
  const sequences = new Set<string>();
  for (let seed = 0; seed < 8; seed++) {
    const pool = new FakePool({ a: 5, b: 1, c: 1 });
    const sequence = names(pool, new WeightedRoundRobin(pool, seed), 7);
    t.equal(sequence.replaceAll(/[^a]/g, '').length, 5);
    sequences.add(sequence);
  }
  t.ok(sequences.size >= 4, [...sequences].join(', '));
  t.end();
});

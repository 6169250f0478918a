import t from 'tap';
import { mix32 } from '../../../../common/hash.ts';
import { ConsistentHash } from '../../../../lbd/dispatch/balancer/consistent-hash.ts';
import { equalWeights, FakePool, reversed } from './fake-pool.ts';

for (const loadFactor of [1.01, 1.25, 2]) {
  t.test(`bounded load: no backend over ${loadFactor} times its part, even if all ask for one key`, (t) => {
    const pool = new FakePool({ a: 1, b: 1, c: 2, d: 4 });
    const balancer = new ConsistentHash(pool, loadFactor);
    const over: string[] = [];
    const open: number[] = [];
    for (let n = 0; n < 20_000; n++) {
      if (open.length >= 200) pool.backends[open.shift()!]!.active--;
      // Half of the traffic is one hot key.
      const picked = balancer.pick(n % 2 === 0 ? 42 : mix32(n));
      const backend = pool.backends[picked]!;
      const full = Math.ceil((loadFactor * (open.length + 1) * backend.weight) / 8);
      if (backend.active + 1 > full) over.push(`pick ${n}: ${backend.name} has ${backend.active} of ${full}`);
      backend.active++;
      open.push(picked);
    }
    t.strictSame(over.slice(0, 3), []);
    t.end();
  });
}

t.test('without a bound a hot key stays where it is', (t) => {
  const pool = new FakePool(equalWeights(4));
  const balancer = new ConsistentHash(pool, 0);
  const first = balancer.pick(42);
  pool.backends[first]!.active = 1_000_000;
  t.equal(balancer.pick(42), first);
  t.end();
});

t.test('the overflow of a key goes to the same backends on both nodes', (t) => {
  const order = (weights: Record<string, number>) => {
    const pool = new FakePool(weights);
    const balancer = new ConsistentHash(pool, 1.25);
    return Array.from({ length: 40 }, () => {
      const backend = pool.backends[balancer.pick(7)]!;
      backend.active++;
      return backend.name;
    }).join(' ');
  };
  t.equal(order(equalWeights(6)), order(reversed(equalWeights(6))));
  t.end();
});

t.test('the clients of a backend that is down are spread over all others', (t) => {
  const pool = new FakePool(equalWeights(5));
  const balancer = new ConsistentHash(pool, 0);
  const keys = Array.from({ length: 50_000 }, (_, n) => mix32(n)).filter((key) => balancer.pick(key) === 2);
  pool.change('s2', { up: false });
  const counts = [0, 0, 0, 0, 0];
  for (const key of keys) counts[balancer.pick(key)]!++;
  for (const index of [0, 1, 3, 4])
    t.ok(Math.abs(counts[index]! / keys.length - 0.25) < 0.03, `s${index}: ${counts[index]}`);
  t.end();
});

t.test('one available of 500 is found', (t) => {
  const pool = new FakePool(equalWeights(500));
  for (const backend of pool.backends) backend.up = backend.name === 's77';
  const balancer = new ConsistentHash(pool, 1.25);
  for (let n = 0; n < 1000; n++) if (balancer.pick(mix32(n)) !== 77) t.fail(`key ${n}`);
  t.end();
});

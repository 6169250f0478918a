import t from 'tap';
import { mix32 } from '../../../../common/hash.ts';
import { ALGORITHMS, type Algorithm } from '../../../../common/model.ts';
import { createBalancer } from '../../../../lbd/dispatch/balancer/index.ts';
import type { Balancer } from '../../../../lbd/dispatch/balancer/types.ts';
import { equalWeights, FakePool, reversed } from './fake-pool.ts';

/** What every algorithm has to keep, and where they differ by design. */
const PICKS = 100_000;
const HASHING: readonly Algorithm[] = ['ip-hash', 'consistent-hash'];
const IGNORES_WEIGHTS: readonly Algorithm[] = ['round-robin', 'least-connections'];
/** Allowed distance of a share from the ideal one, as a part of it. */
const TOLERANCE: Readonly<Record<Algorithm, number>> = {
  'round-robin': 0.001,
  'weighted-round-robin': 0.001,
  'least-connections': 0.02,
  'weighted-least-connections': 0.05,
  'ip-hash': 0.05,
  'consistent-hash': 0.05,
  'least-response-time': 0.1,
  random: 0.05,
};

function balancerFor(algorithm: Algorithm, pool: FakePool, options = {}): Balancer {
  return createBalancer(algorithm, pool, { seed: 0, loadFactor: 0, ...options });
}

const keyOf = (n: number) => mix32(n + 1);

/**
 * Sends requests through the balancer with `inFlight` of them open at any time; which one ends next is drawn
 * evenly, so all requests take equally long on average.
 */
function shares(pool: FakePool, balancer: Balancer, inFlight: number, picks = PICKS): Map<string, number> {
  const counts = new Map(pool.backends.map((backend) => [backend.name, 0]));
  const open: number[] = [];
  for (let n = 0; n < picks; n++) {
    if (open.length >= inFlight) {
      const at = mix32(n ^ 0x5bd1e995) % open.length;
      pool.backends[open[at]!]!.active--;
      open[at] = open.at(-1)!;
      open.pop();
    }
    const picked = balancer.pick(keyOf(n));
    const backend = pool.backends[picked]!;
    backend.active++;
    open.push(picked);
    counts.set(backend.name, counts.get(backend.name)! + 1);
  }
  return counts;
}

for (const algorithm of ALGORITHMS) {
  t.test(algorithm, (t) => {
    for (const weights of [equalWeights(5), { a: 5, b: 3, c: 2 }, { a: 1, b: 10, c: 4, d: 0, e: 1 }]) {
      const ideal = Object.entries(weights).map(
        ([name, weight]) =>
          [name, IGNORES_WEIGHTS.includes(algorithm) ? Math.min(weight, 1) : weight] as const,
      );
      const total = ideal.reduce((sum, [, weight]) => sum + weight, 0);
      t.test(`share of traffic for ${JSON.stringify(weights)}`, (t) => {
        const pool = new FakePool(weights);
        const counts = shares(pool, balancerFor(algorithm, pool), 300);
        for (const [name, weight] of ideal) {
          const expected = (PICKS * weight) / total;
          const error = Math.abs(counts.get(name)! - expected);
          t.ok(error <= expected * TOLERANCE[algorithm], `${name}: ${counts.get(name)} of ${expected}`);
        }
        t.end();
      });
    }

    t.test('peek says what the next pick is, whatever changed, and moves no turn', (t) => {
      const pool = new FakePool({ a: 1, b: 2, c: 3, d: 4, e: 0 });
      const asked = balancerFor(algorithm, pool, { seed: 7 });
      const unasked = balancerFor(algorithm, pool, { seed: 7 });
      const wrong: string[] = [];
      for (let n = 0; n < 2000; n++) {
        const change = mix32(n * 3);
        const backend = pool.backends[change % 5]!;
        backend.up = change % 7 > 1;
        backend.active = (change >>> 8) % 4;
        backend.latencyMs = (change >>> 12) % 50;
        const peeked = [asked.peek(keyOf(n)), asked.peek(keyOf(n))];
        const picks = [asked.pick(keyOf(n)), unasked.pick(keyOf(n))];
        if (new Set([...peeked, ...picks]).size > 1) wrong.push(`${n}: peeked ${peeked}, picked ${picks}`);
      }
      t.same(wrong, []);
      t.end();
    });

    t.test('never picks a backend that is not available, whatever changes between picks', (t) => {
      const pool = new FakePool({ a: 1, b: 2, c: 3, d: 4, e: 5 });
      const balancer = balancerFor(algorithm, pool, { loadFactor: 1.25 });
      const wrong: string[] = [];
      for (let n = 0; n < 20_000; n++) {
        const change = mix32(n * 7);
        const backend = pool.backends[change % 5]!;
        // Silent changes too: the generation is a hint, the shared memory may be ahead of it.
        if (change & 0x1000) backend.up = (change & 0x2000) !== 0;
        if (change & 0x4000) backend.weight = (change >>> 16) % 4;
        if (change & 0x8000) pool.generation++;
        backend.active = (change >>> 20) % 9;
        backend.latencyMs = (change >>> 24) % 50;
        const picked = balancer.pick(keyOf(n));
        const any = pool.backends.some((_, index) => pool.available(index));
        if (picked === -1 ? any : !pool.available(picked)) wrong.push(`pick ${n}: ${picked}`);
      }
      t.strictSame(wrong.slice(0, 3), []);
      t.end();
    });

    t.test('says -1 where there is none, and goes on when there is one again', (t) => {
      t.equal(balancerFor(algorithm, new FakePool({})).pick(1), -1, 'empty pool');
      const pool = new FakePool({ a: 1, b: 1 });
      const balancer = balancerFor(algorithm, pool);
      balancer.pick(1);
      pool.change('a', { up: false });
      pool.change('b', { weight: 0 });
      t.equal(balancer.pick(1), -1);
      t.equal(balancer.pick(2), -1);
      pool.change('b', { weight: 1 });
      t.equal(balancer.pick(1), 1);
      t.end();
    });

    t.test('a single backend gets everything', (t) => {
      const pool = new FakePool({ a: 7 });
      const balancer = balancerFor(algorithm, pool, { loadFactor: 1.01, seed: 3 });
      for (let n = 0; n < 100; n++) {
        if (balancer.pick(keyOf(n)) !== 0) t.fail(`pick ${n}`);
        pool.backends[0]!.active++;
      }
      t.end();
    });

    t.test('the share of a missing backend is spread over the others, not given to a neighbour', (t) => {
      const pool = new FakePool(equalWeights(5));
      const balancer = balancerFor(algorithm, pool);
      pool.change('s1', { up: false });
      const counts = shares(pool, balancer, 40);
      t.equal(counts.get('s1'), 0);
      for (const name of ['s0', 's2', 's3', 's4'])
        t.ok(Math.abs(counts.get(name)! - PICKS / 4) <= (PICKS / 4) * 0.05, `${name}: ${counts.get(name)}`);
      t.end();
    });

    t.test('workers do not start in lockstep', { skip: HASHING.includes(algorithm) }, (t) => {
      const firsts = new Set<number>();
      for (let seed = 0; seed < 16; seed++)
        firsts.add(balancerFor(algorithm, new FakePool(equalWeights(4)), { seed }).pick(0));
      t.ok(firsts.size > 1, `${firsts.size} different first picks`);
      t.end();
    });

    t.test('500 backends', (t) => {
      const pool = new FakePool(equalWeights(500));
      const counts = shares(pool, balancerFor(algorithm, pool, { loadFactor: 1.25 }), 1000, 10_000);
      t.ok([...counts.values()].filter((count) => count > 0).length > 480);
      t.end();
    });
    t.end();
  });
}

for (const algorithm of HASHING) {
  t.test(`${algorithm}: hashing`, (t) => {
    const owners = (pool: FakePool) => {
      const balancer = balancerFor(algorithm, pool);
      return Array.from({ length: PICKS }, (_, n) => pool.backends[balancer.pick(keyOf(n))]!.name);
    };

    t.test('both nodes decide alike, whatever the order of the config', (t) => {
      const weights = { a: 3, b: 1, c: 2, d: 1, e: 8 };
      const other = owners(new FakePool(reversed(weights)));
      t.equal(owners(new FakePool(weights)).filter((owner, n) => owner !== other[n]).length, 0);
      t.end();
    });

    for (const count of [3, 10, 30]) {
      t.test(`only the keys of the one that goes move, ${count} backends`, (t) => {
        const weights = equalWeights(count);
        const before = owners(new FakePool(weights));
        for (const gone of ['s0', `s${count - 1}`, `s${count >> 1}`]) {
          const { [gone]: _, ...rest } = weights;
          const down = new FakePool(weights);
          down.change(gone, { up: false });
          for (const [how, after] of [
            ['removed', owners(new FakePool(rest))],
            ['down', owners(down)],
          ] as const) {
            let moved = 0;
            let others = 0;
            for (let n = 0; n < PICKS; n++) {
              if (before[n] === after[n]) continue;
              moved++;
              if (before[n] !== gone) others++;
            }
            t.equal(others, 0, `${gone} ${how}: keys of the others stay`);
            t.ok(moved <= (1.3 * PICKS) / count, `${gone} ${how}: ${moved} of ${PICKS} moved`);
          }
        }
        t.end();
      });
    }

    t.test('a changed weight moves keys only to or from that backend', (t) => {
      const pool = new FakePool({ a: 2, b: 2, c: 2 });
      const balancer = balancerFor(algorithm, pool);
      const picks = () => Array.from({ length: 10_000 }, (_, n) => balancer.pick(keyOf(n)));
      const before = picks();
      pool.change('b', { weight: 4 });
      const after = picks();
      const moved = after.filter((owner, n) => owner !== before[n]);
      t.ok(moved.length > 1000 && moved.every((owner) => owner === 1), `${moved.length} moved`);
      pool.change('b', { weight: 2 });
      t.equal(picks().filter((owner, n) => owner !== before[n]).length, 0, 'and back');
      t.end();
    });
    t.end();
  });
}

import t from 'tap';
import type { Algorithm } from '../../../common/model.ts';
import { turnsOf } from '../../../lbd/kernel/turns.ts';

const backends = (...weights: number[]) =>
  weights.map((weight, i) => ({ name: `s${i}`, address: `10.0.0.${i}`, port: 80, weight, stuck: true }));
const turns = (algorithm: Algorithm, ...weights: number[]) =>
  turnsOf({ algorithm, family: 4, backends: backends(...weights) });

t.test('turns of the algorithms', async (t) => {
  for (const [algorithm, weights, places] of [
    ['round-robin', [1, 1, 1], [0, 1, 2]],
    ['round-robin', [7, 0, 1], [0, 2]],
    ['round-robin', [0, 0], []],
    ['weighted-round-robin', [5, 1, 1], [0, 0, 1, 0, 2, 0, 0]],
    ['weighted-round-robin', [20, 10], [0, 1, 0]],
    ['random', [1, 2], [1, 0, 1]],
  ] as const)
    t.strictSame(turns(algorithm, ...weights).places, places, `${algorithm} ${weights}`);
});

t.test('the expression has as many values as there are places', async (t) => {
  for (const algorithm of [
    'round-robin',
    'weighted-round-robin',
    'random',
    'ip-hash',
    'consistent-hash',
  ] as const) {
    const { expression, places } = turns(algorithm, 3, 2, 1);
    t.match(expression, ` mod ${places.length}`, algorithm);
  }
  t.match(turns('ip-hash', 1).expression, /^jhash ip saddr /);
  t.match(
    turnsOf({ algorithm: 'ip-hash', family: 6, backends: backends(1) }).expression,
    /^jhash ip6 saddr /,
  );
});

t.test('many different weights are rounded, and nobody is left out', async (t) => {
  const weights = Array.from({ length: 200 }, (_, i) => (i === 0 ? 1 : 255 - (i % 2)));
  const { places } = turns('weighted-round-robin', ...weights);
  t.ok(places.length < 5000, `${places.length}`);
  t.equal(new Set(places).size, weights.length);
});

import t from 'tap';
import {
  afterResult,
  provisional,
  type RiseFall,
  UNTESTED,
} from '../../../../lbd/control/health/rise-fall.ts';

const thresholds = { rise: 2, fall: 3 };

/** Results as `+` and `-`; the states after each as `H`, `U`. */
const STORIES: readonly [name: string, from: RiseFall, results: string, states: string][] = [
  ['the first success decides', UNTESTED, '+', 'H'],
  ['the first failure decides', UNTESTED, '-', 'U'],
  ['three failures in a row', UNTESTED, '+---', 'HHHU'],
  ['a success starts the count again', UNTESTED, '+--+--+---', 'HHHHHHHHHU'],
  ['two successes in a row', UNTESTED, '-++', 'UUH'],
  ['a failure starts the count again', UNTESTED, '-+-+-++', 'UUUUUUH'],
  ['down and up', UNTESTED, '+---++---', 'HHHUUHHHU'],
  ['the peer said healthy, the first own result decides', provisional('healthy'), '-', 'U'],
  ['the peer said unhealthy, the first own result decides', provisional('unhealthy'), '+--', 'HHH'],
];

for (const [name, from, results, states] of STORIES)
  t.test(name, (t) => {
    let now = from;
    const seen = [...results].map((result) => {
      now = afterResult(now, result === '+', thresholds);
      return now.state === 'healthy' ? 'H' : 'U';
    });
    t.equal(seen.join(''), states);
    t.end();
  });

import t from 'tap';
import type { OutlierConfig } from '../../../../common/resilience-config.ts';
import {
  INLIER,
  mayEject,
  nextOutlier,
  type OutlierFacts,
  slowCause,
} from '../../../../lbd/control/care/outlier.ts';

const config: OutlierConfig = {
  consecutive5xx: 5,
  consecutiveFailures: 5,
  latencyFactor: 3,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionMs: 100_000,
  maxEjectedShare: 0.5,
};

/** Each step: what changed, and `out` with the time left, or `in`. */
const stories: Record<string, [change: Partial<OutlierFacts>, expected: string][]> = {
  'out for a while, then back': [
    [{}, 'in'],
    [{ cause: 'x' }, 'out 30000'],
    [{ cause: undefined, nowMs: 29_999 }, 'out 1'],
    [{ nowMs: 30_000 }, 'in'],
  ],
  'each time longer, up to the limit': [
    [{ cause: 'x' }, 'out 30000'],
    [{ nowMs: 30_000 }, 'in'],
    [{ nowMs: 30_001 }, 'out 60000'],
    [{ nowMs: 90_001 }, 'in'],
    [{ nowMs: 90_002 }, 'out 90000'],
    [{ nowMs: 180_002 }, 'in'],
    [{ nowMs: 180_003 }, 'out 100000'],
  ],
  'who behaves for an interval has one time less behind it': [
    [{ cause: 'x' }, 'out 30000'],
    [{ nowMs: 30_000, cause: undefined }, 'in'],
    [{ nowMs: 39_999, cause: 'x' }, 'out 60000'],
    [{ nowMs: 99_999, cause: undefined }, 'in'],
    [{ nowMs: 109_999 }, 'in'],
    [{ nowMs: 119_999, cause: 'x' }, 'out 30000'],
  ],
  'where the pool cannot spare it, it stays': [
    [{ cause: 'x', room: false }, 'in'],
    [{ nowMs: 5, room: true }, 'out 30000'],
    [{ nowMs: 10, room: false }, 'out 29995'],
  ],
};

for (const [name, steps] of Object.entries(stories))
  t.test(name, async (t) => {
    let facts: OutlierFacts = { nowMs: 0, config, cause: undefined, room: true };
    let life = INLIER;
    const told = steps.map(([change]) => {
      facts = { ...facts, ...change };
      life = nextOutlier(life, facts);
      return life.untilMs === undefined ? 'in' : `out ${life.untilMs - facts.nowMs}`;
    });
    t.same(
      told,
      steps.map(([, expected]) => expected),
    );
  });

t.test('the reason says for how long', async (t) => {
  const { why } = nextOutlier(INLIER, { nowMs: 0, config, cause: '5 resets', room: true });
  t.equal(why, '5 resets; left out for 30s');
});

t.test('how many may be out', async (t) => {
  const cases: [size: number, ejected: number, share: number, may: boolean][] = [
    [1, 0, 1, false],
    [2, 0, 0.1, true],
    [2, 1, 1, false],
    [10, 0, 0.1, true],
    [10, 1, 0.1, false],
    [10, 4, 0.5, true],
    [10, 5, 0.5, false],
    [10, 9, 1, false],
  ];
  for (const [size, ejected, share, may] of cases)
    t.equal(mayEject(size, ejected, share), may, `${ejected} of ${size}, ${share}`);
});

t.test('slower than the others', async (t) => {
  const pace = (meanMs: number, answers = 100) => ({ meanMs, answers });
  const others = [pace(20), pace(30), pace(25)];
  t.match(slowCause(pace(300), others, 3), 'answers took 300 ms, those of the others 25 ms');
  t.equal(slowCause(pace(70), others, 3), undefined);
  t.equal(slowCause(pace(300, 19), others, 3), undefined, 'too few answers');
  t.equal(slowCause(pace(300), [pace(1, 19)], 3), undefined, 'nobody to compare with');
  t.equal(slowCause(pace(49), [pace(1)], 3), undefined, 'fast in any case');
  t.equal(slowCause(pace(300), others, 0), undefined, 'off');
});

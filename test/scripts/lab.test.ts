import t from 'tap';
import { blackoutOf } from '../../scripts/lab/blackout.ts';
import { type OwnerChange, twoOwnersMs } from '../../scripts/lab/ownership.ts';

/** `ok` or a cause for each start, one every 2 ms. */
const attempts = (...ends: string[]) =>
  ends.map((end, i) => ({ startMs: 100 + 2 * i, failure: end === 'ok' ? '' : end }));

t.test('the blackout is the longest run of failing starts, up to the next good one', async (t) => {
  const cases: [ends: string[], blackoutMs: number, atMs: number, failures: number][] = [
    [[], 0, 0, 0],
    [['ok', 'ok'], 0, 0, 0],
    [['ok', 'x', 'ok'], 2, 102, 1],
    [['ok', 'x', 'ok', 'x', 'x', 'x', 'ok'], 6, 106, 4],
    [['x', 'x', 'x', 'ok', 'x', 'ok'], 6, 100, 4],
    // Never answered again: what is known is a lower bound.
    [['ok', 'x', 'x'], 2, 102, 2],
  ];
  for (const [ends, blackoutMs, atMs, failures] of cases)
    t.match(
      blackoutOf(attempts(...ends)),
      { requests: ends.length, failures, blackoutMs, atMs },
      ends.join(' '),
    );
});

t.test('attempts may end in another order than they started', async (t) => {
  const [first, second, third] = attempts('ok', 'timeout', 'ok');
  const seen = blackoutOf([first!, third!, second!]);
  t.equal(seen.blackoutMs, 2);
  t.strictSame(seen.causes, { timeout: 1 });
});

t.test('two owners: only the time that both hold the address', async (t) => {
  const change = (atMs: number, node: 'lb1' | 'lb2', held: boolean): OwnerChange => ({ atMs, node, held });
  const start = change(0, 'lb1', true);
  const cases: [changes: OwnerChange[], ms: number][] = [
    [[start], 0],
    [[start, change(10, 'lb1', false), change(20, 'lb2', true)], 0],
    [[start, change(10, 'lb2', true), change(25, 'lb1', false)], 15],
    // It never lets go.
    [[start, change(10, 'lb2', true)], 90],
    [
      [
        start,
        change(10, 'lb2', true),
        change(12, 'lb2', false),
        change(20, 'lb2', true),
        change(30, 'lb1', false),
      ],
      12,
    ],
  ];
  for (const [changes, ms] of cases) t.equal(twoOwnersMs(changes, 100), ms);
});

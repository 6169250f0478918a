import t from 'tap';
import { LineRate } from '../../../lbd/entry/line-rate.ts';

/** How many of so many lines are written. */
function written(rate: LineRate, lines: number, nowMs: number): number {
  let count = 0;
  for (let i = 0; i < lines; i++) if (rate.allows(nowMs)) count++;
  return count;
}

t.test('a burst, then so many a second, and never more than a burst at once', async (t) => {
  const rate = new LineRate();
  t.equal(written(rate, 1000, 5000), 20);
  t.equal(written(rate, 1000, 5000), 0);
  t.equal(written(rate, 1000, 5500), 5);
  t.equal(written(rate, 1000, 6500), 10);
  t.equal(written(rate, 1000, 3_600_000), 20);
});

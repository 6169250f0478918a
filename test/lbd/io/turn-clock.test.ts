import t from 'tap';
import { turnNow } from '../../../lbd/io/turn-clock.ts';

/** Keeps the thread busy until the clock has moved. */
function wait(): void {
  for (const start = performance.now(); performance.now() === start; );
}

t.test('stands still within a turn of the event loop, and goes on in the next one', async (t) => {
  const before = performance.now();
  const first = turnNow();
  t.ok(first >= before);
  wait();
  t.equal(turnNow(), first);
  await new Promise((resolve) => setImmediate(resolve));
  t.ok(turnNow() > first);
  t.ok(turnNow() <= performance.now());
});

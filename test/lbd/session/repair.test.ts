import t from 'tap';
import { Repair } from '../../../lbd/session/repair.ts';
import { SessionTable } from '../../../lbd/session/table.ts';

/** One million entries, so that a round takes many frames. */
const CAPACITY = 1 << 20;

/** Digests that are due at one moment. */
function burst(repair: Repair, nowMs: number): number {
  let frames = 0;
  while (repair.nextDigests(nowMs) !== undefined) frames++;
  return frames;
}

t.test('a round of digests', (t) => {
  const table = new SessionTable(SessionTable.create(CAPACITY), 0, { hashKey: new Uint32Array(4) });

  const strict = new Repair(table);
  strict.wantStrict();
  strict.noteMerged(1000);
  const all = burst(strict, 1000);
  t.ok(all > 8, 'a strict round goes out as fast as it can, whatever changes');

  const quiet = new Repair(table);
  quiet.wantRolling(1000);
  t.equal(burst(quiet, 2000), all, 'so does the first comparison of a table at rest');

  const busy = new Repair(table);
  busy.wantRolling(1000);
  busy.noteMerged(2000);
  t.equal(burst(busy, 2000), 1, 'while entries change, it takes its time');
  t.equal(burst(busy, 2001), 0);
  t.equal(burst(busy, 4000), all - 1, 'and goes on once they are at rest');
  t.end();
});

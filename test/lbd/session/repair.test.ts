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

t.test('when digests are due', (t) => {
  const table = new SessionTable(SessionTable.create(CAPACITY), 0, { hashKey: new Uint32Array(4) });
  const repair = new Repair(table);
  const never = Number.POSITIVE_INFINITY;
  t.equal(repair.dueMs(1000), never, 'nobody has asked for any');
  repair.wantRolling(1000);
  const dueMs = repair.dueMs(1000);
  t.ok(dueMs > 1000 && dueMs < never, 'soon');
  t.equal(burst(repair, dueMs - 1), 0, 'not before');
  repair.noteMerged(dueMs);
  t.equal(burst(repair, dueMs), 1);
  const nextMs = repair.dueMs(dueMs);
  t.ok(nextMs > dueMs && nextMs < never, 'the next ones of a round that takes its time');
  t.equal(burst(repair, nextMs - 1), 0);
  repair.wantStrict();
  t.equal(repair.dueMs(nextMs), nextMs, 'what is known to be missing cannot wait');
  burst(repair, nextMs);
  t.equal(repair.dueMs(nextMs), never, 'now it is up to the peer');
  t.end();
});

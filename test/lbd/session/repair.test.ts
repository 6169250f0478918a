import t from 'tap';
import { PARTITIONS } from '../../../lbd/session/layout.ts';
import { Repair } from '../../../lbd/session/repair.ts';
import { FRAME_HEAD } from '../../../lbd/session/sync-frame.ts';
import { SessionTable } from '../../../lbd/session/table.ts';

/** One million entries, so that a round takes many frames. */
const CAPACITY = 1 << 20;

/** Words of a frame, after its head. */
function wordsOf(frame: Buffer): Int32Array {
  return new Int32Array(new Uint8Array(frame.subarray(FRAME_HEAD)).buffer);
}

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

for (const [what, capacity] of [
  ['a small table', 1024],
  ['a large one', CAPACITY],
] as const)
  t.test(`at rest ${what} is compared once in 20 s`, (t) => {
    const table = new SessionTable(SessionTable.create(capacity), 0, { hashKey: new Uint32Array(4) });
    const repair = new Repair(table);
    const began: number[] = [];
    repair.wantRolling(0);
    for (let nowMs = 0; nowMs <= 70_000; nowMs = Math.max(nowMs + 1, Math.min(repair.dueMs(nowMs), 80_000)))
      for (let frame = repair.nextDigests(nowMs); frame !== undefined; frame = repair.nextDigests(nowMs)) {
        const [round, , first, count] = wordsOf(frame);
        if (first === 0) began.push(nowMs);
        if (first! + count! === PARTITIONS) repair.onDone(Int32Array.of(round!, 0), nowMs);
      }
    const gaps = began.slice(1).map((atMs, i) => atMs - began[i]!);
    // The first comparison does not take its time.
    t.ok(began.length >= 4, `rounds: ${began}`);
    for (const gap of gaps.slice(1)) t.ok(gap >= 20_000 && gap <= 21_000, `${gap} ms`);
    t.end();
  });

t.test('a difference is looked at again soon, however small the table', (t) => {
  const table = new SessionTable(SessionTable.create(1024), 0, { hashKey: new Uint32Array(4) });
  const repair = new Repair(table);
  repair.wantRolling(0);
  const dueMs = repair.dueMs(0);
  const [round] = wordsOf(repair.nextDigests(dueMs)!);
  repair.onDone(Int32Array.of(round!, 1), dueMs);
  t.ok(repair.dueMs(dueMs) - dueMs < 1000);
  t.end();
});

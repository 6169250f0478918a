/** Worker of `change-ring.test.ts`: reports changes, now and then so fast that its ring is full. */
import { workerData } from 'node:worker_threads';
import { SessionTable } from '../../../lbd/session/table.ts';

export interface ReporterData {
  readonly buffer: SharedArrayBuffer;
  readonly writer: number;
  readonly changes: number;
}

const { buffer, writer, changes }: ReporterData = workerData;
const ring = new SessionTable(buffer, writer, { hashKey: new Uint32Array(4) }).changes;
const pause = new Int32Array(new SharedArrayBuffer(4));
for (let reported = 0; reported < changes; ) {
  // What does not fit is lost by design; here each one counts.
  if (ring.pending < 16) {
    ring.push(reported);
    reported++;
  }
  // The main thread gets the time to fall asleep.
  if (reported % 100 === 0) Atomics.wait(pause, 0, 0, 0.05);
}

/** Worker of `table.test.ts`: stores and looks up keys that all workers share, in few buckets. */
import { parentPort, workerData } from 'node:worker_threads';
import { SessionTable } from '../../../lbd/session/table.ts';

export interface HammerData {
  readonly buffer: SharedArrayBuffer;
  readonly writer: number;
  readonly keys: number;
  readonly rounds: number;
}

const { buffer, writer, keys, rounds }: HammerData = workerData;
const table = new SessionTable(buffer, writer, { hashKey: Uint32Array.of(1, 2, 3, 4) });
let torn = 0;
let lost = 0;
let dropped = 0;
for (let round = 0; round < rounds; round++) {
  for (let key = 0; key < keys; key++) {
    table.keyOfSource(7, `10.0.${key >> 8}.${key & 255}`);
    // A value tells its key, so that one key's value under another shows.
    if (!table.store(key * 1000 + 1 + ((round * 7 + writer) % 900), 60_000)) dropped++;
    const found = table.lookup(60_000);
    if (found === 0) lost++;
    else if (Math.floor((found - 1) / 1000) !== key) torn++;
  }
}
parentPort?.postMessage({ torn, lost, dropped });

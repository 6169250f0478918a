/** Worker thread of `sync.ts`: moves random sessions at a steady rate, as the data plane would. */
import { parentPort, workerData } from 'node:worker_threads';
import { SessionTable } from '../../lbd/session/table.ts';
import { clientAddress, HASH_KEY, POOL, TTL_MS } from './sync-node.ts';

export interface WriterData {
  readonly buffer: SharedArrayBuffer;
  readonly entries: number;
  readonly ratePerS: number;
  readonly total: number;
}

const { buffer, entries, ratePerS, total }: WriterData = workerData;
const table = new SessionTable(buffer, 1, { hashKey: HASH_KEY });
const startedMs = performance.now();
let done = 0;
const timer = setInterval(() => {
  const due = Math.min(((performance.now() - startedMs) / 1000) * ratePerS, total);
  for (; done < due; done++) {
    table.keyOfSource(POOL, clientAddress(Math.floor(Math.random() * entries)));
    table.store(2 + done, TTL_MS);
  }
  if (done < total) return;
  clearInterval(timer);
  parentPort?.postMessage({ tookMs: performance.now() - startedMs });
}, 1);

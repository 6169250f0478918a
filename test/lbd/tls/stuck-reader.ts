import { parentPort, workerData } from 'node:worker_threads';
import type { ToReader } from '../../../lbd/tls/certificate-reader.ts';
import { ReadingMark } from '../../../lbd/tls/reading-mark.ts';

/** In the place of the thread that reads certificates: hangs in its second file. */
const mark = new ReadingMark(workerData);
parentPort!.on('message', (message: ToReader) => {
  if (message.type !== 'read') return;
  mark.at('/far/shop.crt');
  mark.at('/far/shop.key');
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
});

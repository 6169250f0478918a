import { setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { CertificateReader, type ToReader } from './tls/certificate-reader.ts';
import { ReadingMark } from './tls/reading-mark.ts';

/** Behind the threads that serve. */
const NICE = 10;
/** For setpriority(2): this thread alone, since Linux has a priority for each. */
const THIS_THREAD = 0;

try {
  setPriority(THIS_THREAD, NICE);
} catch {
  // A service may be refused to change priorities; it reads all the same.
}

/** Entry of the thread that reads certificates: wires the reader to the main thread's messages. */
const port = parentPort!;
const reader = new CertificateReader((message) => port.postMessage(message), new ReadingMark(workerData));
port.on('message', (message: ToReader) => reader.take(message));

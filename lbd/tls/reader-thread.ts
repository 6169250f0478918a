import { Worker } from 'node:worker_threads';
import { messageOf, OperatorError } from '../../common/errors.ts';
import type { FromReader, ToReader } from './certificate-reader.ts';
import type { Comparison, InForce, TlsWanted } from './material.ts';
import { ReadingMark } from './reading-mark.ts';

const ENTRY = new URL('../certificates.ts', import.meta.url);
/**
 * Without another file that is looked at. Ten thousand certificates take half a minute the first time on a machine that has
 * other things to do, but each of them milliseconds.
 */
const PATIENCE_MS = 15_000;
/** A thread that dies at once must not turn into a busy loop. */
const AGAIN_MS = 1_000;

/** What was read. */
export interface Reading {
  readonly comparison: Comparison;
  /** Certificates that were parsed and checked for it; the others are as they were. */
  readonly parsed: number;
}

export interface ReaderOptions {
  /** Files have changed, or nobody looked for a while. */
  onChange(): void;
  /** The thread died; one line. Another takes its place. */
  tell(text: string): void;
  /** See `FileWatch`. */
  readonly intervalMs?: number | undefined;
  /** Others only in tests. */
  readonly entry?: URL;
  readonly patienceMs?: number;
}

type Waiting = (answer: Reading | OperatorError) => void;

/** The main thread's end of `CertificateReader`. */
export class ReaderThread {
  readonly #options: ReaderOptions;
  readonly #waiting = new Map<number, Waiting>();
  readonly #mark = new ReadingMark();
  #serial = 0;
  #worker: Worker | undefined;
  #watched: TlsWanted | undefined;
  #again: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: ReaderOptions) {
    this.#options = options;
  }

  /** @throws OperatorError `TLS` where the thread dies or hangs */
  async read(wanted: TlsWanted, inForce: InForce): Promise<Reading> {
    const serial = ++this.#serial;
    const { patienceMs = PATIENCE_MS } = this.#options;
    const answer = await new Promise<Reading | OperatorError>((resolve) => {
      let seen = this.#mark.count;
      const timer = setInterval(() => {
        const now = this.#mark.count;
        if (now === seen) settle(this.#stuck(patienceMs));
        seen = now;
      }, patienceMs);
      const settle: Waiting = (it) => {
        clearInterval(timer);
        this.#waiting.delete(serial);
        resolve(it);
      };
      this.#waiting.set(serial, settle);
      this.#post({ type: 'read', serial, wanted, inForce });
    });
    if (answer instanceof OperatorError) throw answer;
    return answer;
  }

  get runs(): boolean {
    return this.#worker !== undefined;
  }

  /** Follows the files of this config from now on, in the place of those before. */
  watch(wanted: TlsWanted): void {
    this.#watched = wanted;
    this.#post({ type: 'watch', wanted, intervalMs: this.#options.intervalMs });
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#again);
    await this.#worker?.terminate();
  }

  #stuck(patienceMs: number): OperatorError {
    const { path } = this.#mark;
    return failure(`${path || 'the thread that reads them'} gives no answer for ${patienceMs / 1000} s`);
  }

  #post(message: ToReader): void {
    this.#worker ??= this.#start();
    this.#worker.postMessage(message);
  }

  #start(): Worker {
    const worker = new Worker(this.#options.entry ?? ENTRY, {
      name: 'certificates',
      workerData: this.#mark.memory,
    });
    let cause = 'it ended';
    worker.on('message', (message: FromReader) => {
      if (message.type === 'changed') this.#options.onChange();
      else this.#waiting.get(message.serial)?.(message);
    });
    worker.on('error', (error) => {
      cause = messageOf(error);
    });
    worker.once('exit', () => this.#gone(cause));
    return worker;
  }

  #gone(cause: string): void {
    this.#worker = undefined;
    for (const settle of [...this.#waiting.values()]) settle(failure(cause));
    if (this.#closed) return;
    this.#options.tell(`the thread that reads certificates is replaced: ${cause}`);
    const watched = this.#watched;
    if (watched === undefined) return;
    clearTimeout(this.#again);
    this.#again = setTimeout(() => this.watch(this.#watched ?? watched), AGAIN_MS);
  }
}

function failure(cause: string): OperatorError {
  return new OperatorError('TLS', `certificates could not be read: ${cause}`);
}

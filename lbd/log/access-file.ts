import { close, fstat, open, rename, write } from 'node:fs';
import { count } from '../../common/count.ts';
import { formatSize } from '../../common/duration.ts';
import { messageOf } from '../../common/errors.ts';

/** So much may wait for a slow disk; what comes then is dropped. */
const MAX_WAITING_BYTES = 8 << 20;
/** On a pipe, only so much is written as one piece (PIPE_BUF): others write whole lines there, too. */
const PIPE_BYTES = 4096;
/** A file that could not be opened, or a pipe that is full, is tried again after so long. */
const AGAIN_MS = 1000;
const FULL_MS = 20;
const STDOUT = 1;
/** Its lines name clients. */
const MODE = 0o640;
const LF = 10;
const END_OF_LINE = Uint8Array.of(LF);

export interface AccessFileOptions {
  /** Trouble began or is over; one line. */
  tell(level: 'info' | 'warn', text: string): void;
  /** See `limit`; default: none. */
  readonly maxBytes?: number;
}

/**
 * One access log on disk. Appends with one write at a time and waits for none: where the disk is full, slow or gone,
 * lines are dropped and counted, told once, and traffic goes on.
 *
 * A file that reaches its limit, because nobody rotates it or because of a flood, is moved to the same name with `.full`
 * at its end, in place of the one that was there: what came last is what one wants to read, and the disk stays free.
 */
export class AccessFile {
  readonly #path: string;
  readonly #name: string;
  readonly #tell: AccessFileOptions['tell'];
  #descriptor: number | undefined;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #busy = false;
  #reopens = false;
  #maxBytes: number;
  /** Of the open file, as far as this process knows. */
  #size = 0;
  /** Devices and pipes have no size. */
  #regular = false;
  /** How often the limit was reached since the last rotation. */
  #moved = 0;
  #closing = false;
  /** Within a line, after a write that the disk took only in part. */
  #midLine = false;
  /** The last line on disk has no end, and its rest is lost. */
  #torn = false;
  /** Lines lost since the trouble began. */
  #lost = 0;
  #problem: string | undefined;
  #reopenProblem: string | undefined;
  #again: NodeJS.Timeout | undefined;
  #idle: (() => void) | undefined;
  /** Lines lost since the start. */
  dropped = 0;

  /** @param path empty: standard output */
  constructor(path: string, { tell, maxBytes = Number.POSITIVE_INFINITY }: AccessFileOptions) {
    this.#path = path;
    this.#name = path === '' ? 'standard output' : path;
    this.#tell = tell;
    this.#maxBytes = maxBytes;
    if (path === '') this.#descriptor = STDOUT;
    else this.#open();
  }

  /** What is wrong now; undefined: nothing. */
  get warning(): string | undefined {
    if (this.#problem !== undefined) return `access log: ${this.#problem}; ${count(this.#lost, 'line')} lost`;
    const said = this.#reopenProblem ?? (this.#moved > 0 ? this.#tooLong() : undefined);
    return said && `access log: ${said}`;
  }

  /** From now on, the file is moved aside once it has so many bytes. */
  limit(maxBytes: number): void {
    this.#maxBytes = maxBytes;
  }

  /** @param lines whole ones, with their line feeds */
  append(lines: Uint8Array): void {
    if (this.#waitingBytes + lines.length > MAX_WAITING_BYTES) {
      this.#fail(`${this.#name} is too slow`, [lines]);
      return;
    }
    this.#waiting.push(lines);
    this.#waitingBytes += lines.length;
    this.#next();
  }

  /** After a rotation: what comes from now on goes to a new file of that name. */
  reopen(): void {
    if (this.#path === '') return;
    this.#moved = 0;
    this.#reopens = true;
    clearTimeout(this.#again);
    this.#again = undefined;
    this.#next();
  }

  /** Writes what waits, for `withinMs` at most, and closes the file. */
  async close(withinMs: number): Promise<void> {
    if (this.#waiting.length > 0 || this.#busy)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, withinMs);
        this.#idle = () => {
          clearTimeout(timer);
          resolve();
        };
        this.#next();
      });
    this.#closing = true;
    clearTimeout(this.#again);
    if (!this.#busy) this.#release();
  }

  #next(): void {
    if (this.#busy || this.#closing || this.#again !== undefined) return;
    if (this.#reopens || this.#descriptor === undefined) this.#open();
    else if (this.#waiting.length === 0) this.#idle?.();
    else if (this.#isFull && !this.#midLine) this.#moveAside();
    else this.#write(this.#descriptor);
  }

  get #isFull(): boolean {
    return this.#regular && this.#size >= this.#maxBytes;
  }

  #tooLong(): string {
    const older = this.#moved > 1 ? ', and older ones are lost' : '';
    return `${this.#name} reached its max_size of ${formatSize(this.#maxBytes)} before its rotation; lines before that are in ${this.#name}.full${older}`;
  }

  #moveAside(): void {
    this.#busy = true;
    rename(this.#path, `${this.#path}.full`, (error) => {
      this.#busy = false;
      // Somebody has moved it already, and has not said so yet.
      if (error === null || error.code === 'ENOENT') this.#reopens = true;
      else
        this.#fail(
          `${this.#name} has its max_size of ${formatSize(this.#maxBytes)} and cannot be moved: ${error.code}`,
          this.#take(),
        );
      if (error === null) {
        this.#moved++;
        if (this.#moved <= 2) this.#tell('warn', `access log: ${this.#tooLong()}`);
      }
      if (this.#closing) this.#release();
      else this.#next();
    });
  }

  #open(): void {
    this.#busy = true;
    open(this.#path, 'a', MODE, (error, descriptor) => {
      if (error === null) {
        this.#measure(descriptor);
        return;
      }
      this.#busy = false;
      if (this.#descriptor === undefined) {
        this.#retry(AGAIN_MS);
        this.#fail(`cannot open ${messageOf(error)}`, this.#take());
      } else {
        const problem = `cannot open ${messageOf(error)}, the old file is still written`;
        if (problem !== this.#reopenProblem) this.#tell('warn', `access log: ${problem}`);
        this.#reopenProblem = problem;
        if (this.#isFull) this.#fail(`${this.#name} has its max_size and no successor`, this.#take());
      }
      this.#reopens = false;
      if (this.#closing) this.#release();
      else this.#next();
    });
  }

  #measure(descriptor: number): void {
    fstat(descriptor, (error, stat) => {
      this.#busy = false;
      this.#release();
      this.#descriptor = descriptor;
      this.#regular = error === null && stat.isFile();
      this.#size = error === null ? stat.size : 0;
      this.#torn = false;
      this.#reopenProblem = undefined;
      this.#reopens = false;
      if (this.#closing) this.#release();
      else this.#next();
    });
  }

  #write(descriptor: number): void {
    let bytes: Uint8Array = Buffer.concat(this.#torn ? [END_OF_LINE, ...this.#take()] : this.#take());
    if (descriptor === STDOUT && bytes.length > PIPE_BYTES) {
      const cut = bytes.lastIndexOf(LF, PIPE_BYTES - 1) + 1 || bytes.indexOf(LF) + 1;
      this.#putBack(bytes.subarray(cut));
      bytes = bytes.subarray(0, cut);
    }
    this.#busy = true;
    write(descriptor, bytes, (error, written) => {
      this.#busy = false;
      if (this.#closing) this.#release();
      else this.#written(error, bytes, written);
    });
  }

  #written(error: NodeJS.ErrnoException | null, bytes: Uint8Array, written: number): void {
    const full = error?.code === 'EAGAIN';
    if (error !== null && !full) {
      this.#torn ||= this.#midLine;
      this.#midLine = false;
      this.#fail(`cannot write ${this.#name}: ${error.code}`, [bytes]);
    } else {
      const rest = bytes.subarray(full ? 0 : written);
      if (full) this.#retry(FULL_MS);
      else {
        this.#torn = false;
        this.#size += written;
        this.#midLine = rest.length > 0 && bytes[written - 1] !== LF;
      }
      if (rest.length > 0) this.#putBack(rest);
      else this.#recovered();
    }
    this.#next();
  }

  #take(): Uint8Array[] {
    const taken = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    return taken;
  }

  #putBack(bytes: Uint8Array): void {
    this.#waiting.unshift(bytes);
    this.#waitingBytes += bytes.length;
  }

  #retry(afterMs: number): void {
    this.#again ??= setTimeout(() => {
      this.#again = undefined;
      this.#next();
    }, afterMs).unref();
  }

  #fail(problem: string, lost: readonly Uint8Array[]): void {
    let lines = 0;
    for (const bytes of lost) for (const byte of bytes) if (byte === LF) lines++;
    this.#lost += lines;
    this.dropped += lines;
    if (this.#problem !== undefined) return;
    this.#problem = problem;
    this.#tell('warn', `access log: ${problem}; lines are dropped`);
  }

  #recovered(): void {
    if (this.#problem === undefined) return;
    this.#tell('info', `access log: ${this.#name} is written again; ${count(this.#lost, 'line')} lost`);
    this.#problem = undefined;
    this.#lost = 0;
  }

  #release(): void {
    if (this.#descriptor !== undefined && this.#descriptor !== STDOUT) close(this.#descriptor, () => {});
    this.#descriptor = undefined;
  }
}

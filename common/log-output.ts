import { fstatSync, write, writeSync } from 'node:fs';
import { Socket } from 'node:net';

/** A day of a calm daemon, a second of a mad one. */
const MAX_WAITING_CHARS = 1024 * 1024;
const RETRY_MS = 100;

/**
 * Where log lines go. Neither a full disk nor a reader that is gone or stuck may end the process, hold it up (not
 * at its exit either) or fill its memory: lines are lost then, and that is all. SonicBoom, pino's own, fails that:
 * a full disk is an unhandled error or an endless flush, a stuck journal blocks a thread that the exit waits for.
 */
export interface LogOutput {
  /** Takes a line. Never throws, never blocks. */
  write(line: string): void;
}

/** @param fd open for writing; 1 is standard output */
export function openLogOutput(fd: number): LogOutput {
  const stat = fstatSync(fd);
  return stat.isFIFO() || stat.isSocket() ? new StreamOutput(fd) : new FileOutput(fd);
}

/** A pipe or a socket (the journal): the kernel takes what it can at once, the rest waits in user space. */
class StreamOutput implements LogOutput {
  readonly #socket: Socket;

  constructor(fd: number) {
    this.#socket = new Socket({ fd, readable: false, writable: true });
    this.#socket.on('error', () => {});
    this.#socket.unref();
  }

  write(line: string): void {
    if (this.#socket.destroyed || this.#socket.writableLength + line.length > MAX_WAITING_CHARS) return;
    this.#socket.write(line);
  }
}

/**
 * A file or a terminal: written by libuv's threads, one batch at a time. At an exit the batch under way and the rest may
 * arrive in either order.
 */
class FileOutput implements LogOutput {
  readonly #fd: number;
  #waiting: string[] = [];
  #chars = 0;
  #writing = false;

  constructor(fd: number) {
    this.#fd = fd;
    process.once('exit', () => this.#finish());
  }

  write(line: string): void {
    if (this.#chars + line.length > MAX_WAITING_CHARS) return;
    this.#waiting.push(line);
    this.#chars += line.length;
    if (!this.#writing) this.#next();
  }

  #next(): void {
    this.#writing = this.#waiting.length > 0;
    if (this.#writing) this.#send(Buffer.from(this.#take()));
  }

  #send(batch: Buffer): void {
    write(this.#fd, batch, (error, written) => {
      if (error?.code === 'EAGAIN') setTimeout(() => this.#send(batch), RETRY_MS).unref();
      else if (error === null && written < batch.length) this.#send(batch.subarray(written));
      else this.#next();
    });
  }

  #finish(): void {
    if (this.#waiting.length === 0) return;
    try {
      writeSync(this.#fd, this.#take());
    } catch {
      // There is nobody left to tell.
    }
  }

  #take(): string {
    const text = this.#waiting.join('');
    this.#waiting = [];
    this.#chars = 0;
    return text;
  }
}

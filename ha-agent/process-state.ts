import { closeSync, readFileSync, readlinkSync, readSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { descriptorOf, takeDescriptor } from '../common/descriptors.ts';
import { messageOf } from '../common/errors.ts';

/** Turns between a try that failed and the next one: 5 s. */
const RETRY_TURNS = 100;
/** As much of `/proc/PID/stat` as has the state in it, which stands behind a name of at most 64 bytes. */
const STAT_BYTES = 256;
/** Stopped by a signal, or dead. */
const STANDS_STILL = 'TZX';

/**
 * Whether the process of `lbd` can go on by itself, as the kernel says (proc(5), `/proc/PID/stat`). One that is slow, or
 * waits for a processor, a page or a disk, can; one that somebody stopped cannot.
 *
 * The daemons are of two users, and a service may see the processes of its own user only. So `lbd` passes a descriptor of
 * its own file on a connection that this makes, one for each process. Nothing here waits for it; without it the file is
 * looked for by its number.
 */
export class ProcessState {
  readonly #path: string;
  readonly #onUnseen: (why: string) => void;
  readonly #proc: string;
  #pid: number | undefined;
  /** Of the file of that process. */
  #descriptor: number | undefined;
  /** Where it comes from. */
  #connection: Socket | undefined;
  /** Why the latest try failed; undefined: none has yet. */
  #failure: string | undefined;
  #turnsToWait = 0;
  #unseen: string | undefined;

  /**
   * @param path of `lbd-stat.sock`
   * @param onUnseen neither way works for the process that is followed now: told once for each
   * @param proc where processes are looked for by number; another one only in tests
   */
  constructor(path: string, onUnseen: (why: string) => void, proc = '/proc') {
    this.#path = path;
    this.#onUnseen = onUnseen;
    this.#proc = proc;
  }

  /** What is in the way of seeing the process. */
  get warnings(): readonly string[] {
    return this.#unseen === undefined ? [] : [this.#unseen];
  }

  /** An `lbd` is about to be connected. One that is late from its first word on has passed its descriptor by then. */
  expect(): void {
    if (this.#pid === undefined && this.#connection === undefined) this.#ask();
  }

  /** @param pid of the `lbd` that is connected; undefined: none is, or it does not say */
  follow(pid: number | undefined): void {
    if (pid !== undefined && pid === this.#pid) return;
    if (pid === undefined || this.#pid !== undefined) this.#hangUp();
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = this.#failure = this.#unseen = undefined;
    this.#pid = pid;
    if (pid !== undefined && this.#connection === undefined) this.#ask();
  }

  /** Takes what has come by now. To be called again and again; costs a system call, and none once it is there. */
  turn(): void {
    if (this.#pid === undefined || this.#descriptor !== undefined) return;
    if (this.#connection !== undefined) {
      this.#take(this.#connection, this.#pid);
      return;
    }
    if (this.#turnsToWait === RETRY_TURNS) this.#lookWithout();
    if (--this.#turnsToWait <= 0) this.#ask();
  }

  /** @returns undefined: it is not known, because there is no such process or it is hidden from this one */
  canGoOn(): boolean | undefined {
    if (this.#pid === undefined) return undefined;
    if (this.#descriptor !== undefined) {
      const buffer = Buffer.allocUnsafe(STAT_BYTES);
      try {
        const bytes = readSync(this.#descriptor, buffer, 0, STAT_BYTES, 0);
        return canGoOn(buffer.toString('latin1', 0, bytes));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
      }
    }
    try {
      return canGoOn(readFileSync(`${this.#proc}/${this.#pid}/stat`, 'latin1'));
    } catch {
      return undefined;
    }
  }

  #ask(): void {
    const connection = createConnection({ path: this.#path });
    // Node must not read: it would throw the descriptor away.
    connection.pause();
    connection.unref();
    connection.on('error', (error) => {
      if (connection === this.#connection) this.#failed(messageOf(error));
    });
    this.#connection = connection;
  }

  #take(connection: Socket, pid: number): void {
    if (connection.connecting) return;
    try {
      const descriptor = takeDescriptor(descriptorOf(connection));
      if (descriptor === undefined) return;
      if (isStatOf(descriptor, pid)) {
        this.#hangUp();
        this.#descriptor = descriptor;
        this.#failure = this.#unseen = undefined;
        return;
      }
      closeSync(descriptor);
      this.#failed('it passed the descriptor of something else');
    } catch (error) {
      this.#failed(messageOf(error));
    }
  }

  #failed(why: string): void {
    this.#hangUp();
    this.#failure = why;
    this.#turnsToWait = RETRY_TURNS;
  }

  /** Whether the process is seen all the same; not in the moment of the failure, which the end of lbd may be. */
  #lookWithout(): void {
    const text =
      this.canGoOn() === undefined
        ? `the process of lbd is hidden (${this.#failure}): when it is late it counts as stopped`
        : undefined;
    if (text !== undefined && this.#unseen === undefined) this.#onUnseen(text);
    this.#unseen = text;
  }

  #hangUp(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.destroy();
  }
}

/**
 * What another process passes may be anything, and to read some things takes for ever: it must be the file that it is
 * said to be. In another mount namespace it has the same path, or that below the top of its own `/proc`.
 */
function isStatOf(descriptor: number, pid: number): boolean {
  try {
    const path = readlinkSync(`/proc/self/fd/${descriptor}`);
    return path === `/proc/${pid}/stat` || path === `/${pid}/stat`;
  } catch {
    return false;
  }
}

/** @param text of `/proc/PID/stat`, at least up to the state */
function canGoOn(text: string): boolean | undefined {
  // The name before it may hold anything, a parenthesis too.
  const state = text.charAt(text.lastIndexOf(')') + 2);
  return state === '' ? undefined : !STANDS_STILL.includes(state);
}

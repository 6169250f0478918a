import { readFileSync } from 'node:fs';
import type net from 'node:net';
import type { Deadlines, Timed } from './deadlines.ts';
import type { Frontend } from './frontend.ts';
import { ownAnswer } from './http/answers.ts';
import { type ByteSink, descriptorOf } from './raw-socket.ts';

/** Writes a line to the daemon's log; from a worker it goes through the main thread. */
export type WorkerLog = (level: 'info' | 'warn' | 'error', text: string, data: object) => void;

/** An overload turns away thousands a second: the log hears of it at once, then so often. */
const TELL_AGAIN_MS = 60_000;
/** So long a client that was turned away may take to read why. */
const LINGER_MS = 1_000;
const MIN_RESERVE = 64;
const MAX_RESERVE = 1_024;

const IGNORE: ByteSink = { onBytes() {} };

/**
 * Lets a new client in, or turns it away while there is still room to do so in order. At the limit of open files
 * the kernel's accept fails, and the runtime drops clients without a word; worse, health checks cannot connect
 * either, and every backend seems dead. So some descriptors are not for clients: a few for the process itself,
 * and in `mode: http`, where a client that is idle now may want a backend connection later, one for each client.
 */
export class Admission {
  readonly #deadlines: Deadlines;
  readonly #log: WorkerLog;
  /** From this descriptor on: no HTTP client, no client at all. */
  readonly #httpEnd: number;
  readonly #end: number;
  /** By cause: when it was told, and how often it happened since. */
  readonly #told = new Map<string, { atMs: number; since: number }>();

  /** @param filesLimit open files that the process may have; `Infinity`: not limited */
  constructor(deadlines: Deadlines, log: WorkerLog, filesLimit = openFilesLimit()) {
    this.#deadlines = deadlines;
    this.#log = log;
    this.#end = filesLimit - reserveOf(filesLimit);
    this.#httpEnd = this.#end / 2;
  }

  /** @returns undefined: it may enter; else it was turned away, and this takes what it still sends */
  refuse(socket: net.Socket, frontend: Frontend): ByteSink | undefined {
    // The kernel gives out the lowest free descriptor, so a high one means that those below are taken.
    const crowded = descriptorOf(socket) >= (frontend.config.mode === 'http' ? this.#httpEnd : this.#end);
    if (!crowded && !frontend.full()) return undefined;
    frontend.count('answered_503', 1);
    this.tell(
      crowded
        ? 'too few open files are left for backend connections and health checks: new clients are turned away (raise LimitNOFILE)'
        : `frontend ${frontend.name} has its max_connections ${frontend.config.maxConnections}: new clients are turned away`,
    );
    if (!crowded && frontend.config.mode === 'http') return new TurnedAway(socket, this.#deadlines);
    socket.on('error', ignore);
    socket.resetAndDestroy();
    return IGNORE;
  }

  /** Logs an overload, at most once a minute for each cause. */
  tell(cause: string): void {
    const now = performance.now();
    const told = this.#told.get(cause);
    if (told !== undefined && now - told.atMs < TELL_AGAIN_MS) {
      told.since++;
      return;
    }
    this.#told.set(cause, { atMs: now, since: 0 });
    this.#log('warn', cause, told === undefined ? {} : { times_since_last_told: told.since + 1 });
  }
}

/** Descriptors that clients cannot have, of so many. */
function reserveOf(filesLimit: number): number {
  return Math.min(MAX_RESERVE, Math.max(filesLimit >> 4, Math.min(MIN_RESERVE, filesLimit >> 2)));
}

/** Soft limit of open files of this process (Node has raised it to the hard one); `Infinity` where unknown. */
function openFilesLimit(): number {
  try {
    const line = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'));
    return line === null ? Number.POSITIVE_INFINITY : Number(line[1]);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/**
 * Answers 503 and waits for the client's end: a close with a request unread would be a reset, and the answer
 * would be lost in it.
 */
class TurnedAway implements ByteSink, Timed {
  deadline: number;
  listed = -1;
  readonly #socket: net.Socket;

  constructor(socket: net.Socket, deadlines: Deadlines) {
    this.#socket = socket;
    this.deadline = deadlines.in(LINGER_MS);
    deadlines.add(this);
    socket.on('error', ignore);
    socket.once('end', () => socket.destroySoon());
    socket.once('close', () => deadlines.remove(this));
    socket.end(ownAnswer(503, 'too many connections', '', false, false), 'latin1');
    socket.resume();
  }

  onBytes(): void {
    // A request that nobody will answer.
  }

  onDeadline(): void {
    this.#socket.destroy();
  }
}

/** Without a listener an error would end the thread; 'close' follows it. */
function ignore(): void {}

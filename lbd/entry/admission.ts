import { readFileSync } from 'node:fs';
import type net from 'node:net';
import { descriptorOf } from '../../common/descriptors.ts';
import { ownAnswer } from '../http/answers.ts';
import type { Deadlines, Timed } from '../io/deadlines.ts';
import { type ByteSink, clientAddress } from '../io/raw-socket.ts';
import { OVER_LIMIT, UNCOUNTED } from '../shared/source-limits.ts';
import type { Frontend } from './frontend.ts';

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

  /** @returns undefined: there is a descriptor for it; else it was turned away, and this takes what it still sends */
  crowd(socket: net.Socket, frontend: Frontend): ByteSink | undefined {
    if (!this.crowded(descriptorOf(socket), frontend)) return undefined;
    frontend.logRefusal(clientAddress(socket), 'no_files', 0);
    this.refuseFiles(frontend);
    return drop(socket);
  }

  /**
   * Whether a descriptor is one of those that are not for clients. The kernel gives out the lowest free one, so a high
   * one means that those below are taken.
   */
  crowded(descriptor: number, frontend: Frontend): boolean {
    return descriptor >= (frontend.config.mode === 'http' ? this.#httpEnd : this.#end);
  }

  /** A client finds no descriptor left. */
  refuseFiles(frontend: Frontend): void {
    frontend.count('answered_503', 1);
    frontend.count('refused_files', 1);
    this.tell(
      'too few open files are left for backend connections and health checks: new clients are turned away (raise LimitNOFILE)',
    );
  }

  /** A peer of `accept_proxy` did not begin with a header that can be used: whose connection it is nobody knows. */
  refuseProxy(socket: net.Socket, frontend: Frontend, fault: string): void {
    frontend.count('refused_proxy', 1);
    frontend.logRefusal(clientAddress(socket), 'proxy_header', 0);
    this.tell(
      `frontend ${frontend.name}: a connection of ${clientAddress(socket)}, listed in accept_proxy, has no usable PROXY header: ${fault}`,
      `frontend ${frontend.name} proxy`,
    );
    drop(socket);
  }

  /** A TLS handshake came to nothing. */
  tellTls(frontend: Frontend, cause: string): void {
    this.tell(`frontend ${frontend.name}: no TLS with a client: ${cause}`);
  }

  /** No TLS handshake can begin. */
  refuseTls(socket: net.Socket, frontend: Frontend, cause: string): ByteSink {
    this.tellTls(frontend, cause);
    return drop(socket);
  }

  /**
   * Counts a client in, over all workers: on its frontend, and by its address where there is a limit for that.
   *
   * @param address of the client
   * @returns undefined: it may enter, and the connection calls `frontend.leave` at its end; else it was turned away, and
   * this takes what it still sends
   */
  refuse(socket: net.Socket, frontend: Frontend, address: string): ByteSink | undefined {
    const { maxConnections, limits, mode } = frontend.config;
    // What would say so in TLS is a handshake, and that is what there is no room for.
    const plain = mode === 'http' && frontend.terminator === undefined;
    if (!frontend.enter()) {
      frontend.count('answered_503', 1);
      frontend.count('refused_full', 1);
      frontend.logRefusal(address, 'too_many_clients', plain ? 503 : 0);
      this.tell(
        `frontend ${frontend.name} has its max_connections ${maxConnections}: new clients are turned away`,
      );
      return plain ? new TurnedAway(socket, this.#deadlines, 503, 'too many connections') : drop(socket);
    }
    if (limits.perSource === undefined) return undefined;
    const { sources } = frontend.context.shared;
    const cell = sources.enter(frontend.row, address, limits.perSource);
    if (cell !== OVER_LIMIT) {
      if (cell !== UNCOUNTED) socket.once('close', () => sources.leave(cell));
      return undefined;
    }
    frontend.leave();
    this.refuseSource(frontend, address);
    frontend.logRefusal(address, 'too_many_of_client', plain ? 429 : 0);
    return plain
      ? new TurnedAway(socket, this.#deadlines, 429, 'too many connections from your address')
      : drop(socket);
  }

  /** A client has as many connections or flows as one may. */
  refuseSource(frontend: Frontend, address: string): void {
    frontend.count('refused_source', 1);
    this.tell(
      `frontend ${frontend.name}: ${address} has its limits.per_source ${frontend.config.limits.perSource}: what it opens more is turned away (the log names one of these clients)`,
      `frontend ${frontend.name} source`,
    );
  }

  /**
   * Logs an overload, at most once a minute for each cause.
   *
   * @param key of the cause, where the text differs each time
   */
  tell(cause: string, key = cause): void {
    const now = performance.now();
    const told = this.#told.get(key);
    if (told !== undefined && now - told.atMs < TELL_AGAIN_MS) {
      told.since++;
      return;
    }
    this.#told.set(key, { atMs: now, since: 0 });
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
 * Answers 503 or 429 and waits for the client's end: a close with a request unread would be a reset, and the answer
 * would be lost in it.
 */
class TurnedAway implements ByteSink, Timed {
  deadline: number;
  listed = -1;
  readonly #socket: net.Socket;

  constructor(socket: net.Socket, deadlines: Deadlines, status: number, cause: string) {
    this.#socket = socket;
    this.deadline = deadlines.in(LINGER_MS);
    deadlines.add(this);
    socket.on('error', ignore);
    socket.once('end', () => socket.destroySoon());
    socket.once('close', () => deadlines.remove(this));
    socket.end(ownAnswer(status, cause, '', false, false), 'latin1');
    socket.resume();
  }

  onBytes(): void {
    // A request that nobody will answer.
  }

  onDeadline(): void {
    this.#socket.destroy();
  }
}

function drop(socket: net.Socket): ByteSink {
  socket.on('error', ignore);
  socket.resetAndDestroy();
  return IGNORE;
}

/** Without a listener an error would end the thread; 'close' follows it. */
function ignore(): void {}

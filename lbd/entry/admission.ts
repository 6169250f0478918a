import { readFileSync } from 'node:fs';
import type net from 'node:net';
import { descriptorOf } from '../../common/descriptors.ts';
import type { ByteSink } from '../io/byte-sink.ts';
import { clientAddress } from '../io/raw-socket.ts';
import { type Refusal, TOO_MANY_CLIENTS, TOO_MANY_OF_CLIENT } from '../log/refusal.ts';
import { OVER_LIMIT, UNCOUNTED } from '../shared/source-limits.ts';
import type { Frontend } from './frontend.ts';

/** Writes a line to the daemon's log; from a worker it goes through the main thread. */
export type WorkerLog = (level: 'info' | 'warn' | 'error', text: string, data: object) => void;

/** An overload turns away thousands a second: the log hears of it at once, then so often. */
const TELL_AGAIN_MS = 60_000;
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
  readonly #log: WorkerLog;
  /** From this descriptor on: no HTTP client, no client at all. */
  readonly #httpEnd: number;
  readonly #end: number;
  /** By cause: when it was told, and how often it happened since. */
  readonly #told = new Map<string, { atMs: number; since: number }>();

  /** @param filesLimit open files that the process may have; `Infinity`: not limited */
  constructor(log: WorkerLog, filesLimit = openFilesLimit()) {
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
   * @returns undefined: it may enter, and the connection calls `frontend.leave` at its end; else why it may not. With
   * status 0 it can be told nothing, and is to be dropped
   */
  refuse(socket: net.Socket, frontend: Frontend, address: string): Refusal | undefined {
    const { maxConnections, limits, mode } = frontend.config;
    // What would say so in TLS is a handshake, and that is what there is no room for.
    const tells = mode === 'http' && frontend.terminator === undefined;
    if (!frontend.enter()) {
      frontend.count('answered_503', 1);
      frontend.count('refused_full', 1);
      this.tell(
        `frontend ${frontend.name} has its max_connections ${maxConnections}: new clients are turned away`,
      );
      return this.#logged(tells ? TOO_MANY_CLIENTS : { ...TOO_MANY_CLIENTS, status: 0 }, frontend, address);
    }
    // The requests of a trusted proxy's connection are counted, each on its client.
    if (limits.perSource === undefined || frontend.trusts(address)) return undefined;
    const { sources } = frontend.context.shared;
    const cell = sources.enter(frontend.row, address, limits.perSource);
    if (cell !== OVER_LIMIT) {
      if (cell !== UNCOUNTED) socket.once('close', () => sources.leave(cell));
      return undefined;
    }
    frontend.leave();
    this.refuseSource(frontend, address);
    return this.#logged(tells ? TOO_MANY_OF_CLIENT : { ...TOO_MANY_OF_CLIENT, status: 0 }, frontend, address);
  }

  #logged(refusal: Refusal, frontend: Frontend, address: string): Refusal {
    frontend.logRefusal(address, refusal.cause, refusal.status);
    return refusal;
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

/** Ends a connection of which nobody reads anything. */
export function drop(socket: net.Socket): ByteSink {
  socket.on('error', ignore);
  socket.resetAndDestroy();
  return IGNORE;
}

/** Without a listener an error would end the thread; 'close' follows it. */
function ignore(): void {}

import type net from 'node:net';
import { hashText } from '../common/hash.ts';
import type { Timed } from './deadlines.ts';
import type { Frontend } from './frontend.ts';
import type { Pool } from './pool.ts';
import type { ByteSink } from './raw-socket.ts';
import { BACKEND_COUNTERS } from './shared.ts';
import { Upstream, type UpstreamUser } from './upstream.ts';

/** Backends tried for one connection, the first included. */
const MAX_TRIES = 3;
const REQUESTS = BACKEND_COUNTERS.indexOf('requests');
const ERRORS = BACKEND_COUNTERS.indexOf('errors');
const CONNECTS = BACKEND_COUNTERS.indexOf('connects');
const CONNECT_FAILURES = BACKEND_COUNTERS.indexOf('connect_failures');
const BYTES_IN = BACKEND_COUNTERS.indexOf('bytes_in');
const BYTES_OUT = BACKEND_COUNTERS.indexOf('bytes_out');

type Owned = net.Socket & { tcpConnection?: TcpConnection };

/**
 * One client connection of a TCP frontend: bytes go both ways unread. The client is not read before the backend
 * connection is there, so that another backend can be tried without losing a byte. The end of one side is passed
 * on as an end, after all its bytes; a reset as a reset, so that nobody takes a cut for a complete message.
 */
export class TcpConnection implements ByteSink, Timed, UpstreamUser {
  deadline = 0;
  listed = -1;
  readonly #frontend: Frontend;
  readonly #pool: Pool;
  readonly #socket: net.Socket;
  readonly #address: string;
  readonly #addressHash: number;
  #backend = -1;
  #upstream: Upstream | undefined;
  #tried: number[] | undefined;
  #reset = false;

  /** Begins to connect at once. `frontend.pool` must be set; a TCP frontend always has one. */
  constructor(socket: net.Socket, frontend: Frontend) {
    this.#socket = socket;
    this.#frontend = frontend;
    this.#pool = frontend.pool!;
    const address = socket.remoteAddress ?? '';
    this.#address = address.startsWith('::ffff:') ? address.slice(7) : address;
    this.#addressHash = hashText(this.#address);
    (socket as Owned).tcpConnection = this;
    socket.on('end', onEnd);
    socket.on('error', onError);
    socket.on('drain', onDrain);
    socket.once('close', onClose);
    frontend.count('connections', 1);
    frontend.count('accepted', 1);
    frontend.context.deadlines.add(this);
    this.#connect();
  }

  /** Slot of the backend of this connection; -1: none. */
  get slot(): number {
    return this.#upstream?.backend.slot ?? -1;
  }

  get idle(): boolean {
    return false;
  }

  cut(): void {
    this.#socket.resetAndDestroy();
  }

  closeIfIdle(): void {
    // A TCP connection is never known to be idle.
  }

  #connect(): void {
    const pool = this.#pool;
    const index = pool.choose(this.#address, this.#addressHash, undefined, 0, this.#tried);
    if (index < 0 || (this.#tried?.length ?? 0) >= MAX_TRIES) {
      this.#frontend.count('answered_503', 1);
      this.#socket.resetAndDestroy();
      return;
    }
    const backend = pool.backends[index]!;
    const { shared, deadlines } = this.#frontend.context;
    this.#backend = index;
    shared.enter(backend.slot);
    shared.countBackend(backend.slot, REQUESTS, 1);
    shared.countBackend(backend.slot, CONNECTS, 1);
    this.#upstream = new Upstream(backend, this, deadlines, pool.config.timeouts.connectMs);
  }

  onBytes(buffer: Buffer, length: number): void {
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    this.#touch();
    this.#frontend.context.shared.countBackend(upstream.backend.slot, BYTES_OUT, length);
    if (!upstream.socket.write(Buffer.copyBytesFrom(buffer, 0, length))) this.#socket.pause();
  }

  onClientEnd(): void {
    this.#upstream?.socket.end();
  }

  onClientDrain(): void {
    this.#upstream?.socket.resume();
  }

  onClientError(): void {
    this.#reset = true;
  }

  onClientClose(): void {
    this.#frontend.context.deadlines.remove(this);
    this.#frontend.count('connections', -1);
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    this.#leave();
    if (this.#reset || !upstream.connected) upstream.reset();
    else {
      // All that the client sent is written already; let it leave before the end.
      upstream.user = undefined;
      upstream.socket.destroySoon();
    }
  }

  onUpstreamReady(): void {
    this.#touch();
    this.#socket.resume();
  }

  onUpstreamBytes(buffer: Buffer, length: number): void {
    this.#touch();
    this.#frontend.context.shared.countBackend(this.#upstream!.backend.slot, BYTES_IN, length);
    if (!this.#socket.write(Buffer.copyBytesFrom(buffer, 0, length))) this.#upstream!.socket.pause();
  }

  onUpstreamDrain(): void {
    this.#socket.resume();
  }

  onUpstreamEnd(): void {
    this.#socket.end();
  }

  onUpstreamClose(why: string): void {
    const upstream = this.#upstream!;
    const { shared } = this.#frontend.context;
    this.#leave();
    if (!upstream.connected) {
      shared.countBackend(upstream.backend.slot, CONNECT_FAILURES, 1);
      this.#tried ??= [];
      this.#tried.push(this.#backend);
      if (!this.#socket.destroyed) this.#connect();
    } else if (why === '') this.#socket.destroySoon();
    else {
      shared.countBackend(upstream.backend.slot, ERRORS, 1);
      this.#socket.resetAndDestroy();
    }
  }

  onDeadline(): void {
    this.#socket.resetAndDestroy();
  }

  #touch(): void {
    this.deadline = this.#frontend.context.deadlines.in(this.#frontend.config.timeouts.idleMs);
  }

  #leave(): void {
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    this.#upstream = undefined;
    this.#frontend.context.shared.leave(upstream.backend.slot);
  }
}

function onEnd(this: Owned): void {
  this.tcpConnection!.onClientEnd();
}
function onError(this: Owned): void {
  this.tcpConnection!.onClientError();
}
function onDrain(this: Owned): void {
  this.tcpConnection!.onClientDrain();
}
function onClose(this: Owned): void {
  this.tcpConnection!.onClientClose();
}

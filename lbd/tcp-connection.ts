import type net from 'node:net';
import { hashText } from '../common/hash.ts';
import type { Timed } from './deadlines.ts';
import type { Frontend } from './frontend.ts';
import type { Pool } from './pool.ts';
import { type ByteSink, clientAddress } from './raw-socket.ts';
import { BACKEND_COUNTERS } from './shared.ts';
import { Upstream, type UpstreamUser } from './upstream.ts';

/** Backends tried for one connection, the first included. */
const MAX_TRIES = 3;
const REQUESTS = BACKEND_COUNTERS.indexOf('requests');
const ERRORS = BACKEND_COUNTERS.indexOf('errors');
const CONNECTS = BACKEND_COUNTERS.indexOf('connects');
const CONNECT_FAILURES = BACKEND_COUNTERS.indexOf('connect_failures');
const BYTES_RECEIVED = BACKEND_COUNTERS.indexOf('bytes_received');
const BYTES_SENT = BACKEND_COUNTERS.indexOf('bytes_sent');

/** What one side has said in full gets so long to reach the other, without progress, once its sender is gone. */
const LINGER_MS = 30_000;

type Owned = net.Socket & { tcpConnection?: TcpConnection };

/**
 * One client connection of a TCP frontend: bytes go both ways unread. The client is not read before the backend
 * connection is there, so that another backend can be tried without losing a byte. The end of one side is passed
 * on as an end, after all its bytes; a reset, a cut or a time-out before it as a reset, so that nobody takes a
 * part for the whole. A side that goes away after its end was heard in full: the other one still gets all of it.
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
  #clientEnded = false;
  #clientClosed = false;
  #backendEnded = false;

  /** Begins to connect at once. `frontend.pool` must be set; a TCP frontend always has one. */
  constructor(socket: net.Socket, frontend: Frontend) {
    this.#socket = socket;
    this.#frontend = frontend;
    this.#pool = frontend.pool!;
    this.#address = clientAddress(socket);
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

  /** Ends both sides now; each one gets a reset. */
  cut(): void {
    const upstream = this.#leave();
    if (upstream?.connected) upstream.reset();
    else upstream?.destroy();
    this.#socket.resetAndDestroy();
    this.#finish();
  }

  /** Address at which the client reached this node; undefined once the connection is gone. */
  get localAddress(): string | undefined {
    return this.#socket.localAddress;
  }

  closeIfIdle(): void {
    // A TCP connection is never known to be idle.
  }

  #connect(): void {
    const pool = this.#pool;
    const index =
      this.#tried === undefined || this.#tried.length < MAX_TRIES
        ? pool.choose(this.#address, this.#addressHash, undefined, 0, this.#tried)
        : -1;
    if (index < 0) {
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
    // The backend has ended and is gone: nobody is left to hear it, but the client may still be reading.
    if (upstream === undefined) return;
    this.#touch();
    this.#frontend.count('bytes_received', length);
    this.#frontend.context.shared.countBackend(upstream.backend.slot, BYTES_SENT, length);
    if (!upstream.socket.write(Buffer.copyBytesFrom(buffer, 0, length))) this.#socket.pause();
  }

  onClientEnd(): void {
    this.#clientEnded = true;
    this.#upstream?.socket.end();
  }

  onClientDrain(): void {
    this.#touch();
    this.#upstream?.socket.resume();
  }

  onClientClose(): void {
    this.#clientClosed = true;
    this.#frontend.count('connections', -1);
    const upstream = this.#upstream;
    if (upstream === undefined) this.#finish();
    else if (!this.#clientEnded || !upstream.connected) this.cut();
    else {
      this.#linger();
      upstream.socket.resume();
    }
  }

  onUpstreamReady(): void {
    this.#touch();
    this.#socket.resume();
  }

  onUpstreamBytes(buffer: Buffer, length: number): void {
    if (this.#clientClosed) return;
    this.#touch();
    this.#frontend.count('bytes_sent', length);
    this.#frontend.context.shared.countBackend(this.#upstream!.backend.slot, BYTES_RECEIVED, length);
    if (!this.#socket.write(Buffer.copyBytesFrom(buffer, 0, length))) this.#upstream!.socket.pause();
  }

  onUpstreamDrain(): void {
    this.#touch();
    if (!this.#clientClosed) this.#socket.resume();
  }

  onUpstreamEnd(): void {
    this.#backendEnded = true;
    this.#socket.end();
  }

  onUpstreamClose(why: string): void {
    const upstream = this.#leave()!;
    const { shared } = this.#frontend.context;
    if (!upstream.connected) {
      shared.countBackend(upstream.backend.slot, CONNECT_FAILURES, 1);
      this.#tried ??= [];
      this.#tried.push(this.#backend);
      if (!this.#socket.destroyed) this.#connect();
    } else if (this.#clientClosed) this.#finish();
    else if (this.#backendEnded) {
      this.#linger();
      this.#socket.resume();
    } else {
      if (why !== '') shared.countBackend(upstream.backend.slot, ERRORS, 1);
      this.#socket.resetAndDestroy();
    }
  }

  onDeadline(): void {
    const receiver = this.#clientClosed ? this.#upstream?.socket : this.#socket;
    const heard = this.#clientClosed || this.#backendEnded;
    // All that is due to it is with the kernel, which delivers it after a plain close, but not after a reset.
    if (heard && receiver?.writableFinished) receiver.destroy();
    else this.cut();
  }

  #touch(): void {
    this.deadline = this.#frontend.context.deadlines.in(this.#frontend.config.timeouts.idleMs);
  }

  #linger(): void {
    const { context, config } = this.#frontend;
    this.deadline = context.deadlines.in(Math.min(LINGER_MS, config.timeouts.idleMs));
  }

  #leave(): Upstream | undefined {
    const upstream = this.#upstream;
    if (upstream === undefined) return undefined;
    this.#upstream = undefined;
    this.#frontend.context.shared.leave(upstream.backend.slot);
    return upstream;
  }

  /** Off the list, once neither side is left. */
  #finish(): void {
    if (this.#clientClosed && this.#upstream === undefined) this.#frontend.context.deadlines.remove(this);
  }
}

function onEnd(this: Owned): void {
  this.tcpConnection!.onClientEnd();
}
function onError(this: Owned): void {
  // 'close' follows and does what is to be done; without a listener an error would end the thread.
}
function onDrain(this: Owned): void {
  this.tcpConnection!.onClientDrain();
}
function onClose(this: Owned): void {
  this.tcpConnection!.onClientClose();
}

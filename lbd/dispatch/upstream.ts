import type net from 'node:net';
import type { ByteSink } from '../io/byte-sink.ts';
import type { Deadlines, Timed } from '../io/deadlines.ts';
import { readSoon } from '../io/direct-io.ts';
import { dial, resetNow } from '../io/raw-socket.ts';
import { RelaySocket } from '../io/relay-socket.ts';
import { dialSecure } from '../io/secure-socket.ts';
import type { BackendTls } from '../tls/backend-tls.ts';

/** Whoever uses a connection to a backend at the moment. Exactly one of `onUpstreamClose` calls ends the use. */
export interface UpstreamUser {
  /** The handshake is over, that of TLS as well; called for new connections only. */
  onUpstreamReady(): void;
  /** `buffer` is valid during the call only. */
  onUpstreamBytes(buffer: Buffer, length: number): void;
  /** The backend ended its side. */
  onUpstreamEnd(): void;
  /** All that was written has left; write on. */
  onUpstreamDrain(): void;
  /** The connection is gone. `why` is empty after an orderly end, else a short reason such as `ECONNREFUSED`. */
  onUpstreamClose(why: string): void;
}

/** A backend as connections to it see it. */
export interface UpstreamBackend {
  readonly name: string;
  readonly port: number;
  /** Its row in the shared memory. */
  readonly slot: number;
  /** undefined: it is spoken to in the clear. */
  readonly tls: BackendTls | undefined;
  /** IP address for the next connection; empty: there is none, and the connection fails. */
  nextAddress(): string;
  /** No connection to this address came about. */
  failedAt(address: string): void;
  /** A connection to it is being made. Paired with one `disconnected`. */
  connecting(): void;
  /** The connection is there. */
  connected(): void;
  /** @param had whether the connection had come about */
  disconnected(had: boolean): void;
  /** @returns whether it was kept; if not, the caller closes it */
  keepIdle(upstream: Upstream): boolean;
  dropIdle(upstream: Upstream): void;
  /** See `Backend.watch`. */
  watch(upstream: Upstream): boolean;
  watchEnded(upstream: Upstream): void;
}

/** Longer than a round trip and a delayed segment of a backend that sends more than it should. */
const PROBATION_MS = 500;

type Owned = net.Socket & { upstream?: Upstream };

/** A connection to a backend: being made, used by one client connection, or idle. */
export class Upstream implements ByteSink, Timed {
  readonly backend: UpstreamBackend;
  /** IP address of the backend that it leads to. */
  readonly address: string;
  readonly socket: net.Socket;
  user: UpstreamUser | undefined;
  connected = false;
  /** Used before, so that the backend may just be closing it. */
  reused = false;
  idleSinceMs = 0;
  /** When its handshake was over, in coarse milliseconds. */
  openedMs = 0;
  deadline = 0;
  listed = -1;
  readonly #deadlines: Deadlines;
  #why = '';
  /** For how long it will be kept, once nothing has come for a while; 0: it is not on probation. */
  #keepMs = 0;

  /**
   * @param user undefined: it comes within the same call
   * @param preamble the first bytes on the connection, before TLS: a PROXY header
   * @param tls in which it is spoken to
   */
  constructor(
    backend: UpstreamBackend,
    user: UpstreamUser | undefined,
    deadlines: Deadlines,
    connectMs: number,
    preamble?: Buffer,
    tls = backend.tls,
  ) {
    this.backend = backend;
    this.user = user;
    this.#deadlines = deadlines;
    const { port } = backend;
    const address = backend.nextAddress();
    this.address = address;
    const socket: Owned =
      tls === undefined ? dial(address, port, this) : dialSecure(address, port, tls, this, preamble);
    this.socket = socket;
    // Kept until the handshake is over.
    if (preamble !== undefined && tls === undefined) socket.write(preamble);
    socket.upstream = this;
    socket.once(tls === undefined ? 'connect' : 'secureConnect', onConnect);
    socket.on('end', onEnd);
    socket.on('error', onError);
    socket.on('drain', onDrain);
    socket.once('close', onClose);
    this.deadline = deadlines.in(connectMs);
    deadlines.add(this);
    backend.connecting();
  }

  onBytes(buffer: Buffer, length: number): void {
    // Bytes that nobody asked for: whoever used this connection next would take them for its answer.
    if (this.user === undefined) this.destroy();
    else this.user.onUpstreamBytes(buffer, length);
  }

  onDeadline(): void {
    const keepMs = this.#keepMs;
    if (keepMs > 0) {
      this.#endWatch();
      this.release(keepMs);
      return;
    }
    this.#why = this.connected ? '' : 'ETIMEDOUT';
    if (this.user === undefined) this.destroy();
    else this.socket.destroy();
  }

  onConnected(): void {
    this.connected = true;
    this.deadline = 0;
    this.openedMs = this.#deadlines.now;
    this.backend.connected();
    this.user?.onUpstreamReady();
  }

  onEnded(): void {
    if (this.user === undefined) this.destroy();
    else this.user.onUpstreamEnd();
  }

  onFailed(error: NodeJS.ErrnoException): void {
    this.#why = error.code ?? error.message;
    // 'close' comes later, and until then nobody may take it for an idle one.
    if (this.user === undefined) this.backend.dropIdle(this);
  }

  onClosed(): void {
    this.#endWatch();
    this.#deadlines.remove(this);
    this.backend.disconnected(this.connected);
    const user = this.user;
    if (!this.connected && user !== undefined) this.backend.failedAt(this.address);
    this.user = undefined;
    if (user === undefined) this.backend.dropIdle(this);
    else user.onUpstreamClose(this.#why);
  }

  /** What was written last has not left yet: nothing that comes can be an answer to it. */
  get unasked(): boolean {
    if (!this.reused) return false;
    const { socket } = this;
    return socket.writableCorked > 0 || (socket instanceof RelaySocket && socket.heldBytes > 0);
  }

  /** Another request can be written to it. A write that failed shows at once, the end of the connection only later. */
  get usable(): boolean {
    return this.socket.writable;
  }

  /**
   * Gives an unspoilt connection back, for the next request to the same backend.
   *
   * @param keepMs closed when nobody wants it for so long
   */
  release(keepMs: number): void {
    this.user = undefined;
    this.reused = true;
    this.idleSinceMs = this.#deadlines.now;
    if (!this.usable || !this.backend.keepIdle(this)) {
      this.destroy();
      return;
    }
    this.deadline = this.#deadlines.in(keepMs);
  }

  /**
   * As `release`, but where more may come behind the last answer only after a while in which nothing does; what comes ends it.
   * Once a request is written, nobody can tell such bytes from its answer, so that only waiting before it helps.
   *
   * @param keepMs as of `release`
   */
  releaseLater(keepMs: number): void {
    this.user = undefined;
    if (!this.backend.watch(this)) {
      this.discard();
      return;
    }
    this.#keepMs = keepMs;
    this.deadline = this.#deadlines.in(PROBATION_MS);
  }

  #endWatch(): void {
    if (this.#keepMs === 0) return;
    this.#keepMs = 0;
    this.backend.watchEnded(this);
  }

  /**
   * As `release`, but for the next request of the same user only, who keeps it.
   *
   * @param keepMs closed when it is not wanted for so long
   */
  park(keepMs: number): void {
    this.user = undefined;
    this.reused = true;
    this.idleSinceMs = this.#deadlines.now;
    this.deadline = this.#deadlines.in(keepMs);
  }

  /** Takes an idle connection into use. */
  claim(user: UpstreamUser): void {
    this.user = user;
    this.deadline = 0;
    readSoon(this.socket);
  }

  /** Ends the use and the connection; the user is not called any more. */
  destroy(): void {
    if (this.user === undefined) {
      this.backend.dropIdle(this);
      this.#endWatch();
    }
    this.user = undefined;
    this.socket.destroy();
  }

  /**
   * Ends a connection that has served well and will not be used again, with a reset: an end would keep its local port from
   * the next one for a minute, and what clients can cause at will must not use these up.
   */
  discard(): void {
    if (this.user === undefined) this.backend.dropIdle(this);
    this.reset();
  }

  /** As `destroy`, but the backend gets a reset, so that it cannot take a cut for an orderly end. */
  reset(): void {
    this.user = undefined;
    // Node would put the reset off until the handshake is over.
    if (this.connected) resetNow(this.socket);
    else this.socket.destroy();
  }
}

// Shared functions instead of closures: a connection costs no function objects of its own.
function onConnect(this: Owned): void {
  this.upstream!.onConnected();
}
function onEnd(this: Owned): void {
  this.upstream!.onEnded();
}
function onError(this: Owned, error: NodeJS.ErrnoException): void {
  this.upstream!.onFailed(error);
}
function onDrain(this: Owned): void {
  this.upstream!.user?.onUpstreamDrain();
}
function onClose(this: Owned): void {
  this.upstream!.onClosed();
}

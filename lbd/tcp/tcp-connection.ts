import type net from 'node:net';
import { hashText } from '../../common/hash.ts';
import { type Endpoints, proxyHeader } from '../../common/proxy-protocol.ts';
import { Attempts } from '../dispatch/attempts.ts';
import type { Backend } from '../dispatch/backend.ts';
import type { Pool } from '../dispatch/pool.ts';
import type { QueueUser, Waiter } from '../dispatch/queue.ts';
import { Upstream, type UpstreamBackend, type UpstreamUser } from '../dispatch/upstream.ts';
import type { Frontend } from '../entry/frontend.ts';
import type { ByteSink } from '../io/byte-sink.ts';
import type { Timed } from '../io/deadlines.ts';
import { readSoon } from '../io/direct-io.ts';
import { clientAddress, endpointsOf, resetNow, send } from '../io/raw-socket.ts';
import type { AccessRecord } from '../log/access-record.ts';
import {
  NO_BACKEND,
  QUEUE_FULL,
  QUEUE_TIMEOUT,
  type Refusal,
  TOO_MANY_CONNECTIONS,
  TOO_MANY_REQUESTS,
  unreachable,
} from '../log/refusal.ts';
import { COUNTER } from '../shared/shared.ts';
import { handshakeMs } from '../tls/terminator.ts';

/** What one side has said in full gets so long to reach the other, without progress, once its sender is gone. */
const LINGER_MS = 30_000;

type Owned = net.Socket & { tcpConnection?: TcpConnection };

/**
 * One client connection of a TCP frontend: bytes go both ways unread. The client is not read before the backend
 * connection is there, so that another backend can be tried without losing a byte. The end of one side is passed
 * on as an end, after all its bytes; a reset, a cut or a time-out before it as a reset, so that nobody takes a
 * part for the whole. A side that goes away after its end was heard in full: the other one still gets all of it.
 */
export class TcpConnection implements ByteSink, Timed, UpstreamUser, QueueUser {
  deadline = 0;
  listed = -1;
  readonly frontend: Frontend;
  readonly #pool: Pool;
  readonly #socket: net.Socket;
  readonly #address: string;
  readonly #attempts: Attempts;
  #upstream: Upstream | undefined;
  readonly #endpoints: Endpoints | undefined;
  /** Its place in the queue of the pool. */
  #waiter: Waiter | undefined;
  /** What came with the PROXY header, or the ClientHello, until a backend is there. */
  #early: Buffer | undefined;
  readonly #log: AccessRecord | undefined;
  #clientEnded = false;
  #clientClosed = false;
  #backendEnded = false;

  /**
   * Begins to connect at once.
   *
   * @param endpoints from a PROXY header; undefined: the ends of the socket are those of the client
   * @param pool of the connection; a TCP frontend that does not route always has one
   */
  constructor(socket: net.Socket, frontend: Frontend, endpoints?: Endpoints, pool = frontend.pool!) {
    this.#socket = socket;
    this.frontend = frontend;
    this.#pool = pool;
    this.#endpoints = endpoints;
    this.#address = endpoints?.address ?? clientAddress(socket);
    const client = { address: this.#address, addressHash: hashText(this.#address) };
    this.#attempts = new Attempts(frontend.context.shared, client);
    (socket as Owned).tcpConnection = this;
    socket.on('end', onEnd);
    socket.on('error', onError);
    socket.on('drain', onDrain);
    socket.once('close', onClose);
    frontend.count('accepted', 1);
    frontend.context.deadlines.add(this);
    this.#log = frontend.record(undefined, this.#address);
    this.#log?.begin(handshakeMs(socket));
    this.#log?.routed(-1, pool.config.name);
    this.#connect();
  }

  /** undefined: none. */
  get backend(): UpstreamBackend | undefined {
    return this.#upstream?.backend;
  }

  get idle(): boolean {
    return false;
  }

  /** Ends both sides now; each one gets a reset. */
  cut(): void {
    this.#log?.fault('cut');
    this.#log?.end();
    this.#giveUpTurn();
    const upstream = this.#leave();
    if (upstream?.connected) upstream.reset();
    else upstream?.destroy();
    resetNow(this.#socket);
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
    if (pool.breaker.refusesRequest()) {
      this.#refuse(TOO_MANY_REQUESTS);
      return;
    }
    const attempts = this.#attempts;
    const chosen = attempts.begin(pool);
    if (!chosen && !pool.saturated) this.#refuse(NO_BACKEND);
    else if (chosen && attempts.enter()) this.#dial();
    else {
      this.#waiter = pool.queue?.join(this, chosen && pool.tied ? attempts.backend.slot : -1);
      if (this.#waiter === undefined) this.#refuse(QUEUE_FULL);
      else this.#log?.queued();
    }
  }

  chooseAgain(): Backend | undefined {
    return this.#attempts.chooseAgain();
  }

  onTurn(): void {
    this.#waiter = undefined;
    this.#attempts.entered();
    this.#dial();
  }

  /** The chosen backend, where it is entered, gets a connection. */
  #dial(): void {
    const { backend, tries } = this.#attempts;
    if (this.#pool.breaker.refusesConnection()) {
      this.#attempts.leave();
      this.#refuse(TOO_MANY_CONNECTIONS);
      return;
    }
    this.#log?.connecting(backend.name, tries);
    this.#attempts.count(COUNTER.connects, 1);
    const { deadlines } = this.frontend.context;
    const { sendProxy, timeouts } = this.#pool.config;
    this.#upstream = new Upstream(
      backend,
      this,
      deadlines,
      timeouts.connectMs,
      sendProxy && proxyHeader(sendProxy, this.#endpoints ?? endpointsOf(this.#socket)),
    );
  }

  onQueueTimeout(): void {
    this.#waiter = undefined;
    this.#refuse(QUEUE_TIMEOUT);
  }

  #refuse({ cause, counter, reason }: Refusal): void {
    this.frontend.count('answered_503', 1);
    if (counter !== undefined) this.frontend.count(counter, 1);
    this.#log?.fault(cause, undefined, reason);
    resetNow(this.#socket);
  }

  #giveUpTurn(): void {
    if (this.#waiter === undefined) return;
    this.#pool.queue?.leave(this.#waiter);
    this.#waiter = undefined;
  }

  onBytes(buffer: Buffer, length: number): void {
    const upstream = this.#upstream;
    if (upstream?.connected !== true && !this.#backendEnded) {
      this.frontend.count('bytes_received', length);
      this.#early = Buffer.copyBytesFrom(buffer, 0, length);
      return;
    }
    // The backend has ended and is gone: nobody is left to hear it, but the client may still be reading.
    if (upstream === undefined) return;
    this.#touch();
    this.#log?.received(length);
    this.frontend.count('bytes_received', length);
    this.#attempts.count(COUNTER.bytes_sent, length);
    if (!send(upstream.socket, buffer, 0, length)) this.#socket.pause();
  }

  onClientEnd(): void {
    this.#clientEnded = true;
    if (this.#upstream?.connected) this.#upstream.socket.end();
  }

  onClientDrain(): void {
    this.#touch();
    this.#upstream?.socket.resume();
  }

  onClientClose(): void {
    this.#clientClosed = true;
    this.frontend.leave();
    this.#giveUpTurn();
    const upstream = this.#upstream;
    if (upstream === undefined) this.#finish();
    else if (!this.#clientEnded || !upstream.connected) {
      this.#log?.fault('client_gone');
      this.cut();
    } else {
      this.#linger();
      upstream.socket.resume();
    }
  }

  onUpstreamReady(): void {
    this.#touch();
    this.#attempts.worked();
    const early = this.#early;
    this.#early = undefined;
    this.#log?.connected();
    if (early !== undefined) {
      this.#log?.received(early.length);
      this.#attempts.count(COUNTER.bytes_sent, early.length);
      this.#upstream!.socket.write(early);
    }
    if (this.#clientEnded) this.#upstream!.socket.end();
    this.#socket.resume();
  }

  onUpstreamBytes(buffer: Buffer, length: number): void {
    if (this.#clientClosed) return;
    this.#touch();
    readSoon(this.#socket);
    readSoon(this.#upstream!.socket);
    this.#log?.sentOn(length);
    this.frontend.count('bytes_sent', length);
    this.#attempts.count(COUNTER.bytes_received, length);
    if (!send(this.#socket, buffer, 0, length)) this.#upstream!.socket.pause();
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
    if (!this.#upstream!.connected) {
      this.#unreachable(why);
      return;
    }
    this.#leave();
    if (this.#clientClosed) this.#finish();
    else if (this.#backendEnded) {
      this.#linger();
      this.#socket.resume();
    } else {
      if (why !== '') this.#attempts.count(COUNTER.errors, 1);
      this.#log?.fault('backend_closed');
      resetNow(this.#socket);
    }
  }

  /** There was no connection: another backend gets the client, who has sent nothing yet that is not kept. */
  #unreachable(why: string): void {
    this.#upstream = undefined;
    this.#attempts.count(COUNTER.connect_failures, 1);
    this.#attempts.unreachable(why);
    const goesOn = !this.#socket.destroyed && this.#attempts.another('connect', 0, false, true);
    if (goesOn) this.#dial();
    else {
      this.#attempts.leave();
      if (!this.#socket.destroyed) this.#refuse(unreachable(why));
    }
  }

  onDeadline(): void {
    const receiver = this.#clientClosed ? this.#upstream?.socket : this.#socket;
    const heard = this.#clientClosed || this.#backendEnded;
    // All that is due to it is with the kernel, which delivers it after a plain close, but not after a reset.
    if (heard && receiver?.writableFinished) receiver.destroy();
    else {
      this.#log?.fault('idle_timeout');
      this.cut();
    }
  }

  #touch(): void {
    this.deadline = this.frontend.context.deadlines.in(this.frontend.config.timeouts.idleMs);
  }

  #linger(): void {
    const { context, config } = this.frontend;
    this.deadline = context.deadlines.in(Math.min(LINGER_MS, config.timeouts.idleMs));
  }

  #leave(): Upstream | undefined {
    const upstream = this.#upstream;
    if (upstream === undefined) return undefined;
    this.#upstream = undefined;
    this.#attempts.leave();
    return upstream;
  }

  /** Off the list, once neither side is left. */
  #finish(): void {
    if (!this.#clientClosed || this.#upstream !== undefined) return;
    this.frontend.context.deadlines.remove(this);
    this.#log?.end();
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

import type dgram from 'node:dgram';
import { descriptorOfDatagrams } from '../../common/datagram-descriptor.ts';
import { hashText } from '../../common/hash.ts';
import { Attempts } from '../dispatch/attempts.ts';
import type { Backend } from '../dispatch/backend.ts';
import type { Frontend } from '../entry/frontend.ts';
import type { Timed } from '../io/deadlines.ts';
import { connectDatagrams, type DatagramSink, sendDatagram } from '../io/udp-socket.ts';
import {
  NO_BACKEND,
  QUEUE_FULL,
  type Refusal,
  TOO_MANY_CONNECTIONS,
  TOO_MANY_REQUESTS,
} from '../log/refusal.ts';
import { COUNTER, GATE_CLOSED } from '../shared/shared.ts';
import type { ClientFlow, UdpSocket } from './udp-listener.ts';

/**
 * A client whose address nothing proves yet (it has not gone on after an answer) is forgotten sooner, as in Linux
 * (nf_conntrack_udp_timeout): most of them asked once, or are forged.
 */
const FRESH_IDLE_MS = 30_000;
/** At a stop, a question that is older has no answer. */
const ANSWER_MS = 1_000;

/** Who keeps count of the flows of a frontend. */
export interface FlowBooks {
  /** It went on after an answer. */
  assure(flow: UdpFlow): void;
  gone(flow: UdpFlow, socket: UdpSocket): void;
  /**
   * A flow has got its socket.
   *
   * @returns true: its descriptor is one of those that are not for clients, and no other flow makes room
   */
  crowded(descriptor: number, flow: UdpFlow): boolean;
  /** A flow got no socket. */
  outOfFiles(flow: UdpFlow): void;
}

/**
 * The datagrams of one client (address and port) at one address of this node: they go to one backend from a socket of
 * their own, and what comes back to that socket goes to the client, from the address that it asked. A backend that is
 * taken out, or that answers that nobody listens, is left for another one at the client's next datagram.
 */
export class UdpFlow implements ClientFlow, Timed, DatagramSink {
  deadline = 0;
  listed = -1;
  /** It went on after an answer, so that its address is no forged one. */
  assured = false;
  readonly key: string;
  readonly #books: FlowBooks;
  readonly #frontend: Frontend;
  readonly #address: string;
  readonly #port: number;
  readonly #attempts: Attempts;
  #client: UdpSocket;
  #backend: Backend | undefined;
  /** IP address of the backend to which `#upstream` is connected. */
  #at = '';
  #upstream: dgram.Socket | undefined;
  #answered = false;
  #askedMs = 0;
  #closed = false;

  /** @param key `ADDRESS PORT` of the client */
  constructor(books: FlowBooks, frontend: Frontend, client: UdpSocket, key: string, from: dgram.RemoteInfo) {
    this.#books = books;
    this.#frontend = frontend;
    this.#client = client;
    this.key = key;
    this.#address = from.address;
    this.#port = from.port;
    const { shared } = frontend.context;
    this.#attempts = new Attempts(shared, { address: from.address, addressHash: hashText(from.address) });
    client.flows.set(key, this);
    frontend.context.deadlines.add(this);
  }

  /** Address of the client. */
  get address(): string {
    return this.#address;
  }

  get frontend(): Frontend {
    return this.#frontend;
  }

  /** undefined: none. */
  get backend(): Backend | undefined {
    return this.#backend;
  }

  get idle(): boolean {
    return false;
  }

  /** undefined: a flow does not hold up a switchover, the other node takes it over with its next datagram. */
  get localAddress(): undefined {
    return undefined;
  }

  /** The client's next datagram begins anew. */
  cut(): void {
    this.close();
  }

  /** Ends the flow unless an answer may be on its way. */
  closeIfIdle(): void {
    if (this.#answered || performance.now() - this.#askedMs > ANSWER_MS) this.close();
  }

  onClientDatagram(bytes: Buffer): void {
    const frontend = this.#frontend;
    if (this.#answered) {
      this.#answered = false;
      if (!this.assured) {
        this.assured = true;
        this.#books.assure(this);
      }
    }
    this.#touch();
    this.#askedMs = performance.now();
    frontend.count('datagrams_received', 1);
    frontend.count('bytes_received', bytes.length);
    if (!this.#usable() && !this.#connect()) {
      frontend.count('datagrams_dropped', 1);
      this.close();
      return;
    }
    this.#send(bytes);
  }

  /** From the backend. */
  onDatagram(bytes: Buffer): void {
    const { context } = this.#frontend;
    const slot = this.#backend!.slot;
    if (!this.#answered) {
      context.shared.observeLatency(slot, performance.now() - this.#askedMs);
      this.#attempts.worked();
    }
    this.#answered = true;
    this.#attempts.forgive();
    this.#touch();
    this.#attempts.count(COUNTER.bytes_received, bytes.length);
    const { socket } = this.#client;
    if (socket === undefined || !sendDatagram(socket, bytes, this.#port, this.#address)) {
      this.#frontend.count('datagrams_dropped', 1);
      return;
    }
    this.#frontend.count('datagrams_sent', 1);
    this.#frontend.count('bytes_sent', bytes.length);
  }

  /** Most of all an ICMP answer that nobody listens there; or this node has no descriptor left. */
  onSocketError(error: NodeJS.ErrnoException): void {
    const backend = this.#backend;
    if (backend === undefined) return;
    const attempts = this.#attempts;
    if (error.code === 'EMFILE' || error.code === 'ENFILE') this.#books.outOfFiles(this);
    else if (this.#answered) {
      attempts.count(COUNTER.errors, 1);
      attempts.failed();
    } else {
      attempts.count(COUNTER.connect_failures, 1);
      attempts.unreachable(error.code ?? '');
    }
    backend.failedAt(this.#at);
    attempts.avoid('connect');
    this.#leave();
  }

  onDeadline(): void {
    this.close();
  }

  /** The client's address has got a socket of its own. */
  moveTo(socket: UdpSocket): void {
    this.#client.flows.delete(this.key);
    this.#client = socket;
    socket.flows.set(this.key, this);
  }

  /** Forgets the client. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#leave();
    this.#frontend.context.deadlines.remove(this);
    const client = this.#client;
    client.flows.delete(this.key);
    this.#books.gone(this, client);
  }

  /** Whether its backend may still have it. A new config is looked at once. */
  #usable(): boolean {
    const backend = this.#backend;
    if (backend === undefined) return false;
    const { pool, context } = this.#frontend;
    const attempts = this.#attempts;
    const isThere = pool === attempts.pool || (pool !== undefined && attempts.follow(pool));
    const isOpen = isThere && context.shared.gate(backend.slot) !== GATE_CLOSED;
    if (isOpen && backend.has(this.#at)) return true;
    this.#leave();
    return false;
  }

  /** @returns false: no backend takes it */
  #connect(): boolean {
    const { pool } = this.#frontend;
    const attempts = this.#attempts;
    if (pool === undefined) return false;
    if (pool.breaker.refusesRequest()) {
      this.#refuse(TOO_MANY_REQUESTS);
      return false;
    }
    if (pool.breaker.refusesConnection()) {
      this.#refuse(TOO_MANY_CONNECTIONS);
      return false;
    }
    // What has failed is avoided until something has answered; a datagram that is lost is its client's to send again.
    const chosen = pool === attempts.pool ? attempts.chooseAgain() !== undefined : attempts.begin(pool);
    // A datagram does not wait.
    if (!chosen || !attempts.enter()) {
      this.#refuse(!chosen && !pool.saturated ? NO_BACKEND : QUEUE_FULL);
      return false;
    }
    const { backend } = attempts;
    this.#backend = backend;
    attempts.count(COUNTER.connects, 1);
    // By an IP address it can send at once.
    backend.connecting();
    backend.connected();
    this.#at = backend.nextAddress();
    const upstream = connectDatagrams(this.#at, backend.port, this);
    // It may have failed already, for want of a descriptor or of a route.
    if (this.#backend !== backend) {
      upstream.close();
      return false;
    }
    this.#upstream = upstream;
    if (!this.#books.crowded(descriptorOfDatagrams(upstream), this)) return true;
    this.#leave();
    return false;
  }

  #refuse({ counter, cause }: Refusal): void {
    this.#frontend.count(counter!, 1);
    this.#frontend.logFlood(this.#address, cause);
  }

  #send(bytes: Buffer): void {
    if (this.#upstream === undefined || !sendDatagram(this.#upstream, bytes))
      this.#frontend.count('datagrams_dropped', 1);
    else this.#attempts.count(COUNTER.bytes_sent, bytes.length);
  }

  #leave(): void {
    const backend = this.#backend;
    if (backend === undefined) return;
    this.#backend = undefined;
    backend.disconnected(true);
    this.#attempts.leave();
    const upstream = this.#upstream;
    this.#upstream = undefined;
    upstream?.close();
  }

  #touch(): void {
    const { idleMs } = this.#frontend.config.timeouts;
    this.deadline = this.#frontend.context.deadlines.in(
      this.assured ? idleMs : Math.min(idleMs, FRESH_IDLE_MS),
    );
  }
}

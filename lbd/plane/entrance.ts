import type net from 'node:net';
import { protocolsOf } from '../../common/protocols.ts';
import { type Endpoints, INVALID, MORE, ProxyHeader } from '../../common/proxy-protocol.ts';
import { type Admission, drop } from '../entry/admission.ts';
import type { Frontend } from '../entry/frontend.ts';
import { HelloPeek } from '../entry/hello-peek.ts';
import { Preface } from '../entry/preface.ts';
import { HttpConnection } from '../http/h1/connection.ts';
import { TurnedAway } from '../http/h1/turned-away.ts';
import { Http2Connection } from '../http/h2/connection.ts';
import { PREFACE } from '../http/h2/frames.ts';
import { NO_BYTES } from '../http/no-bytes.ts';
import type { HttpService } from '../http/service.ts';
import type { ByteSink } from '../io/byte-sink.ts';
import { clientAddress } from '../io/raw-socket.ts';
import { PLAIN_HTTP, type Refusal } from '../log/refusal.ts';
import { TcpConnection } from '../tcp/tcp-connection.ts';
import { isSecure } from '../tls/client-identity.ts';

/** No method of HTTP begins with so many bytes of the preface of HTTP/2. */
const PREFACE_PEEK = 4;

/**
 * The way of a new connection through the door: is there a descriptor for it, whose is it (PROXY protocol), may this
 * client have one more, and then it is a connection of the frontend's mode.
 */
export class Entrance {
  readonly #admission: Admission;
  readonly #serviceOf: (frontend: Frontend) => HttpService | undefined;

  /** @param serviceOf what a frontend does that is or was of `mode: http` */
  constructor(admission: Admission, serviceOf: (frontend: Frontend) => HttpService | undefined) {
    this.#admission = admission;
    this.#serviceOf = serviceOf;
  }

  /** A connection was accepted; nothing of it has been read, and its socket is paused. */
  arrived(socket: net.Socket, frontend: Frontend): ByteSink {
    const crowded = this.#admission.crowd(socket, frontend);
    if (crowded !== undefined) return crowded;
    if (frontend.fromProxy(clientAddress(socket))) return new ProxyIntro(socket, frontend, this);
    return this.enter(socket, frontend, undefined);
  }

  /** A connection came with a PROXY header that cannot be used. */
  refuse(socket: net.Socket, frontend: Frontend, fault: string): void {
    this.#admission.refuseProxy(socket, frontend, fault);
  }

  /**
   * It is known who the client is.
   *
   * @param endpoints from a PROXY header; undefined: the ends of the socket are those of the client
   */
  enter(socket: net.Socket, frontend: Frontend, endpoints: Endpoints | undefined): ByteSink {
    const refused = this.#admission.refuse(socket, frontend, endpoints?.address ?? clientAddress(socket));
    if (refused !== undefined) return turnAway(socket, frontend, refused);
    const { tls } = frontend.config;
    if (tls === undefined) return this.serve(socket, frontend, endpoints);
    if (tls.mode === 'passthrough') return this.#peek(socket, frontend, endpoints);
    if (frontend.terminator !== undefined) return frontend.terminator.take(socket, endpoints);
    // Its certificates could not be used: never in the clear what was to be secret.
    frontend.leave();
    frontend.logFlood(endpoints?.address ?? clientAddress(socket), 'tls_failed');
    return this.#admission.refuseTls(socket, frontend, 'it has no usable certificate');
  }

  /** HTTP in the clear, where TLS was to begin. @returns whether the client is told so */
  tellPlain(socket: net.Socket, frontend: Frontend): boolean {
    if (frontend.config.mode !== 'http') return false;
    new TurnedAway(socket, frontend.context.deadlines, PLAIN_HTTP);
    return true;
  }

  #peek(socket: net.Socket, frontend: Frontend, endpoints: Endpoints | undefined): ByteSink {
    return new HelloPeek(socket, frontend, endpoints?.address ?? clientAddress(socket), {
      connect: (pool) => new TcpConnection(socket, frontend, endpoints, pool),
      refused: (cause) => this.#admission.tellTls(frontend, cause),
    });
  }

  /** Whatever stood before it is done: it is a connection of its frontend, and has been counted in. */
  serve(socket: net.Socket, frontend: Frontend, endpoints: Endpoints | undefined): ByteSink {
    const { mode } = frontend.config;
    if (mode === 'tcp') return new TcpConnection(socket, frontend, endpoints);
    const service = this.#serviceOf(frontend);
    if (mode !== 'http' || service === undefined) {
      // While it was in the door, a reload has made the frontend one of datagrams.
      frontend.leave();
      return drop(socket);
    }
    const protocols = protocolsOf(frontend.config);
    if (isSecure(socket)) {
      const isHttp2 = socket.alpnProtocol === 'h2' || !protocols.includes('http/1.1');
      return begin(socket, service, endpoints, isHttp2);
    }
    if (protocols.length > 1) return new ProtocolPeek(socket, service, endpoints);
    return begin(socket, service, endpoints, protocols[0] === 'h2');
  }
}

/** A connection of mode http whose protocol is known. */
function begin(
  socket: net.Socket,
  service: HttpService,
  endpoints: Endpoints | undefined,
  isHttp2: boolean,
): ByteSink {
  const connection = isHttp2
    ? new Http2Connection(socket, service, endpoints)
    : new HttpConnection(socket, service, endpoints);
  socket.resume();
  return connection;
}

/** Where clients in the clear may speak either protocol, their first bytes tell (RFC 9113 §3.3). */
class ProtocolPeek extends Preface {
  readonly #service: HttpService;
  readonly #endpoints: Endpoints | undefined;
  #bytes = NO_BYTES;

  constructor(socket: net.Socket, service: HttpService, endpoints: Endpoints | undefined) {
    super(socket, service.frontend);
    this.#service = service;
    this.#endpoints = endpoints;
  }

  protected read(buffer: Buffer, length: number): void {
    const first = buffer.subarray(0, Math.min(length, PREFACE_PEEK));
    this.#bytes = Buffer.concat([this.#bytes, first]);
    const isLike = PREFACE.subarray(0, Math.min(this.#bytes.length, PREFACE_PEEK));
    const isHttp2 = this.#bytes.subarray(0, isLike.length).equals(isLike);
    if (isHttp2 && this.#bytes.length < PREFACE_PEEK) return;
    this.#begin(isHttp2, this.#bytes.length - first.length);
    this.sink!.onBytes(buffer, length);
  }

  /** @param before bytes that came before those of the read under way */
  #begin(isHttp2: boolean, before: number): void {
    this.release();
    this.sink = begin(this.socket, this.#service, this.#endpoints, isHttp2);
    if (before > 0) this.sink.onBytes(this.#bytes.subarray(0, before), before);
  }

  /** HTTP/1 says what is missing. */
  onDeadline(): void {
    this.#begin(false, this.#bytes.length);
  }

  onEnd(): void {
    this.#begin(false, this.#bytes.length);
    this.socket.emit('end');
  }

  onClose(): void {
    this.release();
    this.frontend.leave();
  }
}

function turnAway(socket: net.Socket, frontend: Frontend, refusal: Refusal): ByteSink {
  return refusal.status === 0 ? drop(socket) : new TurnedAway(socket, frontend.context.deadlines, refusal);
}

/** Reads the PROXY header of a connection, then hands on every byte behind it to what the connection is. */
class ProxyIntro extends Preface {
  readonly #entrance: Entrance;
  #header: ProxyHeader | undefined = new ProxyHeader();

  constructor(socket: net.Socket, frontend: Frontend, entrance: Entrance) {
    super(socket, frontend);
    this.#entrance = entrance;
  }

  protected read(buffer: Buffer, length: number): void {
    if (this.#header === undefined) return;
    const at = this.#header.feed(buffer, 0, length);
    if (at === MORE) return;
    const { endpoints, fault } = this.#header;
    this.#stop();
    if (at === INVALID) {
      this.#entrance.refuse(this.socket, this.frontend, fault);
      return;
    }
    this.socket.pause();
    this.sink = this.#entrance.enter(this.socket, this.frontend, endpoints);
    if (at < length) this.sink.onBytes(buffer.subarray(at, length), length - at);
  }

  onDeadline(): void {
    this.#fail('it did not come in time');
  }

  onEnd(): void {
    this.#fail('the connection ended before it');
  }

  onClose(): void {
    this.#stop();
  }

  #fail(fault: string): void {
    this.#stop();
    this.#entrance.refuse(this.socket, this.frontend, fault);
  }

  #stop(): void {
    this.#header = undefined;
    this.release();
  }
}

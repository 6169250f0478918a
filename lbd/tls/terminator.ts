import type net from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { messageOf } from '../../common/errors.ts';
import type { Endpoints } from '../../common/proxy-protocol.ts';
import type { TerminationConfig } from '../../common/tls-config.ts';
import type { ByteSink } from '../io/byte-sink.ts';
import { clientAddress } from '../io/raw-socket.ts';
import { adoptSecure, plainOf } from '../io/secure-socket.ts';
import type { Certificate } from './certificate.ts';
import { CertificateBook } from './certificate-book.ts';
import { isSecure } from './client-identity.ts';
import { handshakeCause } from './handshake-cause.ts';
import { type HelloResult, HelloWait } from './hello-wait.ts';
import type { FrontendMaterial } from './material.ts';
import { RecentServers } from './recent-servers.ts';
import { serverSettings } from './settings.ts';
import { TicketSeal } from './ticket-seal.ts';

type Plain = net.Socket & {
  endpoints?: Endpoints;
  client?: string;
  startedMs?: number;
  handshakeMs?: number;
};

/** Each has some 0.3 MB. Another name costs the time to make its server, about as much as the handshake itself. */
const MAX_SERVERS = 250;

/** What becomes of the handshakes of a frontend. */
export interface Handshakes {
  /** @param resumed a session that it had before, from whatever worker or node */
  done(resumed: boolean): void;
  /**
   * @param cause in words
   * @param client its address
   * @param tookMs until then
   */
  failed(cause: string, client: string, tookMs: number): void;
  /**
   * Before `failed`: the client speaks HTTP in the clear.
   *
   * @param socket the client's own; nothing has been written to it
   * @returns whether the connection is taken care of
   */
  plainHttp?(socket: net.Socket): boolean;
  /**
   * Makes what handles the connection; the socket is paused until it calls `resume()`.
   *
   * @param endpoints as given to `take`
   */
  serve(socket: net.Socket, endpoints: Endpoints | undefined): ByteSink;
}

/** Takes the TLS off the connections of one frontend, in one worker. */
export class Terminator {
  /** Of all that it was made of but the certificates and the keys of tickets, which `renew` takes. */
  readonly version: string;
  readonly #config: TerminationConfig;
  readonly #handshakeMs: number;
  readonly #handshakes: Handshakes;
  readonly #tickets: TicketSeal;
  readonly #servers = new RecentServers(MAX_SERVERS, (server) => this.#tickets.forget(server));
  readonly #hellos: HelloResult = {
    named: (socket, serverName) => this.#begin(socket, serverName),
    failed: (socket, error) => this.#failed(socket, handshakeCause(error, undefined)),
  };
  #material: FrontendMaterial;
  #book: CertificateBook;

  /**
   * @param handshakeMs a client may take so long for its handshake
   * @throws Error where OpenSSL does not take the material
   */
  constructor(
    version: string,
    config: TerminationConfig,
    material: FrontendMaterial,
    handshakeMs: number,
    handshakes: Handshakes,
  ) {
    this.version = version;
    this.#config = config;
    this.#handshakeMs = handshakeMs;
    this.#handshakes = handshakes;
    this.#tickets = new TicketSeal(material.ticketKeys);
    this.#material = material;
    this.#book = new CertificateBook(material.certificates);
    this.#serverOf('', this.#book);
  }

  /**
   * New certificates, or keys of session tickets. Connections that are there go on with what they have.
   *
   * @throws Error where OpenSSL does not take what is for everybody else; nothing has changed then
   */
  renew(material: FrontendMaterial): void {
    if (material.version !== this.#material.version) {
      const book = new CertificateBook(material.certificates);
      this.#serverOf('', book);
      this.#book = book;
      this.#servers.keepOnly((serverName) => book.group(serverName).key);
    }
    this.#material = material;
    this.#tickets.set(material.ticketKeys);
  }

  /**
   * Begins the handshake of a connection that has been counted in; then exactly one of `Handshakes.done` and `failed`
   * follows.
   *
   * @param socket paused, reading into the shared buffer
   * @param endpoints from a PROXY header
   * @returns takes the bytes that came before with the PROXY header
   */
  take(socket: net.Socket, endpoints: Endpoints | undefined): ByteSink {
    if (endpoints !== undefined) (socket as Plain).endpoints = endpoints;
    // A connection that has ended does not tell any more.
    (socket as Plain).client = endpoints?.address ?? clientAddress(socket);
    (socket as Plain).startedMs = performance.now();
    // A client that ends its side within the handshake has gone; half-open is for what comes after.
    socket.allowHalfOpen = false;
    // Only where there is anything to pick.
    if (!this.#book.isSingle) return new HelloWait(socket, this.#handshakeMs, this.#hellos);
    this.#begin(socket, '');
    // Whatever the socket holds when the TLS takes over, in the next tick, belongs to it.
    return { onBytes: (buffer, length) => socket.unshift(Buffer.copyBytesFrom(buffer, 0, length)) };
  }

  #begin(socket: net.Socket, serverName: string): void {
    let server: Server;
    try {
      server = this.#serverOf(serverName, this.#book);
    } catch (error) {
      this.#failed(socket, `its certificate cannot be used: ${messageOf(error)}`);
      socket.on('error', ignore);
      socket.destroy();
      return;
    }
    // Documented: a connection may be given to a TLS server that does not listen.
    server.emit('connection', socket);
  }

  /** @throws Error where OpenSSL does not take the certificates */
  #serverOf(serverName: string, book: CertificateBook): Server {
    const group = book.group(serverName);
    return this.#servers.get(group.key, serverName, () => this.#serve(book.certificatesOf(group)));
  }

  #serve(certificates: readonly Certificate[]): Server {
    const { client, alpn, minVersion } = this.#config;
    const server = createServer({
      ...serverSettings(minVersion),
      cert: certificates.map(({ cert }) => cert),
      key: certificates.map(({ key }) => key),
      ca: this.#material.clientCa,
      sessionIdContext: this.#material.sessionContext,
      requestCert: client !== undefined,
      // Where it is optional, a client without one may enter, and one with a bad one is turned away below.
      rejectUnauthorized: client?.mode === 'required',
      handshakeTimeout: this.#handshakeMs,
      ...(alpn.length > 0 && { ALPNProtocols: [...alpn] }),
    });
    this.#tickets.adopt(server);
    server.on('secureConnection', (socket) => this.#secured(socket, client !== undefined));
    server.on('tlsClientError', (error, socket) => {
      const plain = plainOf(socket);
      const told =
        (error as NodeJS.ErrnoException).code === 'ERR_SSL_HTTP_REQUEST' &&
        this.#handshakes.plainHttp?.(plain);
      this.#failed(plain, handshakeCause(error, socket.authorizationError));
      if (told !== true) socket.destroy();
    });
    return server;
  }

  /** @param plain the connection that the TLS was put on, or would have been */
  #failed(plain: net.Socket, cause: string): void {
    const { client, startedMs } = plain as Plain;
    this.#handshakes.failed(cause, client!, performance.now() - startedMs!);
  }

  #secured(socket: TLSSocket, asksForCertificate: boolean): void {
    if (asksForCertificate && !socket.authorized && socket.getPeerX509Certificate() !== undefined) {
      this.#failed(plainOf(socket), handshakeCause(undefined, socket.authorizationError));
      socket.on('error', ignore);
      socket.destroy();
      return;
    }
    this.#handshakes.done(socket.isSessionReused());
    socket.allowHalfOpen = true;
    const plain = plainOf(socket) as Plain;
    plain.handshakeMs = performance.now() - plain.startedMs!;
    const { endpoints } = plain;
    adoptSecure(socket, (adopted) => this.#handshakes.serve(adopted, endpoints));
  }
}

/** How long the handshake of a client took; 0: there was none. */
export function handshakeMs(socket: net.Socket): number {
  return isSecure(socket) ? ((plainOf(socket) as Plain).handshakeMs ?? 0) : 0;
}

/** Without a listener an error would end the thread; 'close' follows it. */
function ignore(): void {}

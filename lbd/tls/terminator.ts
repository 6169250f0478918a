import type net from 'node:net';
import {
  createSecureContext,
  createServer,
  type SecureContext,
  type SecureContextOptions,
  type Server,
  type TLSSocket,
} from 'node:tls';
import type { Endpoints } from '../../common/proxy-protocol.ts';
import type { TerminationConfig } from '../../common/tls-config.ts';
import type { ByteSink } from '../io/byte-sink.ts';
import { clientAddress } from '../io/raw-socket.ts';
import { adoptSecure, plainOf } from '../io/secure-socket.ts';
import type { Certificate } from './certificate.ts';
import { CertificateChoice, sameNames } from './certificate-choice.ts';
import { isSecure } from './client-identity.ts';
import { handshakeCause } from './handshake-cause.ts';
import type { FrontendMaterial } from './material.ts';
import { serverSettings } from './settings.ts';
import { TicketSeal } from './ticket-seal.ts';

type Plain = net.Socket & {
  endpoints?: Endpoints;
  client?: string;
  startedMs?: number;
  handshakeMs?: number;
};

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
  /** Of all that it was made of. */
  readonly version: string;
  readonly #server: Server;
  readonly #handshakes: Handshakes;
  readonly #tickets: TicketSeal;

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
    this.#handshakes = handshakes;
    const groups = sameNames(material.certificates);
    const choice = new CertificateChoice(
      groups.map((group) => ({ names: group[0]!.names, item: group })),
      config.defaultName,
    );
    const contexts = new Map(
      groups
        .filter((group) => group !== choice.default)
        .map((group) => [group, createSecureContext(contextOf(group, config, material))]),
    );
    const { client, alpn } = config;
    this.#server = createServer({
      ...contextOf(choice.default, config, material),
      requestCert: client !== undefined,
      // Where it is optional, a client without one may enter, and one with a bad one is turned away below.
      rejectUnauthorized: client?.mode === 'required',
      handshakeTimeout: handshakeMs,
      ...(alpn.length > 0 && { ALPNProtocols: [...alpn] }),
      // Asked at each handshake, with a turn through JavaScript: only where there is anything to pick.
      ...(contexts.size > 0 && {
        SNICallback: (name: string, done: (error: Error | null, context?: SecureContext) => void) =>
          done(null, contexts.get(choice.pick(name))),
      }),
    });
    this.#tickets = new TicketSeal(this.#server, [...contexts.values()], material.ticketKeys);
    this.#server.on('secureConnection', (socket) => this.#secured(socket, client !== undefined));
    this.#server.on('tlsClientError', (error, socket) => {
      const plain = plainOf(socket);
      const told =
        (error as NodeJS.ErrnoException).code === 'ERR_SSL_HTTP_REQUEST' &&
        this.#handshakes.plainHttp?.(plain);
      this.#failed(socket, handshakeCause(error, socket.authorizationError));
      if (told !== true) socket.destroy();
    });
  }

  /** The keys of session tickets changed, and nothing else. */
  setTicketKeys(keys: readonly Uint8Array[]): void {
    this.#tickets.set(keys);
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
    // Documented: a connection may be given to a TLS server that does not listen.
    this.#server.emit('connection', socket);
    // Whatever the socket holds when the TLS takes over, in the next tick, belongs to it.
    return { onBytes: (buffer, length) => socket.unshift(Buffer.copyBytesFrom(buffer, 0, length)) };
  }

  #failed(socket: TLSSocket, cause: string): void {
    const { client, startedMs } = plainOf(socket) as Plain;
    this.#handshakes.failed(cause, client!, performance.now() - startedMs!);
  }

  #secured(socket: TLSSocket, asksForCertificate: boolean): void {
    if (asksForCertificate && !socket.authorized && socket.getPeerX509Certificate() !== undefined) {
      this.#failed(socket, handshakeCause(undefined, socket.authorizationError));
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

/** One context for all certificates with the same names. */
function contextOf(
  group: readonly Certificate[],
  { minVersion }: TerminationConfig,
  { clientCa, sessionContext }: FrontendMaterial,
): SecureContextOptions {
  return {
    ...serverSettings(minVersion),
    cert: group.map(({ cert }) => cert),
    key: group.map(({ key }) => key),
    ca: clientCa,
    sessionIdContext: sessionContext,
  };
}

/** Without a listener an error would end the thread; 'close' follows it. */
function ignore(): void {}

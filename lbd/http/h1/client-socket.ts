import type net from 'node:net';
import { hashText } from '../../../common/hash.ts';
import type { FrontendConfig } from '../../../common/model.ts';
import type { Endpoints } from '../../../common/proxy-protocol.ts';
import type { Frontend } from '../../entry/frontend.ts';
import { writeSoon } from '../../io/direct-io.ts';
import { clientAddress, endpointsOf, resetNow, send } from '../../io/raw-socket.ts';
import type { AccessRecord } from '../../log/access-record.ts';
import type { RequestFacts } from '../../route/facts.ts';
import { OVER_LIMIT, UNCOUNTED } from '../../shared/source-limits.ts';
import { identityLine, isSecure } from '../../tls/client-identity.ts';
import { askedBy, type Believed, type Client } from '../client-behind.ts';
import { ADD_ALL, type Added, addedBy, forwardedLines } from '../forwarded-fields.ts';
import { type Message, scratch } from './message.ts';
import type { Sender } from './request-head.ts';
import type { Outlet } from './response-body.ts';

const NOTHING = Buffer.alloc(0);

/** A client of an HTTP frontend and its socket: who it is, what is read from it, and what is written and counted. */
export abstract class ClientSocket implements Outlet, Sender {
  readonly frontend: Frontend;
  /** Of the client; behind a trusted proxy of that of the request under way. */
  address: string;
  addressHash: number;
  /** What the client speaks. */
  scheme: 'http' | 'https';
  /** Line that tells backends whose certificate the client has shown; empty: none. */
  readonly identity: string;
  forwarded: Buffer = NOTHING;
  believed: Believed = 'nothing';
  added: Added = ADD_ALL;
  /** The client ended its side; it may still read. */
  ended = false;
  /** The client is not read from. */
  paused = false;
  /** What the access log will say about the request under way; undefined: nothing. */
  log: AccessRecord | undefined;
  protected readonly socket: net.Socket;
  readonly #endpoints: Endpoints | undefined;
  /** Who has the connection. */
  readonly #peer: Client;
  /** By which the last request was identified. */
  #identifiedBy: FrontendConfig | undefined;
  /** Where the request under way is counted on its client; see `SourceLimits`. */
  #sourceCell = UNCOUNTED;

  /** @param endpoints from a PROXY header; undefined: the ends of the socket are those of the client */
  constructor(socket: net.Socket, frontend: Frontend, endpoints?: Endpoints) {
    this.socket = socket;
    this.frontend = frontend;
    this.#endpoints = endpoints;
    this.address = endpoints?.address ?? clientAddress(socket);
    this.addressHash = hashText(this.address);
    this.scheme = isSecure(socket) ? 'https' : 'http';
    this.#peer = { address: this.address, scheme: this.scheme };
    this.identity = isSecure(socket) ? identityLine(socket, frontend.config.tls) : '';
  }

  get loopLine(): string {
    return this.frontend.loopLine;
  }

  /** Finds out whose request this is, and what its backend is told of that. */
  protected identify(request: RequestFacts): void {
    const { config } = this.frontend;
    if (config === this.#identifiedBy && this.believed === 'nothing') return;
    this.#identifiedBy = config;
    const { client, believed } = askedBy(request, this.#peer, this.frontend);
    this.believed = believed;
    this.added = addedBy(config);
    const sent =
      believed === 'nothing'
        ? undefined
        : { for: request.header('x-forwarded-for'), proto: request.header('x-forwarded-proto') };
    this.forwarded = forwardedLines(this.added, believed, client, this.#peer.address, sent);
    this.#serves(client);
  }

  /** The next request may be anybody's. */
  protected forgetClient(): void {
    if (this.believed !== 'nothing') this.#serves(this.#peer);
  }

  #serves({ address, scheme }: Client): void {
    this.scheme = scheme;
    if (this.log !== undefined) this.log.client = address;
    if (address === this.address) return;
    this.address = address;
    this.addressHash = hashText(address);
  }

  enterSource(): boolean {
    if (this.believed === 'nothing') return true;
    const { config, context, row } = this.frontend;
    const { perSource } = config.limits;
    if (perSource === undefined) return true;
    this.#sourceCell = context.shared.sources.enter(row, this.address, perSource);
    if (this.#sourceCell !== OVER_LIMIT) return true;
    context.refuseSource?.(this.frontend, this.address);
    return false;
  }

  /** The request under way is over. */
  protected leaveSource(): void {
    if (this.#sourceCell < 0) return;
    this.frontend.context.shared.sources.leave(this.#sourceCell);
    this.#sourceCell = UNCOUNTED;
  }

  /** What was written waits for a client that reads slowly. */
  protected abstract awaitDrain(): void;

  /** Address at which the client reached this node; undefined once the connection is gone. */
  get localAddress(): string | undefined {
    return this.socket.localAddress;
  }

  /** Both ends of the client's connection. */
  get endpoints(): Endpoints {
    return this.#endpoints ?? endpointsOf(this.socket);
  }

  pause(): void {
    if (this.paused) return;
    this.paused = true;
    this.socket.pause();
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.socket.resume();
  }

  write(bytes: Buffer): void {
    if (this.log !== undefined) this.log.bytesOut += bytes.length;
    this.frontend.count('bytes_sent', bytes.length);
    if (!this.socket.write(bytes)) this.awaitDrain();
  }

  send(buffer: Buffer, start: number, length: number): void {
    if (this.log !== undefined) this.log.bytesOut += length;
    this.frontend.count('bytes_sent', length);
    if (!send(this.socket, buffer, start, length)) this.awaitDrain();
  }

  sendMessage({ bytes, length }: Message): void {
    if (this.log !== undefined) this.log.bytesOut += length;
    this.frontend.count('bytes_sent', length);
    if (!writeSoon(this.socket, bytes, 0, length)) this.awaitDrain();
  }

  writeText(latin1: string): void {
    scratch.clear().text(latin1);
    this.sendMessage(scratch);
  }

  /** Ends our side, behind all that was written. */
  endOutput(): void {
    this.socket.end();
  }

  /** Ends the connection now, whatever it is doing; the client gets a reset. */
  cut(): void {
    this.log?.fault('cut');
    this.log?.end();
    resetNow(this.socket);
  }

  /** Ends the connection of a client that has gone within its request, or might as well have. */
  leave(): void {
    this.socket.destroy();
  }
}

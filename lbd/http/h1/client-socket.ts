import type net from 'node:net';
import { hashText } from '../../../common/hash.ts';
import type { Endpoints } from '../../../common/proxy-protocol.ts';
import type { Frontend } from '../../entry/frontend.ts';
import { writeSoon } from '../../io/direct-io.ts';
import { clientAddress, endpointsOf, resetNow, send } from '../../io/raw-socket.ts';
import type { AccessRecord } from '../../log/access-record.ts';
import { identityLine, isSecure } from '../../tls/client-identity.ts';
import { type Message, scratch } from './message.ts';
import { forwardedLines, type Sender } from './request-head.ts';
import type { Outlet } from './response-body.ts';

/** A client of an HTTP frontend and its socket: who it is, what is read from it, and what is written and counted. */
export abstract class ClientSocket implements Outlet, Sender {
  readonly frontend: Frontend;
  readonly address: string;
  readonly addressHash: number;
  /** What the client speaks. */
  readonly scheme: 'http' | 'https';
  /** Line that tells backends whose certificate the client has shown; empty: none. */
  readonly identity: string;
  readonly forwarded: Buffer;
  /** The client ended its side; it may still read. */
  ended = false;
  /** The client is not read from. */
  paused = false;
  /** What the access log will say about the request under way; undefined: nothing. */
  log: AccessRecord | undefined;
  protected readonly socket: net.Socket;
  readonly #endpoints: Endpoints | undefined;

  /** @param endpoints from a PROXY header; undefined: the ends of the socket are those of the client */
  constructor(socket: net.Socket, frontend: Frontend, endpoints?: Endpoints) {
    this.socket = socket;
    this.frontend = frontend;
    this.#endpoints = endpoints;
    this.address = endpoints?.address ?? clientAddress(socket);
    this.addressHash = hashText(this.address);
    this.scheme = isSecure(socket) ? 'https' : 'http';
    this.forwarded = forwardedLines(this.address, this.scheme);
    this.identity = isSecure(socket) ? identityLine(socket, frontend.config.tls) : '';
  }

  get loopLine(): string {
    return this.frontend.loopLine;
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

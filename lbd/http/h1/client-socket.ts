import type net from 'node:net';
import type { Endpoints } from '../../../common/proxy-protocol.ts';
import type { Frontend } from '../../entry/frontend.ts';
import { writeSoon } from '../../io/direct-io.ts';
import { endpointsOf, resetNow, send } from '../../io/raw-socket.ts';
import type { AccessRecord } from '../../log/access-record.ts';
import type { Cause } from '../../log/cause.ts';
import { Asker } from '../asker.ts';
import { type Message, scratch } from '../message.ts';
import { peerOf } from '../peer.ts';
import type { HttpService } from '../service.ts';

/** A client of an HTTP frontend and its socket: who it is, what is read from it, and what is written and counted. */
export abstract class ClientSocket {
  readonly service: HttpService;
  readonly frontend: Frontend;
  readonly asker: Asker;
  /** The client ended its side; it may still read. */
  ended = false;
  /** The client is not read from. */
  paused = false;
  /** What the access log will say about the request under way; undefined: nothing. */
  log: AccessRecord | undefined;
  protected readonly socket: net.Socket;
  readonly #endpoints: Endpoints | undefined;

  /** @param endpoints from a PROXY header; undefined: the ends of the socket are those of the client */
  constructor(socket: net.Socket, service: HttpService, endpoints?: Endpoints) {
    const { frontend } = service;
    this.socket = socket;
    this.service = service;
    this.frontend = frontend;
    this.#endpoints = endpoints;
    this.asker = new Asker(frontend, peerOf(socket, frontend, endpoints));
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
    this.#count(bytes.length);
    if (!this.socket.write(bytes)) this.awaitDrain();
  }

  send(buffer: Buffer, start: number, length: number): void {
    this.#count(length);
    if (!send(this.socket, buffer, start, length)) this.awaitDrain();
  }

  sendMessage({ bytes, length }: Message): void {
    this.#count(length);
    if (!writeSoon(this.socket, bytes, 0, length)) this.awaitDrain();
  }

  writeText(latin1: string): void {
    scratch.clear().text(latin1);
    this.sendMessage(scratch);
  }

  #count(bytes: number): void {
    if (this.log !== undefined) this.log.bytesOut += bytes;
    this.frontend.count('bytes_sent', bytes);
  }

  /** Ends our side, behind all that was written. */
  endOutput(): void {
    this.socket.end();
  }

  /** Ends the connection now, whatever it is doing; the client gets a reset. */
  reset(cause: Cause): void {
    this.log?.fault(cause);
    this.log?.end();
    resetNow(this.socket);
  }

  /** A `drain_timeout`, or the time to stop, is over. */
  cut(): void {
    this.reset('cut');
  }

  /** Ends the connection of a client that has gone within its request, or might as well have. */
  leave(): void {
    this.socket.destroy();
  }
}

import type net from 'node:net';
import type { Attempts } from '../dispatch/attempts.ts';
import { writeSoon } from '../io/direct-io.ts';
import { COUNTER } from '../shared/shared.ts';
import type { ClientStream } from './client-stream.ts';
import { JOIN_BYTES } from './h1/chunk.ts';
import { Message } from './h1/message.ts';
import { RequestBody } from './h1/request-body.ts';

/** Nearly all heads are shorter. */
const HEAD_BYTES = 512;

/** The request's way from its client to a backend, head and body. */
export class RequestRelay {
  /** What begins the request on a backend connection, now or again: its head, with a small body behind it. */
  readonly head = new Message(HEAD_BYTES);
  readonly #client: ClientStream;
  readonly #attempts: Attempts;
  readonly #body = new RequestBody();
  /** The whole body is in `head`. */
  #whole = false;
  /** Body bytes that came before the backend connection was there. */
  #held: Buffer | undefined;

  constructor(client: ClientStream, attempts: Attempts) {
    this.#client = client;
    this.#attempts = attempts;
  }

  /** @param length of `BODY.length` */
  begin(framing: 0 | 1 | 2, length: number): void {
    this.#body.begin(framing, length, this.#client.frontend.reserved);
    this.#whole = false;
  }

  /** No request will come for a while. */
  rest(): void {
    this.head.shrink();
  }

  /** All of it has come. */
  get done(): boolean {
    return this.#body.done;
  }

  /** Whether the backend connection took the last piece without having to wait. */
  get flowing(): boolean {
    return this.#body.flowing;
  }

  /** Body bytes that the last call moved. */
  get moved(): number {
    return this.#body.moved;
  }

  get fault(): string {
    return this.#body.fault;
  }

  /** All of the request that has left is still here. */
  get replayable(): boolean {
    return this.#whole || !this.#body.sent;
  }

  /** While the backend connection is made: nothing of the body is lost, and nothing is sent twice. */
  hold(buffer: Buffer, start: number, end: number): void {
    const bytes = Buffer.copyBytesFrom(buffer, start, end - start);
    this.#held = this.#held === undefined ? bytes : Buffer.concat([this.#held, bytes]);
  }

  /** What was held, given away. */
  takeHeld(): Buffer | undefined {
    const held = this.#held;
    this.#held = undefined;
    return held;
  }

  /** Sends the head, of a request whose body has ended already or not begun to come. */
  sendHead(to: net.Socket): void {
    writeSoon(to, this.head.bytes, 0, this.head.length);
  }

  /** Sends the head and what has come of the body. @returns as `relay` */
  send(to: net.Socket, buffer: Buffer, start: number, end: number): number {
    const body = this.#body;
    if (!body.counted || end - start > JOIN_BYTES) {
      this.sendHead(to);
      return this.relay(to, buffer, start, end);
    }
    const take = body.take(end - start);
    const { head } = this;
    const headBytes = head.length;
    head.copy(buffer, start, start + take);
    body.flowing = writeSoon(to, head.bytes, 0, head.length);
    this.#count();
    if (body.done) this.#whole = true;
    else head.length = headBytes;
    return start + take;
  }

  /** @returns offset of the first byte after the body, or `end` while it goes on; -1: `fault` says why */
  relay(to: net.Socket, buffer: Buffer, start: number, end: number): number {
    const at = this.#body.relay(to, buffer, start, end);
    if (at >= 0) this.#count();
    return at;
  }

  #count(): void {
    const { moved } = this.#body;
    this.#attempts.count(COUNTER.bytes_sent, moved);
    this.#client.log?.received(moved);
  }
}

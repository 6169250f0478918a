import type net from 'node:net';
import { send } from '../../io/raw-socket.ts';
import { asChunk, lastChunk } from './chunk.ts';
import { ChunkDecoder } from './chunked.ts';
import { BODY } from './request-head.ts';

/** How far the body of a request has come from the client and left for its backend. */
export class RequestBody {
  /** All of it has come. */
  done = true;
  /** Some of it has left: nobody else can be asked any more, unless it is kept somewhere. */
  sent = false;
  /** Whether the backend connection took the last piece without having to wait. */
  flowing = true;
  /** Body bytes that the last call moved. */
  moved = 0;
  fault = '';
  #framing: 0 | 1 | 2 = BODY.none;
  #left = 0;
  #chunks: ChunkDecoder | undefined;

  /**
   * @param length of `BODY.length`
   * @param reserved see `ChunkDecoder`
   */
  begin(framing: 0 | 1 | 2, length: number, reserved: ReadonlySet<string> | undefined): void {
    this.#framing = framing;
    this.#left = length;
    this.done = framing === BODY.none;
    this.sent = false;
    this.#chunks = framing === BODY.chunked ? new ChunkDecoder(reserved) : undefined;
  }

  /** The framing is a length, so that bytes can be taken as they come. */
  get counted(): boolean {
    return this.#framing === BODY.length;
  }

  /** Of `available` bytes those that are the body's; they count as sent. For a body that is `counted`. */
  take(available: number): number {
    const take = Math.min(this.#left, available);
    this.#left -= take;
    this.sent = true;
    this.moved = take;
    if (this.#left === 0) this.done = true;
    return take;
  }

  /** @returns offset of the first byte after the body, or `end` while it goes on; -1: `fault` says why */
  relay(to: net.Socket, buffer: Buffer, start: number, end: number): number {
    this.sent = true;
    this.flowing = true;
    if (this.#framing === BODY.length) {
      const take = this.take(end - start);
      this.flowing = send(to, buffer, start, take);
      return start + take;
    }
    const chunks = this.#chunks!;
    const at = chunks.feed(buffer, start, end);
    this.moved = 0;
    if (at < 0) {
      this.fault = chunks.fault;
      return -1;
    }
    if (chunks.dataLength > 0) {
      this.moved = chunks.dataLength;
      this.flowing = to.write(asChunk(buffer, chunks.dataStart, chunks.dataLength));
    }
    if (chunks.done) {
      to.write(lastChunk(chunks.trailers), 'latin1');
      this.#chunks = undefined;
      this.done = true;
    }
    return at;
  }
}

import { asChunk, JOIN_BYTES, LAST_CHUNK, lastChunk } from './chunk.ts';
import { ChunkDecoder } from './chunked.ts';
import { type Message, scratch } from './message.ts';
import { BODY } from './request-head.ts';

/** Takes what a client is to get. */
export interface Outlet {
  write(bytes: Buffer): void;
  /** For bytes that are valid only now. */
  send(buffer: Buffer, start: number, length: number): void;
  sendMessage(message: Message): void;
  writeText(latin1: string): void;
}

/** `relay`: the body goes on. */
export const MORE = -1;
/** `relay`: its framing is broken, `fault` says why; nothing of these bytes has left. */
export const BROKEN = -2;

/** How far the body of a response has come from its backend; frames it anew for the client. */
export class ResponseBody {
  /** Body bytes that the last call moved. */
  moved = 0;
  fault = '';
  #framing: 0 | 1 | 2 | 3 = BODY.none;
  #left = 0;
  #chunks: ChunkDecoder | undefined;
  /** The client gets the body in chunks. */
  #chunkOut = false;

  /**
   * @param framing of the backend
   * @param length of `BODY.length`
   * @param http10 the client knows no chunks
   */
  begin(framing: 0 | 1 | 2 | 3, length: number, http10: boolean): void {
    this.#framing = framing;
    this.#left = length;
    this.#chunks = framing === BODY.chunked ? new ChunkDecoder() : undefined;
    this.#chunkOut = !http10 && (framing === BODY.chunked || framing === BODY.untilClose);
  }

  get chunkOut(): boolean {
    return this.#chunkOut;
  }

  /** Only the end of the backend connection ends it. */
  get untilClose(): boolean {
    return this.#framing === BODY.untilClose;
  }

  /**
   * @param head of the response, where it has not left yet
   * @returns offset of the first byte after the body, or `MORE` or `BROKEN`
   */
  relay(out: Outlet, buffer: Buffer, start: number, end: number, head: Message | undefined): number {
    this.moved = 0;
    switch (this.#framing) {
      case BODY.none:
        if (head !== undefined) out.sendMessage(head);
        return start;
      case BODY.length: {
        const take = Math.min(this.#left, end - start);
        this.#left -= take;
        if (take > 0 || head !== undefined) this.#send(out, head, buffer, start, take, '');
        return this.#left === 0 ? start + take : MORE;
      }
      case BODY.chunked: {
        const chunks = this.#chunks!;
        const at = chunks.feed(buffer, start, end);
        if (at < 0) {
          this.fault = chunks.fault;
          return BROKEN;
        }
        const tail = chunks.done && this.#chunkOut ? lastChunk(chunks.trailers) : '';
        if (chunks.dataLength > 0 || head !== undefined || tail !== '')
          this.#send(out, head, buffer, chunks.dataStart, chunks.dataLength, tail);
        if (!chunks.done) return MORE;
        this.#chunks = undefined;
        return at;
      }
      default:
        this.#send(out, head, buffer, start, end - start, '');
        return MORE;
    }
  }

  /** The backend's part is over. */
  finish(out: Outlet): void {
    if (this.#chunkOut) out.writeText(LAST_CHUNK);
  }

  /** Lets go of what belongs to a response that nobody waits for any more. */
  drop(): void {
    this.#chunks = undefined;
  }

  /** Body bytes, in a chunk where the client gets chunks, together with what is due before and behind them. */
  #send(
    out: Outlet,
    head: Message | undefined,
    buffer: Buffer,
    start: number,
    length: number,
    tail: string,
  ): void {
    this.moved = length;
    if (length <= JOIN_BYTES) {
      const message = head ?? scratch.clear();
      if (length > 0 && this.#chunkOut) {
        message.text(length.toString(16));
        message.line();
        message.copy(buffer, start, start + length);
        message.line();
      } else if (length > 0) message.copy(buffer, start, start + length);
      if (tail !== '') message.text(tail);
      if (message.length > 0) out.sendMessage(message);
      return;
    }
    if (head !== undefined) out.sendMessage(head);
    if (this.#chunkOut) out.write(asChunk(buffer, start, length));
    else out.send(buffer, start, length);
    if (tail !== '') out.writeText(tail);
  }
}

import { Message } from './message.ts';
import { UNKNOWN } from './model.ts';
import { NO_BYTES } from './no-bytes.ts';

/** Nearly all heads are shorter. */
const HEAD_BYTES = 512;

/** A request on its way to a backend: what it takes to send it, now or again, to one or to another. */
export class RequestTransit {
  /**
   * The head, as HTTP/1 writes it, which is a form that every codec can read; where the body is `whole`, that is behind it.
   */
  readonly head = new Message(HEAD_BYTES);
  /** Bytes of the body; 0: it has none; `UNKNOWN`. */
  length = 0;
  /** It is HEAD, whose answer has no body. */
  toHead = false;
  /** All of it has come. */
  done = true;
  /** Some of the body has left: nobody else can be asked any more, unless it is `whole`. */
  sent = false;
  /** The whole body is in `head`. */
  whole = false;
  /** What came of the body before there was a backend to take it. */
  #held: Buffer | undefined;
  #trailers = '';

  begin(length: number, toHead: boolean): void {
    this.length = length;
    this.toHead = toHead;
    this.done = length === 0;
    this.sent = false;
    this.whole = false;
    this.#trailers = '';
  }

  /** No request will come for a while. */
  rest(): void {
    this.head.shrink();
    this.#trailers = '';
  }

  /** The length of the body is known, so that its bytes can be taken as they come. */
  get counted(): boolean {
    return this.length !== UNKNOWN;
  }

  /** All of the request that has left is still here. */
  get replayable(): boolean {
    return this.whole || !this.sent;
  }

  /** Nothing of the body is lost, and nothing is sent twice. */
  hold(buffer: Buffer, start: number, length: number, trailers: string): void {
    this.#trailers = trailers;
    if (length === 0) return;
    const bytes = Buffer.copyBytesFrom(buffer, start, length);
    this.#held = this.#held === undefined ? bytes : Buffer.concat([this.#held, bytes]);
  }

  /** What was held, given away. */
  takeHeld(): Buffer {
    const held = this.#held;
    this.#held = undefined;
    return held ?? NO_BYTES;
  }

  /** As `takeHeld`. */
  takeTrailers(): string {
    const trailers = this.#trailers;
    this.#trailers = '';
    return trailers;
  }
}

import { Message } from './message.ts';
import { UNKNOWN } from './model.ts';
import { NO_BYTES } from './no-bytes.ts';

/** So much of a body is kept, should its backend not look at it. */
const KEPT_BYTES = 8192;
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
  /** What has left of the body. */
  #kept = NO_BYTES;
  /** That is all of it; `isLong`: it cannot be any more. */
  #isKept = false;
  #isLong = false;

  begin(length: number, toHead: boolean): void {
    this.length = length;
    this.toHead = toHead;
    this.done = length === 0;
    this.sent = false;
    this.whole = false;
    this.#trailers = '';
    this.#forget();
  }

  #forget(): void {
    this.#kept = NO_BYTES;
    this.#isKept = this.#isLong = false;
  }

  /** No request will come for a while. */
  rest(): void {
    this.head.shrink();
    this.#trailers = '';
    this.#forget();
  }

  /** The length of the body is known, so that its bytes can be taken as they come. */
  get counted(): boolean {
    return this.length !== UNKNOWN;
  }

  /** All of the request that has left is still here. */
  get replayable(): boolean {
    return this.whole || !this.sent || this.#isKept;
  }

  /** A piece of the body leaves for a backend that may say that it has not looked at it. */
  keep(buffer: Buffer, start: number, length: number, trailers: string): void {
    if (this.#isLong) return;
    this.#isLong = this.#kept.length + length > KEPT_BYTES;
    this.#isKept = !this.#isLong;
    if (this.#isLong) {
      this.#kept = NO_BYTES;
      return;
    }
    this.#trailers = trailers;
    if (length === 0) return;
    const bytes = Buffer.copyBytesFrom(buffer, start, length);
    this.#kept = this.#kept.length === 0 ? bytes : Buffer.concat([this.#kept, bytes]);
  }

  /** It leaves anew: what was kept comes before what is held. */
  rewind(): void {
    if (!this.#isKept || this.whole) return;
    if (this.#kept.length > 0)
      this.#held = this.#held === undefined ? this.#kept : Buffer.concat([this.#kept, this.#held]);
    this.sent = false;
    this.#forget();
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

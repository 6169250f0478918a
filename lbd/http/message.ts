const SCRATCH_BYTES = 4096;
const CR = 13;
const LF = 10;
/** So many times the first room is more than a message that rests should keep. */
const MANY = 4;
const NOTHING = Buffer.alloc(0);

/**
 * Bytes of a message that is being put together. Strings would cost twice as much: one for each piece, and another copy
 * where they are joined.
 */
export class Message {
  /** The message is at 0 to `length - 1`. */
  bytes: Buffer = NOTHING;
  length = 0;
  readonly #firstBytes: number;

  /** @param firstBytes for which there is room from the first use on */
  constructor(firstBytes: number) {
    this.#firstBytes = firstBytes;
  }

  /** Gives its memory back, where that is more than most messages need. */
  shrink(): void {
    this.length = 0;
    if (this.bytes.length > MANY * this.#firstBytes) this.bytes = NOTHING;
  }

  clear(): this {
    this.length = 0;
    return this;
  }

  /**
   * Adds bytes that the caller writes, or some of them: it may set `length` back to where it ended.
   *
   * @returns where in `bytes`, which this may replace
   */
  room(bytes: number): number {
    const at = this.length;
    this.length += bytes;
    if (this.length > this.bytes.length) this.#grow(at);
    return at;
  }

  /** Adds `start` to `end` of a buffer. */
  copy(from: Buffer, start: number, end: number): void {
    const at = this.room(end - start);
    from.copy(this.bytes, at, start, end);
  }

  /** @param latin1 best one that was not joined of others, which costs a copy more */
  text(latin1: string): void {
    const at = this.room(latin1.length);
    this.bytes.latin1Write(latin1, at);
  }

  /** Ends a line. */
  line(): void {
    const at = this.room(2);
    this.bytes[at] = CR;
    this.bytes[at + 1] = LF;
  }

  toString(): string {
    return this.bytes.latin1Slice(0, this.length);
  }

  /** @param used bytes to keep */
  #grow(used: number): void {
    const grown = Buffer.allocUnsafe(Math.max(this.#firstBytes, this.bytes.length * 2, this.length));
    this.bytes.copy(grown, 0, 0, used);
    this.bytes = grown;
  }
}

/** Of this thread: what is put together here is sent within the same callback. */
export const scratch = new Message(SCRATCH_BYTES);

/** Bytes that could not be used yet: a part of a head, or a client's next requests. Owned, not shared. */
export class Backlog {
  length: number;
  #bytes: Buffer;

  /** Copies `start` to `end` out of a buffer that others will overwrite. */
  constructor(buffer: Buffer, start: number, end: number) {
    this.#bytes = Buffer.copyBytesFrom(buffer, start, end - start);
    this.length = end - start;
  }

  append(buffer: Buffer, start: number, end: number): void {
    const total = this.length + end - start;
    if (total > this.#bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(total, this.#bytes.length * 2));
      this.#bytes.copy(grown, 0, 0, this.length);
      this.#bytes = grown;
    }
    buffer.copy(this.#bytes, this.length, start, end);
    this.length = total;
  }

  /** What is kept, at 0 to `length - 1`; the rest of the buffer means nothing. */
  get bytes(): Buffer {
    return this.#bytes;
  }

  /** Whether `byte` is among the last `count` bytes. */
  endsWithin(byte: number, count: number): boolean {
    return this.#bytes.subarray(this.length - count, this.length).indexOf(byte) >= 0;
  }
}

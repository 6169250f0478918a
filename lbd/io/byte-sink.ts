/** Receives what a socket reads. */
export interface ByteSink {
  /** `buffer` is shared and overwritten by the next read; the bytes are at 0 to `length - 1`. */
  onBytes(buffer: Buffer, length: number): void;
}

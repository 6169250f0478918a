/** A WebSocket message of fixed length, as bytes on the wire: RFC 6455 section 5.2. */
const PAYLOAD = Buffer.alloc(64, 'm');
/** FIN and opcode 2, binary. */
const BINARY = 0x82;
const MASKED = 0x80;
/** Any will do where nobody attacks a cache; not zero, so that the payload is another one on the wire. */
const MASK = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);

export const CLIENT_FRAME = Buffer.concat([
  Buffer.from([BINARY, MASKED | PAYLOAD.length]),
  MASK,
  PAYLOAD.map((byte, i) => byte ^ MASK[i % MASK.length]!),
]);
export const SERVER_FRAME = Buffer.concat([Buffer.from([BINARY, PAYLOAD.length]), PAYLOAD]);

/** Counts the frames in a stream of bytes that must consist of one frame, again and again. */
export class FrameCounter {
  readonly #frame: Buffer;
  #at = 0;

  constructor(frame: Buffer) {
    this.#frame = frame;
  }

  /**
   * @returns how many frames these bytes complete
   * @throws Error where they are other ones
   */
  take(bytes: Buffer): number {
    const frame = this.#frame;
    let frames = 0;
    for (let done = 0; done < bytes.length; ) {
      const length = Math.min(frame.length - this.#at, bytes.length - done);
      if (bytes.compare(frame, this.#at, this.#at + length, done, done + length) !== 0)
        throw new Error('a frame is not the one that was sent');
      done += length;
      this.#at += length;
      if (this.#at === frame.length) {
        this.#at = 0;
        frames++;
      }
    }
    return frames;
  }
}

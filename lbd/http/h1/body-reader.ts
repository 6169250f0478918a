import { BODY, type Framing } from './body.ts';
import { ChunkDecoder } from './chunked.ts';

/** `read`: the framing is broken, `fault` says why. */
export const BROKEN = -2;

/** How far the body of a message has come, taken out of its framing. */
export class BodyReader {
  /** Where `read` put what is of the body, and how much of it there is. */
  dataStart = 0;
  dataLength = 0;
  /** All of it has come. */
  done = true;
  fault = '';
  #framing: Framing = BODY.none;
  #left = 0;
  #chunks: ChunkDecoder | undefined;

  /**
   * @param length of `BODY.length`
   * @param reserved see `ChunkDecoder`
   */
  begin(framing: Framing, length: number, reserved?: ReadonlySet<string>): void {
    this.#framing = framing;
    this.#left = length;
    this.done = framing === BODY.none;
    this.#chunks = framing === BODY.chunked ? new ChunkDecoder(reserved) : undefined;
  }

  /** Only the end of the connection ends it. */
  get untilClose(): boolean {
    return this.#framing === BODY.untilClose;
  }

  /** To pass on, each with its CRLF; complete once the body is. */
  get trailers(): string {
    return this.#chunks?.trailers ?? '';
  }

  /** @returns offset of the first byte after the body, or `end` while it goes on; or `BROKEN` */
  read(buffer: Buffer, start: number, end: number): number {
    this.dataStart = start;
    this.dataLength = 0;
    switch (this.#framing) {
      case BODY.none:
        return start;
      case BODY.length: {
        const take = Math.min(this.#left, end - start);
        this.#left -= take;
        this.dataLength = take;
        this.done = this.#left === 0;
        return start + take;
      }
      case BODY.chunked: {
        const chunks = this.#chunks!;
        const at = chunks.feed(buffer, start, end);
        if (at < 0) {
          this.fault = chunks.fault;
          return BROKEN;
        }
        this.dataStart = chunks.dataStart;
        this.dataLength = chunks.dataLength;
        this.done = chunks.done;
        return at;
      }
      default:
        this.dataLength = end - start;
        return end;
    }
  }

  /** Lets go of what belongs to a body that nobody waits for any more. */
  drop(): void {
    this.#chunks = undefined;
  }
}

import { Backlog } from '../h1/backlog.ts';
import { NO_BYTES } from '../no-bytes.ts';
import { FLAG, PRIORITY_BYTES } from './frames.ts';

/** Behind a HEADERS frame. */
const MAX_CONTINUATIONS = 16;

/** How far a block is. */
export const COMPLETE = 0;
export const MORE = 1;
/** It is longer than allowed, or in more pieces than anybody needs (CVE-2024-27316 and those beside it). */
export const TOO_LONG = 2;
export const BAD_PADDING = 3;

/** Puts blocks of fields together that come in several frames (RFC 9113 §4.3). */
export class BlockReader {
  /** Whose block is under way; 0: none is. */
  stream = 0;
  /** Nothing comes behind the fields. */
  ends = false;
  /** What is complete lies here, and is valid during the call. */
  buffer: Buffer = NO_BYTES;
  start = 0;
  end = 0;
  #pieces: Backlog | undefined;
  #continuations = 0;

  /**
   * The payload of HEADERS is here, long enough for what its flags tell of.
   *
   * @param most bytes of a block
   */
  begin(flags: number, stream: number, buffer: Buffer, start: number, end: number, most: number): number {
    let at = start;
    let padding = 0;
    if ((flags & FLAG.padded) !== 0) padding = buffer[at++]!;
    // RFC 9113 §5.3.2: of no use any more.
    if ((flags & FLAG.priority) !== 0) at += PRIORITY_BYTES;
    if (at + padding > end) return BAD_PADDING;
    this.ends = (flags & FLAG.endStream) !== 0;
    if (end - padding - at > most) return TOO_LONG;
    if ((flags & FLAG.endHeaders) !== 0) {
      this.#offer(buffer, at, end - padding);
      return COMPLETE;
    }
    this.stream = stream;
    this.#continuations = 0;
    this.#pieces = new Backlog(buffer, at, end - padding);
    return MORE;
  }

  /** The payload of CONTINUATION is here. @param most bytes of a block */
  append(flags: number, buffer: Buffer, start: number, end: number, most: number): number {
    const pieces = this.#pieces!;
    if (pieces.length + end - start > most || ++this.#continuations > MAX_CONTINUATIONS) return TOO_LONG;
    pieces.append(buffer, start, end);
    if ((flags & FLAG.endHeaders) === 0) return MORE;
    this.#offer(pieces.bytes, 0, pieces.length);
    this.drop();
    return COMPLETE;
  }

  #offer(buffer: Buffer, start: number, end: number): void {
    this.buffer = buffer;
    this.start = start;
    this.end = end;
  }

  /** Nothing more of a block is waited for. */
  drop(): void {
    this.stream = 0;
    this.#pieces = undefined;
  }
}

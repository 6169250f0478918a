import { NO_BYTES } from '../no-bytes.ts';
import { FLAG, FRAME, HEADER_BYTES } from './frames.ts';

/** Takes the frames of a connection. Each method returns false where nothing more is to be read. */
export interface FrameSink {
  /**
   * A frame begins; its payload follows.
   *
   * @param length of the payload
   */
  onFrameHeader(type: number, flags: number, stream: number, length: number): boolean;
  /**
   * A piece of the data of a DATA frame, without its padding.
   *
   * @param ended it is the last one of its stream
   */
  onData(stream: number, buffer: Buffer, start: number, length: number, ended: boolean): boolean;
  /** The payload of any other frame, whole; valid during the call. */
  onPayload(type: number, flags: number, stream: number, buffer: Buffer, start: number, end: number): boolean;
  /** Padding is longer than its frame (RFC 9113 §6.1). */
  onBadPadding(): false;
}

/**
 * Cuts what comes on a connection into frames (RFC 9113 §4.1). Data is handed on as it comes; of other frames, which are
 * short, what is not complete is kept.
 */
export class FrameReader {
  readonly #sink: FrameSink;
  readonly #header = new Uint8Array(HEADER_BYTES);
  #headerBytes = 0;
  #type = 0;
  #flags = 0;
  #stream = 0;
  /** Of the payload, still to come; -1: the header is not complete. */
  #left = -1;
  /** Of the end of a DATA frame; -1: not known yet. */
  #padding = 0;
  /** All data of the frame under way has been handed on. */
  #told = false;
  /** The part of a payload that is here. */
  #held = NO_BYTES;
  #heldBytes = 0;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** In the middle of a frame, which is none of DATA. */
  get within(): boolean {
    return this.#left < 0 ? this.#headerBytes > 0 : this.#type !== FRAME.data;
  }

  /** @param buffer its bytes are valid only now */
  read(buffer: Buffer, start: number, end: number): void {
    let at = start;
    while (at < end || this.#left === 0) {
      if (this.#left < 0) {
        at = this.#readHeader(buffer, at, end);
        if (this.#left < 0) return;
        if (!this.#sink.onFrameHeader(this.#type, this.#flags, this.#stream, this.#left)) return;
        this.#padding = this.#type === FRAME.data && (this.#flags & FLAG.padded) !== 0 ? -1 : 0;
        continue;
      }
      const next =
        this.#type === FRAME.data ? this.#readData(buffer, at, end) : this.#readPayload(buffer, at, end);
      if (next < 0) return;
      at = next;
    }
  }

  #readHeader(buffer: Buffer, start: number, end: number): number {
    if (this.#headerBytes === 0 && end - start >= HEADER_BYTES) {
      this.#take(buffer, start);
      return start + HEADER_BYTES;
    }
    let at = start;
    while (at < end && this.#headerBytes < HEADER_BYTES) this.#header[this.#headerBytes++] = buffer[at++]!;
    if (this.#headerBytes === HEADER_BYTES) {
      this.#headerBytes = 0;
      this.#take(this.#header, 0);
    }
    return at;
  }

  #take(bytes: Uint8Array, at: number): void {
    this.#left = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
    this.#type = bytes[at + 3]!;
    this.#flags = bytes[at + 4]!;
    // The first bit means nothing.
    this.#stream =
      ((bytes[at + 5]! & 0x7f) << 24) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 8) | bytes[at + 8]!;
  }

  /** @returns offset behind what was used; -1: nothing more is to be read */
  #readData(buffer: Buffer, start: number, end: number): number {
    let at = start;
    if (this.#padding < 0) {
      this.#padding = buffer[at++]!;
      this.#left--;
      if (this.#padding > this.#left) {
        this.#sink.onBadPadding();
        return -1;
      }
    }
    const length = Math.min(this.#left - this.#padding, end - at);
    const isLast = length === this.#left - this.#padding;
    // An end without data is handed on as well, once.
    if (length > 0 || (isLast && !this.#told)) {
      this.#told = isLast;
      const ended = isLast && (this.#flags & FLAG.endStream) !== 0;
      this.#left -= length;
      if (!this.#sink.onData(this.#stream, buffer, at, length, ended)) return -1;
      at += length;
    }
    if (this.#told) {
      const skipped = Math.min(this.#left, end - at);
      this.#left -= skipped;
      at += skipped;
      if (this.#left === 0) {
        this.#left = -1;
        this.#told = false;
      }
    }
    return at;
  }

  #readPayload(buffer: Buffer, start: number, end: number): number {
    const length = Math.min(this.#left, end - start);
    if (this.#heldBytes === 0 && length === this.#left) {
      this.#left = -1;
      const goesOn = this.#sink.onPayload(
        this.#type,
        this.#flags,
        this.#stream,
        buffer,
        start,
        start + length,
      );
      return goesOn ? start + length : -1;
    }
    if (this.#heldBytes === 0) this.#held = Buffer.allocUnsafe(this.#left);
    buffer.copy(this.#held, this.#heldBytes, start, start + length);
    this.#heldBytes += length;
    this.#left -= length;
    if (this.#left > 0) return start + length;
    const held = this.#held;
    this.#left = -1;
    this.#held = NO_BYTES;
    this.#heldBytes = 0;
    return this.#sink.onPayload(this.#type, this.#flags, this.#stream, held, 0, held.length)
      ? start + length
      : -1;
  }
}

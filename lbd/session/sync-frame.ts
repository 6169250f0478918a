import { KIND_COOKIE, KIND_SOURCE, MAX_TTL_TICKS, MAX_VERSION, PARTITIONS } from './layout.ts';
import { RECORD_WORDS } from './scan.ts';

/** What the peer sent breaks the protocol, or this node and the peer cannot work together. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}

/** Little-endian, as are the processors that Node runs on under Linux. Length of the payload, type, zeros. */
export const FRAME_HEAD = 8;
export const MAX_PAYLOAD = 65536;
const HEAD_WORDS = FRAME_HEAD / 4;

/** Frames of session sync. Numbers are on the wire; never reuse one. */
export const FRAME = {
  hello: 1,
  start: 2,
  updates: 3,
  ack: 4,
  digests: 5,
  entries: 6,
  done: 7,
  round: 8,
  register: 9,
  ping: 10,
  refused: 11,
  /** Of the kernel engine, see `lbd/flow/flow-frame.ts`; only to a peer whose hello offers it. */
  flows: 12,
  /** Secrets of session tickets; only to a peer whose hello offers it. */
  tickets: 13,
  /** The key of the table's hashes; only to a peer whose hello says that it takes it. */
  hashKey: 14,
} as const;
export type FrameType = (typeof FRAME)[keyof typeof FRAME];

/** Words before the records of an `updates` frame: first sequence (2), sequences, clock. */
export const UPDATES_HEAD = 4;
/** Words before the records of an `entries` frame: clock. */
export const ENTRIES_HEAD = 1;
/** Words before the digests of a `digests` frame: round, strict, first partition, partitions. */
export const DIGESTS_HEAD = 4;
/** Records in one frame. */
export const MAX_RECORDS = Math.floor((MAX_PAYLOAD / 4 - UPDATES_HEAD) / RECORD_WORDS);

/** Least and most bytes of a payload, by type. */
const SIZES: Record<FrameType, readonly [least: number, most: number]> = {
  [FRAME.hello]: [4, 4096],
  [FRAME.start]: [12, 12],
  [FRAME.updates]: [UPDATES_HEAD * 4, MAX_PAYLOAD],
  [FRAME.ack]: [16, 16],
  [FRAME.digests]: [DIGESTS_HEAD * 4 + 8, (DIGESTS_HEAD + PARTITIONS * 2) * 4],
  [FRAME.entries]: [ENTRIES_HEAD * 4, MAX_PAYLOAD],
  [FRAME.done]: [8, 8],
  [FRAME.round]: [0, 0],
  [FRAME.register]: [2, 8192],
  [FRAME.ping]: [0, 0],
  [FRAME.refused]: [0, 512],
  [FRAME.flows]: [4, MAX_PAYLOAD],
  [FRAME.tickets]: [2, 4096],
  [FRAME.hashKey]: [16, 16],
};

/** Puts frames together from whatever pieces the stream arrives in. Holds at most one frame. */
export class FrameReader {
  readonly #frame = Buffer.from(new ArrayBuffer(FRAME_HEAD + MAX_PAYLOAD));
  readonly #words = new Int32Array(this.#frame.buffer);
  #filled = 0;

  /** Payload of the frame at hand as words; valid during the callback of `push`. */
  readonly payload = this.#words.subarray(HEAD_WORDS);

  /** Payload of the frame at hand as bytes; valid during the callback of `push`. */
  bytes(length: number): Buffer {
    return this.#frame.subarray(FRAME_HEAD, FRAME_HEAD + length);
  }

  /**
   * @param onFrame called for each whole frame with its type and the bytes of its payload; returns true to
   *   stop there
   * @returns how many bytes were taken
   * @throws ProtocolError for an unknown type or an impossible length
   */
  push(chunk: Uint8Array, onFrame: (type: FrameType, length: number) => boolean): number {
    let at = 0;
    while (at < chunk.length) {
      at += this.#take(chunk, at, FRAME_HEAD);
      if (this.#filled < FRAME_HEAD) break;
      const [length, type] = [this.#words[0]! >>> 0, this.#words[1]! >>> 0];
      const sizes = SIZES[type as FrameType];
      if (!sizes) throw new ProtocolError(`frame of unknown type ${type}`);
      if (length < sizes[0] || length > sizes[1])
        throw new ProtocolError(
          `frame of type ${type} with ${length} bytes, expected ${sizes[0]} to ${sizes[1]}`,
        );
      at += this.#take(chunk, at, FRAME_HEAD + length);
      if (this.#filled < FRAME_HEAD + length) break;
      this.#filled = 0;
      if (onFrame(type as FrameType, length)) break;
    }
    return at;
  }

  reset(): void {
    this.#filled = 0;
  }

  #take(chunk: Uint8Array, at: number, upTo: number): number {
    const count = Math.min(Math.max(upTo - this.#filled, 0), chunk.length - at);
    if (count > 0)
      this.#frame.set(count === chunk.length ? chunk : chunk.subarray(at, at + count), this.#filled);
    this.#filled += count;
    return count;
  }
}

/** A frame that is filled as words and then cut to its length. */
export class FrameBuilder {
  readonly #buffer: ArrayBuffer;
  readonly #type: FrameType;
  /** Payload. */
  readonly words: Int32Array;

  constructor(type: FrameType, maxWords: number) {
    this.#buffer = new ArrayBuffer(FRAME_HEAD + maxWords * 4);
    this.#type = type;
    this.words = new Int32Array(this.#buffer, FRAME_HEAD);
  }

  /** The frame with the first `count` words. */
  finish(count: number): Buffer {
    const head = new Int32Array(this.#buffer, 0, HEAD_WORDS);
    head[0] = count * 4;
    head[1] = this.#type;
    return Buffer.from(this.#buffer, 0, FRAME_HEAD + count * 4);
  }
}

/** A frame with these words as its payload. */
export function wordsFrame(type: FrameType, words: readonly number[] = []): Buffer {
  const builder = new FrameBuilder(type, words.length);
  for (let i = 0; i < words.length; i++) builder.words[i] = words[i]!;
  return builder.finish(words.length);
}

/** A frame with these bytes as its payload. */
export function bytesFrame(type: FrameType, payload: Uint8Array): Buffer {
  const frame = Buffer.alloc(FRAME_HEAD + payload.length);
  frame.writeUInt32LE(payload.length, 0);
  frame.writeUInt32LE(type, 4);
  frame.set(payload, FRAME_HEAD);
  return frame;
}

/** A sequence number from two words. @throws ProtocolError beyond 2^53 */
export function sequenceFrom(words: Int32Array, at: number): number {
  const value = (words[at]! >>> 0) + (words[at + 1]! >>> 0) * 2 ** 32;
  if (!Number.isSafeInteger(value)) throw new ProtocolError(`sequence number ${value} is too large`);
  return value;
}

export function sequenceWords(sequence: number): [low: number, high: number] {
  return [sequence | 0, Math.floor(sequence / 2 ** 32)];
}

/**
 * Checks the records after `head` words of a payload: each has a pool, a known kind, a version and a life in their ranges.
 *
 * @returns their number and the highest version, 0 without any
 * @throws ProtocolError
 */
export function checkRecords(
  words: Int32Array,
  head: number,
  length: number,
): { count: number; version: number } {
  const count = (length / 4 - head) / RECORD_WORDS;
  if (!Number.isInteger(count)) throw new ProtocolError(`${length} bytes are no whole number of entries`);
  let highest = 0;
  for (let i = 0; i < count; i++) {
    const at = head + i * RECORD_WORDS;
    const [kind, version, life] = [words[at + 5]!, words[at + 7]!, words[at + 8]!];
    if (words[at + 4] === 0 || (kind !== KIND_SOURCE && kind !== KIND_COOKIE))
      throw new ProtocolError(`entry with pool ${words[at + 4]! >>> 0} and kind ${kind}`);
    if (version < 1 || version > MAX_VERSION || life < 1 || life > MAX_TTL_TICKS)
      throw new ProtocolError(`entry with version ${version} and ${life} ticks to live`);
    if (version > highest) highest = version;
  }
  return { count, version: highest };
}

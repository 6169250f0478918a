import type { Message } from '../../message.ts';
import { copyBytes } from './bytes.ts';
import { DEFAULT_TABLE_BYTES } from './decoder.ts';
import { encodeHuffman, huffmanLength } from './huffman.ts';
import { LOWER, STATIC_NAMES, staticName } from './static-table.ts';

/** RFC 7541 §6.2.2, §6.2.3: first bits of a literal, and those that its name's index has. */
const NOT_INDEXED = 0x00;
const NEVER_INDEXED = 0x10;
const LITERAL_PREFIX = 0x0f;
/** RFC 7541 §6.1 */
const INDEXED = 0x80;
/** RFC 7541 §5.2: first bit of a string, and those that its length has. */
const HUFFMAN = 0x80;
const STRING_PREFIX = 0x7f;
/** RFC 7541 §6.3, to a size of 0. */
const NO_TABLE = 0x20;
/** Bytes that a length below 2^28 takes, or an index. */
const MOST_INTEGER = 5;

/** Of the static table. */
const INDEX = {
  authority: 1,
  get: 2,
  post: 3,
  root: 4,
  http: 6,
  https: 7,
  status: 8,
} as const;

/** By status: the index of the whole field. */
const STATUS_INDEX = new Uint8Array(1000);
for (const [i, status] of [200, 204, 206, 304, 400, 404, 500].entries())
  STATUS_INDEX[status] = INDEX.status + i;

/**
 * Writes header blocks of one side of a connection (RFC 7541). It uses the static table, and literals that no table keeps
 * and that are not Huffman-coded: bytes cost a link less than finding or coding them costs the CPU. So a field is written
 * the same to all peers, and what is said often can be put together once (`encodeField`).
 */
export class HpackEncoder {
  /** The peer's table is larger than its next acknowledged setting allows. */
  #owesUpdate = false;
  #hasUpdated = false;

  /** The peer's SETTINGS_HEADER_TABLE_SIZE, when it is acknowledged. */
  tableSize(bytes: number): void {
    if (bytes < DEFAULT_TABLE_BYTES && !this.#hasUpdated) this.#owesUpdate = true;
  }

  /** Begins a header block. */
  begin(out: Message): void {
    if (!this.#owesUpdate) return;
    this.#owesUpdate = false;
    this.#hasUpdated = true;
    // RFC 9113 §4.3.1. To 0, after which no setting is below what is in use.
    const at = out.room(1);
    out.bytes[at] = NO_TABLE;
  }
}

/** @param status of three digits */
export function writeStatus(out: Message, status: number): void {
  const index = STATUS_INDEX[status]!;
  if (index !== 0) {
    writeIndexed(out, index);
    return;
  }
  const at = out.room(5);
  const { bytes } = out;
  bytes[at] = INDEX.status;
  bytes[at + 1] = 3;
  bytes[at + 2] = 48 + Math.floor(status / 100);
  bytes[at + 3] = 48 + (Math.floor(status / 10) % 10);
  bytes[at + 4] = 48 + (status % 10);
}

export function writeMethod(out: Message, method: string): void {
  if (method === 'GET') writeIndexed(out, INDEX.get);
  else if (method === 'POST') writeIndexed(out, INDEX.post);
  else writeNamed(out, INDEX.get, method);
}

export function writeScheme(out: Message, scheme: 'http' | 'https'): void {
  writeIndexed(out, scheme === 'https' ? INDEX.https : INDEX.http);
}

/** @param path with its query */
export function writePath(out: Message, path: string): void {
  if (path === '/') writeIndexed(out, INDEX.root);
  else writeNamed(out, INDEX.root, path);
}

export function writeAuthority(out: Message, authority: string): void {
  writeNamed(out, INDEX.authority, authority);
}

/**
 * Writes a field that came from somewhere else.
 *
 * @param name may have capital letters
 * @param sensitive it came as never indexed, and so it goes on
 */
export function writeField(
  out: Message,
  name: Buffer,
  nameStart: number,
  nameEnd: number,
  value: Buffer,
  valueStart: number,
  valueEnd: number,
  sensitive: boolean,
): void {
  const first = sensitive ? NEVER_INDEXED : NOT_INDEXED;
  const nameLength = nameEnd - nameStart;
  const valueLength = valueEnd - valueStart;
  let at = out.room(1 + 2 * MOST_INTEGER + nameLength + valueLength);
  const { bytes } = out;
  const index = staticName(name, nameStart, nameEnd, LOWER);
  if (index !== 0) at = putInteger(bytes, at, first, LITERAL_PREFIX, index);
  else {
    bytes[at] = first;
    at = putInteger(bytes, at + 1, 0, STRING_PREFIX, nameLength);
    for (let p = nameStart; p < nameEnd; p++) bytes[at++] = LOWER[name[p]!]!;
  }
  at = putInteger(bytes, at, 0, STRING_PREFIX, valueLength);
  copyBytes(value, valueStart, valueEnd, bytes, at);
  out.length = at + valueLength;
}

/**
 * Writes a field of our own.
 *
 * @param name lower case
 * @param value latin1
 */
export function writeText(out: Message, name: string, value: string): void {
  const index = STATIC_NAMES.get(name);
  if (index !== undefined) {
    writeNamed(out, index, value);
    return;
  }
  const at = out.room(1 + MOST_INTEGER + name.length);
  const { bytes } = out;
  bytes[at] = NOT_INDEXED;
  const start = putInteger(bytes, at + 1, 0, STRING_PREFIX, name.length);
  bytes.latin1Write(name, start);
  out.length = start + name.length;
  writeString(out, value);
}

/**
 * A field that is said often, to be copied into messages.
 *
 * @param name lower case
 * @param value latin1
 */
export function encodeField(name: string, value: string): Buffer {
  const index = STATIC_NAMES.get(name) ?? 0;
  const strings = [Buffer.from(value, 'latin1')];
  if (index === 0) strings.unshift(Buffer.from(name, 'latin1'));
  const bytes = Buffer.alloc(strings.reduce((sum, { length }) => sum + MOST_INTEGER + length, MOST_INTEGER));
  let at = putInteger(bytes, 0, NOT_INDEXED, LITERAL_PREFIX, index);
  for (const string of strings) {
    const length = huffmanLength(string, 0, string.length);
    if (length < string.length) {
      at = putInteger(bytes, at, HUFFMAN, STRING_PREFIX, length);
      at = encodeHuffman(string, 0, string.length, bytes, at);
    } else {
      at = putInteger(bytes, at, 0, STRING_PREFIX, string.length);
      at += string.copy(bytes, at);
    }
  }
  return bytes.subarray(0, at);
}

function writeIndexed(out: Message, index: number): void {
  const at = out.room(1);
  out.bytes[at] = INDEXED | index;
}

/** Writes a literal whose name is the one at `index` of the static table. */
function writeNamed(out: Message, index: number, value: string): void {
  const at = out.room(2);
  out.length = putInteger(out.bytes, at, NOT_INDEXED, LITERAL_PREFIX, index);
  writeString(out, value);
}

function writeString(out: Message, latin1: string): void {
  const at = out.room(MOST_INTEGER);
  out.length = putInteger(out.bytes, at, 0, STRING_PREFIX, latin1.length);
  out.text(latin1);
}

/**
 * RFC 7541 §5.1
 *
 * @param first what stands before the prefix in its byte
 * @param prefix all bits of it
 * @param value below 2^28
 * @returns where the number ends
 */
function putInteger(bytes: Uint8Array, at: number, first: number, prefix: number, value: number): number {
  if (value < prefix) {
    bytes[at] = first | value;
    return at + 1;
  }
  bytes[at++] = first | prefix;
  let rest = value - prefix;
  for (; rest >= 0x80; rest >>>= 7) bytes[at++] = 0x80 | (rest & 0x7f);
  bytes[at] = rest;
  return at + 1;
}

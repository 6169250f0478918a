import { FIELD, FIELD_IDS } from '../field-names.ts';
import { COLON, CR, FIELD_VALUE, HTAB, HYPHEN, LF, SP, TOKEN } from './grammar.ts';

/** Names by length and first letter: at most one candidate is compared letter by letter. */
const CANDIDATES: ({ name: Uint8Array; id: number } | undefined)[] = [];
for (const [name, id] of Object.entries(FIELD_IDS)) {
  const slot = name.length * 32 + (name.charCodeAt(0) & 31);
  if (CANDIDATES[slot] !== undefined) throw new Error(`two known fields share the slot of ${name}`);
  CANDIDATES[slot] = { name: Buffer.from(name), id };
}

/** Fields that a client must not be able to say twice, once to us and once to a backend. */
function hasLookalikes(id: number): boolean {
  return (
    id === FIELD.contentLength ||
    id === FIELD.transferEncoding ||
    (id >= FIELD.forwardedFor && id <= FIELD.forwardedHost)
  );
}

function identify(buffer: Uint8Array, start: number, length: number): number {
  if (length > 17) return FIELD.other;
  const candidate = CANDIDATES[length * 32 + (buffer[start]! & 31)];
  if (candidate === undefined) return FIELD.other;
  const name = candidate.name;
  let id = candidate.id;
  for (let i = 0; i < length; i++) {
    const byte = buffer[start + i]!;
    const lower = byte >= 65 && byte <= 90 ? byte | 32 : byte;
    if (lower === name[i]) continue;
    if (name[i] !== HYPHEN || isAlphanumeric(lower) || !hasLookalikes(candidate.id)) return FIELD.other;
    id = FIELD.lookalike;
  }
  return id;
}

/** @param byte no capital letter */
function isAlphanumeric(byte: number): boolean {
  return (byte >= 97 && byte <= 122) || (byte >= 48 && byte <= 57);
}

/** What is wrong with a head; the text goes into the answer to the client and into the log. */
export type HeadFault =
  | ''
  | 'bare line feed'
  | 'bare carriage return'
  | 'white space before the first field'
  | 'folded field line'
  | 'field line without a colon'
  | 'white space before the colon'
  | 'invalid field name'
  | 'invalid byte in a field value'
  | 'too many fields'
  | 'head too large'
  | 'invalid start line'
  | 'invalid method'
  | 'invalid target'
  | 'unsupported HTTP version'
  | 'missing Host'
  | 'repeated Host'
  | 'invalid Host'
  | 'invalid Content-Length'
  | 'differing Content-Length'
  | 'Transfer-Encoding with Content-Length'
  | 'Transfer-Encoding in HTTP/1.0'
  | 'unsupported Transfer-Encoding'
  | 'repeated Transfer-Encoding'
  | 'framing in a 1xx response'
  | 'another character in place of a hyphen'
  | 'CONNECT is not supported'
  | 'unsupported Expect'
  | 'invalid status'
  | 'unexpected bytes';

const WORDS = 6;

/**
 * Field lines of one head, by position in the buffer: no object a field. One instance serves a whole worker,
 * because a head is parsed and used within one read callback.
 */
export class FieldLines {
  /** Lines found. */
  count = 0;
  fault: HeadFault = '';
  /** Some name is followed by white space before its colon. */
  loose = false;
  /** Remembers `WORDS` numbers a line: id, line start, name end, value start, value end, line end. */
  readonly #at: Int32Array;
  readonly #max: number;
  #view: DataView = new DataView(new ArrayBuffer(0));
  /** What `#view` is on. */
  #viewed: Uint8Array | undefined;

  /** @param max lines that fit; one more is the fault `too many fields` */
  constructor(max: number) {
    this.#max = max;
    this.#at = new Int32Array(max * WORDS);
  }

  id(line: number): number {
    return this.#at[line * WORDS]!;
  }

  lineStart(line: number): number {
    return this.#at[line * WORDS + 1]!;
  }

  nameEnd(line: number): number {
    return this.#at[line * WORDS + 2]!;
  }

  valueStart(line: number): number {
    return this.#at[line * WORDS + 3]!;
  }

  /** White space at the end already left out. */
  valueEnd(line: number): number {
    return this.#at[line * WORDS + 4]!;
  }

  /** After the line's CRLF. */
  lineEnd(line: number): number {
    return this.#at[line * WORDS + 5]!;
  }

  /**
   * Reads field lines up to and including the empty line (RFC 9112 §5).
   *
   * @param start first byte after the start line
   * @param limit lines that this head may have
   * @param lenientColon strip white space before the colon instead of refusing it: RFC 9112 §5.1 asks it of a
   *   proxy for responses
   * @returns offset after the empty line; 0: incomplete; -1: `fault` says why
   */
  parse(buffer: Uint8Array, start: number, end: number, limit: number, lenientColon: boolean): number {
    const at = this.#at;
    if (this.#viewed !== buffer) {
      this.#viewed = buffer;
      this.#view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
    }
    const view = this.#view;
    const max = Math.min(limit, this.#max);
    let p = start;
    let count = 0;
    this.count = 0;
    this.loose = false;
    for (;;) {
      if (p >= end) return 0;
      const first = buffer[p]!;
      if (first === CR) {
        if (p + 1 >= end) return 0;
        if (buffer[p + 1] !== LF) return this.#fail('bare carriage return');
        this.count = count;
        return p + 2;
      }
      const lineStart = p;
      while (p < end && TOKEN[buffer[p]!] === 1) p++;
      if (p >= end) return 0;
      let nameEnd = p;
      if (buffer[p] !== COLON) {
        if (!(lenientColon && p > lineStart && (buffer[p] === SP || buffer[p] === HTAB)))
          return this.#fail(nameFault(buffer[p]!, p === lineStart, count));
        nameEnd = p;
        this.loose = true;
        while (p < end && (buffer[p] === SP || buffer[p] === HTAB)) p++;
        if (p >= end) return 0;
        if (buffer[p] !== COLON) return this.#fail('invalid field name');
      }
      if (p === lineStart) return this.#fail('invalid field name');
      p++;
      while (p < end && (buffer[p] === SP || buffer[p] === HTAB)) p++;
      const valueStart = p;
      while (p + 4 <= end && areVisible(view.getInt32(p, true))) p += 4;
      while (p < end && FIELD_VALUE[buffer[p]!] === 1) p++;
      if (p >= end) return 0;
      if (buffer[p] !== CR)
        return this.#fail(buffer[p] === LF ? 'bare line feed' : 'invalid byte in a field value');
      if (p + 1 >= end) return 0;
      if (buffer[p + 1] !== LF) return this.#fail('bare carriage return');
      if (count === max) return this.#fail('too many fields');
      let valueEnd = p;
      while (valueEnd > valueStart && (buffer[valueEnd - 1] === SP || buffer[valueEnd - 1] === HTAB))
        valueEnd--;
      p += 2;
      const row = count * WORDS;
      at[row] = identify(buffer, lineStart, nameEnd - lineStart);
      at[row + 1] = lineStart;
      at[row + 2] = nameEnd;
      at[row + 3] = valueStart;
      at[row + 4] = valueEnd;
      at[row + 5] = p;
      count++;
    }
  }

  /**
   * What came under a name.
   *
   * @param buffer of the last `parse`
   * @param name lower case
   * @param joint between repeated ones
   */
  text(buffer: Buffer, name: string, joint: string): string | undefined {
    const known = FIELD_IDS[name] ?? FIELD.other;
    let value: string | undefined;
    for (let line = 0; line < this.count; line++) {
      const named =
        known === FIELD.other
          ? equalsIgnoreCase(buffer, this.lineStart(line), this.nameEnd(line), name)
          : this.id(line) === known;
      if (!named) continue;
      const text = buffer.latin1Slice(this.valueStart(line), this.valueEnd(line));
      value = value === undefined ? text : `${value}${joint}${text}`;
    }
    return value;
  }

  #fail(fault: HeadFault): -1 {
    this.fault = fault;
    return -1;
  }
}

/** Whether four bytes are all from 0x20 to 0x7e. The lowest one that is not lends to and borrows from none before it. */
function areVisible(four: number): boolean {
  return ((four | (four - 0x20202020) | (four + 0x01010101)) & 0x80808080) === 0;
}

function nameFault(byte: number, atLineStart: boolean, count: number): HeadFault {
  if (byte === LF) return 'bare line feed';
  if (byte === CR) return 'field line without a colon';
  if (byte === SP || byte === HTAB) {
    if (!atLineStart) return 'white space before the colon';
    return count === 0 ? 'white space before the first field' : 'folded field line';
  }
  return 'invalid field name';
}

/**
 * Content-Length (RFC 9110 §8.6): digits only, a safe integer. A list of equal values is refused, which is
 * stricter than the RFC needs.
 *
 * @returns the number, or -1
 */
export function parseLength(buffer: Uint8Array, start: number, end: number): number {
  if (end <= start || end - start > 16) return -1;
  let value = 0;
  for (let p = start; p < end; p++) {
    const digit = buffer[p]! - 48;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value <= Number.MAX_SAFE_INTEGER ? value : -1;
}

/** Whether the bytes are those of `latin1`. A loop costs less than a string of them, while they are few. */
export function spells(buffer: Uint8Array, start: number, end: number, latin1: string): boolean {
  if (end - start !== latin1.length) return false;
  for (let i = 0; i < latin1.length; i++) if (buffer[start + i] !== latin1.charCodeAt(i)) return false;
  return true;
}

/** Whether the bytes spell `word` (which must be lower case), whatever their case. */
export function equalsIgnoreCase(buffer: Uint8Array, start: number, end: number, word: string): boolean {
  if (end - start !== word.length) return false;
  for (let i = 0; i < word.length; i++) {
    const byte = buffer[start + i]!;
    const lower = byte >= 65 && byte <= 90 ? byte | 32 : byte;
    if (lower !== word.charCodeAt(i)) return false;
  }
  return true;
}

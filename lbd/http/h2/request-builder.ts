import { COLON, DIGIT, TOKEN } from '../h1/grammar.ts';
import { Message } from '../message.ts';
import { FIELD_OVERHEAD, isFieldName, isPadded, trailersIn, writeLine } from './field-lines.ts';
import { type FieldSink, STOP } from './hpack/decoder.ts';
import { LOWER } from './hpack/static-table.ts';

/** RFC 9113 §8.3.1, RFC 8441 §4 */
const PSEUDO = { method: 0, scheme: 1, authority: 2, path: 3, protocol: 4 } as const;
const PSEUDO_NAMES = [':method', ':scheme', ':authority', ':path', ':protocol'].map((name) =>
  Buffer.from(name),
);
const CONNECT = Buffer.from('CONNECT');
const WEBSOCKET = Buffer.from('websocket');
/** A browser may send each cookie as a field of its own: they are as many as fields, besides. */
const HEAD_BYTES = 2048;

/** What a field is, besides one that passes; as a note of the decoder, so that a name is looked at once. */
const PLAIN = 1;
const COOKIE = 2;
const HOST = 3;
const LENGTH = 4;
const TE = 5;
const BANNED = 6;
const PRIORITY = 7;
const WEBSOCKET_KEY = 8;
const SPECIAL: ReadonlyMap<string, number> = new Map([
  ['cookie', COOKIE],
  ['host', HOST],
  ['content-length', LENGTH],
  ['te', TE],
  ['priority', PRIORITY],
  ['sec-websocket-key', WEBSOCKET_KEY],
  // RFC 9113 §8.2.2
  ['connection', BANNED],
  ['keep-alive', BANNED],
  ['proxy-connection', BANNED],
  ['transfer-encoding', BANNED],
  ['upgrade', BANNED],
]);
const LONGEST_SPECIAL = 17;

/** Without a body these say so in HTTP/1 (RFC 9110 §8.6). */
const WITH_BODY = new Set(['POST', 'PUT', 'PATCH']);

/** What is wrong with the fields of a request or of its trailers: it is malformed (RFC 9113 §8.1.1). */
export type RequestFault = '' | 'malformed' | 'too large';

/**
 * Makes of the fields of a request a head as HTTP/1 writes it. That is read as one of HTTP/1 is, so that what comes by HTTP/2
 * passes the same rules; here are those that HTTP/2 has besides (RFC 9113 §8.2, §8.3). One instance serves a thread.
 */
export class RequestBuilder implements FieldSink {
  readonly message = new Message(HEAD_BYTES);
  /** In words; empty: nothing. */
  fault: RequestFault = '';
  /** Lines that the head should have, whoever reads it. */
  lines = 0;
  /** It is CONNECT with a protocol to speak (RFC 8441). */
  isExtended = false;
  /** And that is WebSocket. */
  isWebSocket = false;
  /** Of its `content-length`; -1: it has none. */
  length = -1;
  /** Of its `priority` (RFC 9218); empty: it has none. */
  priority = '';
  readonly #pseudo = new Message(HEAD_BYTES);
  readonly #starts = new Int32Array(PSEUDO_NAMES.length);
  readonly #ends = new Int32Array(PSEUDO_NAMES.length);
  readonly #cookie = new Message(HEAD_BYTES);
  #isTrailers = false;
  #hasFields = false;
  #hasHost = false;
  #bytesLeft = 0;
  #fieldsLeft = 0;
  #crumbsLeft = 0;

  /**
   * @param maxBytes of all names and values, with what each field is charged besides
   * @param maxFields fields, and as many pieces of cookies besides
   */
  begin(maxBytes: number, maxFields: number, isTrailers: boolean): void {
    this.message.clear();
    this.#pseudo.clear();
    this.#cookie.clear();
    this.fault = '';
    this.lines = 0;
    this.length = -1;
    this.priority = '';
    this.isExtended = this.isWebSocket = false;
    this.#starts.fill(-1);
    this.#isTrailers = isTrailers;
    this.#hasFields = this.#hasHost = false;
    this.#bytesLeft = maxBytes;
    this.#fieldsLeft = this.#crumbsLeft = maxFields;
  }

  field(
    name: Buffer,
    nameStart: number,
    nameEnd: number,
    value: Buffer,
    valueStart: number,
    valueEnd: number,
    _sensitive: boolean,
    _index: number,
    note: number,
  ): number {
    this.#bytesLeft -= nameEnd - nameStart + valueEnd - valueStart + FIELD_OVERHEAD;
    if (this.#bytesLeft < 0) return this.#stop('too large');
    if (name[nameStart] === COLON)
      return this.#pseudoField(name, nameStart, nameEnd, value, valueStart, valueEnd);
    const kind = note > 0 ? note : kindOf(name, nameStart, nameEnd);
    if (kind === BANNED) return this.#stop('malformed');
    // RFC 9113 §8.2.1
    if (isPadded(value, valueStart, valueEnd)) return this.#stop('malformed');
    if (!this.#hasFields) {
      this.#hasFields = true;
      if (!this.#isTrailers && !this.#startLine()) return this.#stop('malformed');
    }
    if (kind !== PLAIN && !this.#isTrailers) {
      if (kind === COOKIE) return this.#crumb(value, valueStart, valueEnd);
      if (kind === HOST && this.#starts[PSEUDO.authority]! >= 0)
        return this.#isFirstHost() && this.#isAuthority(value, valueStart, valueEnd)
          ? kind
          : this.#stop('malformed');
      // RFC 8441 §5: it is of no use, and the backend gets another one.
      if (kind === WEBSOCKET_KEY && this.isExtended) return kind;
      if (kind === PRIORITY) this.priority = value.latin1Slice(valueStart, valueEnd);
      if (kind === TE && !isTrailers(value, valueStart, valueEnd)) return this.#stop('malformed');
      if (kind === LENGTH && !this.#takeLength(value, valueStart, valueEnd)) return this.#stop('malformed');
    }
    if (--this.#fieldsLeft < 0) return this.#stop('too large');
    writeLine(this.message, name, nameStart, nameEnd, value, valueStart, valueEnd);
    this.lines++;
    return kind;
  }

  /** RFC 9113 §8.3: before all other fields, each at most once, none but those that are known; none in trailers. */
  #pseudoField(
    name: Buffer,
    nameStart: number,
    nameEnd: number,
    value: Buffer,
    valueStart: number,
    valueEnd: number,
  ): number {
    if (this.#hasFields || this.#isTrailers) return this.#stop('malformed');
    const id = PSEUDO_NAMES.findIndex((known) => equals(known, name, nameStart, nameEnd));
    if (id < 0 || this.#starts[id]! >= 0) return this.#stop('malformed');
    const pseudo = this.#pseudo;
    this.#starts[id] = pseudo.length;
    pseudo.copy(value, valueStart, valueEnd);
    this.#ends[id] = pseudo.length;
    return 0;
  }

  #text(id: number): string {
    return this.#pseudo.bytes.latin1Slice(this.#starts[id]!, this.#ends[id]!);
  }

  /** All pseudo fields are here. */
  #startLine(): boolean {
    const out = this.message;
    const starts = this.#starts;
    const ends = this.#ends;
    const { bytes } = this.#pseudo;
    const method = starts[PSEUDO.method]!;
    if (method < 0 || !isToken(bytes, method, ends[PSEUDO.method]!)) return false;
    this.isExtended = starts[PSEUDO.protocol]! >= 0;
    if (equals(CONNECT, bytes, method, ends[PSEUDO.method]!)) {
      if (!this.isExtended) return this.#connectLine();
    } else if (this.isExtended) return false;
    if (starts[PSEUDO.scheme]! < 0 || starts[PSEUDO.path]! < 0) return false;
    const scheme = this.#text(PSEUDO.scheme);
    if (scheme !== 'https' && scheme !== 'http') return false;
    const path = starts[PSEUDO.path]!;
    // The asterisk is left to OPTIONS by the reader of the head.
    if (ends[PSEUDO.path] === path || (bytes[path] !== 47 && bytes[path] !== 42)) return false;
    if (this.isExtended) out.text('GET');
    else out.copy(bytes, method, ends[PSEUDO.method]!);
    out.text(' ');
    out.copy(bytes, path, ends[PSEUDO.path]!);
    out.text(' HTTP/1.1\r\n');
    return starts[PSEUDO.authority]! < 0 || this.#hostLine();
  }

  /** RFC 9113 §8.5: an authority, and nothing else. The reader of the head says what becomes of it. */
  #connectLine(): boolean {
    const starts = this.#starts;
    const authority = starts[PSEUDO.authority]!;
    if (authority < 0 || starts[PSEUDO.scheme]! >= 0 || starts[PSEUDO.path]! >= 0) return false;
    const out = this.message;
    out.text('CONNECT ');
    out.copy(this.#pseudo.bytes, authority, this.#ends[PSEUDO.authority]!);
    out.text(' HTTP/1.1\r\n');
    return this.#hostLine();
  }

  #hostLine(): boolean {
    const out = this.message;
    const { bytes } = this.#pseudo;
    const start = this.#starts[PSEUDO.authority]!;
    const end = this.#ends[PSEUDO.authority]!;
    if (end === start || isPadded(bytes, start, end)) return false;
    out.text('host: ');
    out.copy(bytes, start, end);
    out.line();
    this.lines++;
    return true;
  }

  /** RFC 9110 §7.2: there is one. */
  #isFirstHost(): boolean {
    const isFirst = !this.#hasHost;
    this.#hasHost = true;
    return isFirst;
  }

  /** RFC 9113 §8.3.1: where both are there they are the same, but for letters' case. */
  #isAuthority(value: Buffer, start: number, end: number): boolean {
    const from = this.#starts[PSEUDO.authority]!;
    const { bytes } = this.#pseudo;
    if (end - start !== this.#ends[PSEUDO.authority]! - from) return false;
    for (let i = 0; i < end - start; i++)
      if (LOWER[value[start + i]!] !== LOWER[bytes[from + i]!]) return false;
    return true;
  }

  /** RFC 9113 §8.2.3 */
  #crumb(value: Buffer, start: number, end: number): number {
    if (--this.#crumbsLeft < 0) return this.#stop('too large');
    if (this.#cookie.length > 0) this.#cookie.text('; ');
    this.#cookie.copy(value, start, end);
    return COOKIE;
  }

  #takeLength(value: Buffer, start: number, end: number): boolean {
    if (this.length >= 0 || end === start || end - start > 15) return false;
    let length = 0;
    for (let p = start; p < end; p++) {
      if (DIGIT[value[p]!] === 0) return false;
      length = length * 10 + value[p]! - 48;
    }
    this.length = length;
    return true;
  }

  /** All fields of trailers are here. @returns those that `passes`, each with its CRLF; undefined: they are malformed */
  trailers(passes: (name: string) => boolean): string | undefined {
    if (this.fault !== '') return undefined;
    return trailersIn(this.message, this.lines, passes);
  }

  /**
   * All fields are here: the head is in `message`.
   *
   * @param ended the request has no body
   * @param key of a WebSocket, should it be one
   */
  finish(ended: boolean, key: () => string): boolean {
    if (this.fault !== '') return false;
    if (!this.#hasFields && !this.#startLine()) return this.#malformed();
    const out = this.message;
    if (this.#cookie.length > 0) {
      out.text('cookie: ');
      out.copy(this.#cookie.bytes, 0, this.#cookie.length);
      out.line();
      this.lines++;
    }
    if (this.isExtended) {
      if (ended || this.length > 0) return this.#malformed();
      const { bytes } = this.#pseudo;
      this.isWebSocket = equals(
        WEBSOCKET,
        bytes,
        this.#starts[PSEUDO.protocol]!,
        this.#ends[PSEUDO.protocol]!,
      );
      out.text(
        `connection: upgrade\r\nupgrade: ${this.#text(PSEUDO.protocol)}\r\nsec-websocket-key: ${key()}\r\n`,
      );
      this.lines += 3;
    } else if (ended) {
      if (this.length > 0) return this.#malformed();
      if (this.length < 0 && WITH_BODY.has(this.#text(PSEUDO.method))) {
        out.text('content-length: 0\r\n');
        this.lines++;
      }
    } else if (this.length < 0) {
      out.text('transfer-encoding: chunked\r\n');
      this.lines++;
    }
    out.line();
    return true;
  }

  #malformed(): false {
    this.fault = 'malformed';
    return false;
  }

  #stop(fault: RequestFault): number {
    this.fault = fault;
    // For the log.
    if (!this.#hasFields && !this.#isTrailers) this.#startLine();
    return STOP;
  }
}

function kindOf(name: Buffer, start: number, end: number): number {
  if (!isFieldName(name, start, end)) return BANNED;
  if (end - start > LONGEST_SPECIAL) return PLAIN;
  return SPECIAL.get(name.latin1Slice(start, end)) ?? PLAIN;
}

function isToken(bytes: Buffer, start: number, end: number): boolean {
  for (let p = start; p < end; p++) if (TOKEN[bytes[p]!] === 0) return false;
  return start < end;
}

function isTrailers(value: Buffer, start: number, end: number): boolean {
  return value.latin1Slice(start, end).toLowerCase() === 'trailers';
}

function equals(known: Buffer, bytes: Buffer, start: number, end: number): boolean {
  if (end - start !== known.length) return false;
  for (let i = 0; i < known.length; i++) if (bytes[start + i] !== known[i]) return false;
  return true;
}

import { FIELD } from '../field-names.ts';
import type { Message } from '../message.ts';
import { type HttpRequest, UNKNOWN } from '../model.ts';
import { RequestEdits } from '../request-edits.ts';
import { BODY } from './body.ts';
import { ConnectionOptions } from './connection-options.ts';
import { writeAdded } from './edits.ts';
import { equalsIgnoreCase, FieldLines, type HeadFault, parseLength, spells } from './fields.ts';
import {
  ADDRESS,
  CLOSE_BRACKET,
  COLON,
  CR,
  DIGIT,
  DOT,
  HOST,
  LF,
  NAME,
  OPEN_BRACKET,
  QUESTION,
  SLASH,
  SP,
  TARGET,
  TOKEN,
} from './grammar.ts';

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE', 'CONNECT'];
const METHOD_BYTES = METHODS.map((name) => Buffer.from(name));

/** RFC 9110 §9.2.2: a request that may be sent again when nobody can tell whether it was carried out. */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

const NO_LINE = -1;
const SEVERAL_LINES = -2;

/**
 * One request head, parsed in place (RFC 9112). A worker has one instance and uses it within one read callback:
 * everything that outlives the callback is taken out as a string or number before.
 */
export class RequestHead implements HttpRequest {
  fault: HeadFault = '';
  /** Status that answers the fault. */
  status = 400;
  http10 = false;
  /** The client wants the connection kept. */
  keepAlive = true;
  /** The client asks to switch protocols, and may (RFC 9110 §7.8). */
  upgrade = false;
  expectContinue = false;
  body: 0 | 1 | 2 = BODY.none;
  contentLength = 0;
  method = '';
  /** Its path is what `matchedPath` makes of it. */
  plainPath = true;
  /** Method, target and protocol are known, whatever is wrong behind them. */
  started = false;
  /** Its reader says so. */
  scheme: 'http' | 'https' = 'http';
  readonly edits = new RequestEdits();

  readonly #fields: FieldLines;
  readonly #connection = new ConnectionOptions();
  #buffer: Buffer = Buffer.alloc(0);
  #lineStart = 0;
  /** Path and query as they are forwarded. */
  #targetStart = 0;
  #targetEnd = 0;
  #queryStart = 0;
  #hostStart = 0;
  #hostEnd = 0;
  #absolute = false;
  /** The start line is not sent on as it came. */
  #restarts = false;
  #upgradeLine = NO_LINE;
  #requestIdLine = -1;
  #takesTrailers = false;
  /** A bit for each id of `FIELD` that came. */
  #present = 0;
  /** All cookies, once somebody has asked for them. */
  #cookies: string | undefined;
  /** The last host that was asked for: mostly the next one, too. */
  #lastHost = '';

  constructor(maxFields: number) {
    this.#fields = new FieldLines(maxFields);
  }

  /**
   * @param maxFields field lines that this frontend allows
   * @returns offset after the head; 0: incomplete; -1: `fault` and `status` say why
   */
  parse(buffer: Buffer, start: number, end: number, maxFields: number): number {
    this.fault = '';
    this.status = 400;
    this.started = false;
    const p = afterEmptyLines(buffer, start, end);
    if (p < end && buffer[p] === CR) return p + 1 === end ? 0 : this.#fail('bare carriage return');
    this.#buffer = buffer;
    this.#lineStart = p;
    const fieldsStart = this.#startLine(buffer, p, end);
    if (fieldsStart <= 0) return fieldsStart;
    this.started = true;
    const after = this.#fields.parse(buffer, fieldsStart, end, maxFields, false);
    if (after > 0) return this.#judge(buffer) ? after : -1;
    if (after < 0) this.#fail(this.#fields.fault, this.#fields.fault === 'too many fields' ? 431 : 400);
    return after;
  }

  #startLine(buffer: Buffer, start: number, end: number): number {
    let p = start;
    while (p < end && TOKEN[buffer[p]!] === 1) p++;
    if (p >= end) return p - start > 32 ? this.#fail('invalid method') : 0;
    if (buffer[p] !== SP || p === start || p - start > 32)
      return this.#fail(buffer[p] === LF ? 'bare line feed' : 'invalid method');
    this.method = methodOf(buffer, start, p);
    const targetStart = ++p;
    let query = -1;
    this.plainPath = true;
    for (; p < end; p++) {
      const byte = buffer[p]!;
      const kind = TARGET[byte];
      if (kind === 1) continue;
      if (kind === 0) break;
      if (query >= 0) continue;
      if (byte === QUESTION) query = p;
      // One behind a slash: `//` and `/.` are not plain.
      else if (byte === SLASH || byte === DOT ? buffer[p - 1] === SLASH : true) this.plainPath = false;
    }
    if (p >= end) return 0;
    if (buffer[p] !== SP || p === targetStart)
      return this.#fail(buffer[p] === LF ? 'bare line feed' : 'invalid target');
    const targetEnd = p++;
    // "HTTP/1.x" CR LF
    if (p + 10 > end) return this.#shortVersion(buffer, p, end);
    if (!isHttp1(buffer, p)) return this.#fail('unsupported HTTP version', isHttp(buffer, p) ? 505 : 400);
    const minor = buffer[p + 7]!;
    this.http10 = minor === 48;
    // RFC 9112 §2.3: the version is that of the sender of this hop.
    this.#restarts = minor !== 49;
    p += 8;
    if (buffer[p] !== CR) return this.#fail(buffer[p] === LF ? 'bare line feed' : 'invalid start line');
    if (buffer[p + 1] !== LF) return this.#fail('bare carriage return');
    this.#targetStart = targetStart;
    this.#targetEnd = targetEnd;
    this.#queryStart = query < 0 ? targetEnd : query;
    return this.#form(buffer, targetStart, targetEnd) ? p + 2 : -1;
  }

  /** Fewer bytes than a version takes: wrong already, or just not here yet? */
  #shortVersion(buffer: Buffer, start: number, end: number): number {
    const expected = 'HTTP/1.';
    for (let i = 0; i < end - start; i++) {
      const byte = buffer[start + i]!;
      if (i < 7 && byte !== expected.charCodeAt(i))
        return this.#fail('unsupported HTTP version', i < 'HTTP/'.length ? 400 : 505);
      if (byte === LF) return this.#fail('bare line feed');
    }
    return 0;
  }

  /** RFC 9112 §3.2: which form of target. Sets where path and host are. */
  #form(buffer: Buffer, start: number, end: number): boolean {
    this.#absolute = false;
    this.#hostStart = this.#hostEnd = -1;
    if (this.method === 'CONNECT') return this.#refuse('CONNECT is not supported', 501);
    if (buffer[start] === 47) return true;
    if (buffer[start] === 42 && end === start + 1 && this.method === 'OPTIONS') return true;
    const scheme = schemeLength(buffer, start, end);
    if (scheme === 0) return this.#refuse('invalid target', 400);
    let p = start + scheme;
    this.#hostStart = p;
    while (p < end && HOST[buffer[p]!] === 1) p++;
    this.#hostEnd = p;
    if ((p < end && buffer[p] !== 47 && buffer[p] !== 63) || !validHost(buffer, this.#hostStart, p, false))
      return this.#refuse('invalid target', 400);
    this.#absolute = this.#restarts = true;
    this.#targetStart = p;
    return true;
  }

  /** Looks at the fields that matter to a proxy and settles framing. */
  #judge(buffer: Buffer): boolean {
    const fields = this.#fields;
    const connection = this.#connection;
    connection.clear();
    this.upgrade = false;
    this.expectContinue = false;
    this.body = BODY.none;
    this.contentLength = 0;
    this.#upgradeLine = NO_LINE;
    this.#requestIdLine = -1;
    this.#takesTrailers = false;
    this.#present = 0;
    this.#cookies = undefined;
    this.edits.clear();
    let hosts = 0;
    let lengths = 0;
    let codings = 0;
    for (let line = 0; line < fields.count; line++) {
      const id = fields.id(line);
      this.#present |= 1 << id;
      switch (id) {
        case FIELD.host:
          if (++hosts > 1) return this.#refuse('repeated Host');
          if (!validHost(buffer, fields.valueStart(line), fields.valueEnd(line), this.http10))
            return this.#refuse('invalid Host');
          if (!this.#absolute) {
            this.#hostStart = fields.valueStart(line);
            this.#hostEnd = fields.valueEnd(line);
          }
          break;
        case FIELD.contentLength:
          if (++lengths > 1) return this.#refuse('differing Content-Length');
          this.contentLength = parseLength(buffer, fields.valueStart(line), fields.valueEnd(line));
          if (this.contentLength < 0) return this.#refuse('invalid Content-Length');
          break;
        case FIELD.transferEncoding:
          if (++codings > 1) return this.#refuse('repeated Transfer-Encoding');
          if (!equalsIgnoreCase(buffer, fields.valueStart(line), fields.valueEnd(line), 'chunked'))
            return this.#refuse('unsupported Transfer-Encoding', 501);
          break;
        case FIELD.connection:
          connection.read(buffer, fields.valueStart(line), fields.valueEnd(line));
          break;
        case FIELD.upgrade:
          this.#upgradeLine = this.#upgradeLine === NO_LINE ? line : SEVERAL_LINES;
          break;
        case FIELD.te:
          this.#takesTrailers ||= !this.http10 && this.#namesTrailers(buffer, line);
          break;
        case FIELD.expect:
          if (!equalsIgnoreCase(buffer, fields.valueStart(line), fields.valueEnd(line), '100-continue'))
            return this.#refuse('unsupported Expect', 417);
          this.expectContinue = !this.http10;
          break;
        case FIELD.requestId:
          this.#requestIdLine = line;
          break;
        case FIELD.lookalike:
          return this.#refuse('another character in place of a hyphen');
      }
    }
    if (hosts === 0 && !this.http10) return this.#refuse('missing Host');
    if (codings > 0) {
      if (this.http10) return this.#refuse('Transfer-Encoding in HTTP/1.0');
      if (lengths > 0) return this.#refuse('Transfer-Encoding with Content-Length');
      this.body = BODY.chunked;
    } else if (this.contentLength > 0) this.body = BODY.length;
    this.keepAlive = !connection.close && (!this.http10 || connection.keepAlive);
    // An upgrade with a body, or to HTTP/2 in the clear, would let a client talk past the proxy's checks.
    if (connection.upgrade)
      this.upgrade =
        !this.http10 &&
        this.#upgradeLine >= 0 &&
        this.body === BODY.none &&
        !this.#isH2c(buffer, this.#upgradeLine);
    return true;
  }

  #isH2c(buffer: Buffer, line: number): boolean {
    return /(^|[\s,])h2c?([\s,]|$)/i.test(
      buffer.latin1Slice(this.#fields.valueStart(line), this.#fields.valueEnd(line)),
    );
  }

  /** RFC 9110 §10.1.4 */
  #namesTrailers(buffer: Buffer, line: number): boolean {
    return /(^|,)[ \t]*trailers[ \t]*(,|$)/i.test(
      buffer.latin1Slice(this.#fields.valueStart(line), this.#fields.valueEnd(line)),
    );
  }

  /** Field lines that came. */
  get fieldCount(): number {
    return this.#fields.count;
  }

  get host(): string {
    const host = this.authority.toLowerCase();
    const colon = host.lastIndexOf(':');
    return colon > host.lastIndexOf(']') ? host.slice(0, colon) : host;
  }

  /** Path and query as they are forwarded; `*` of OPTIONS. */
  get protocol(): string {
    return this.http10 ? 'HTTP/1.0' : 'HTTP/1.1';
  }

  get target(): string {
    return this.#targetStart === this.#targetEnd
      ? '/'
      : this.#buffer.latin1Slice(this.#targetStart, this.#targetEnd);
  }

  get path(): string {
    const { target } = this.edits;
    if (target !== undefined) return target.split('?', 1)[0]!;
    const path = this.#buffer.latin1Slice(this.#targetStart, this.#queryStart);
    return path === '' ? '/' : path;
  }

  get query(): string {
    const { target } = this.edits;
    if (target !== undefined) return target.includes('?') ? target.slice(target.indexOf('?') + 1) : '';
    return this.#queryStart < this.#targetEnd
      ? this.#buffer.latin1Slice(this.#queryStart + 1, this.#targetEnd)
      : '';
  }

  get authority(): string {
    if (this.edits.removesKnown(FIELD.host)) return this.edits.added('host') ?? '';
    if (this.#hostStart < 0) return '';
    if (!spells(this.#buffer, this.#hostStart, this.#hostEnd, this.#lastHost))
      this.#lastHost = this.#buffer.latin1Slice(this.#hostStart, this.#hostEnd);
    return this.#lastHost;
  }

  get length(): number {
    return this.body === BODY.chunked ? UNKNOWN : this.contentLength;
  }

  has(id: number): boolean {
    return (this.#present & (1 << id)) !== 0;
  }

  header(name: string): string | undefined {
    return this.edits.over(name, this);
  }

  sent(name: string): string | undefined {
    if (name !== 'cookie') return this.#fields.text(this.#buffer, name, ', ');
    if (this.has(FIELD.cookie)) this.#cookies ??= this.#fields.text(this.#buffer, name, '; ');
    return this.#cookies;
  }

  endsHere(name: string): boolean {
    return this.#connection.names(name);
  }

  get idempotent(): boolean {
    return IDEMPOTENT.has(this.method);
  }

  /** The client's own request id, where it sent a usable one (visible ASCII, at most 128 bytes). */
  get requestId(): string | undefined {
    if (this.#requestIdLine < 0) return undefined;
    const start = this.#fields.valueStart(this.#requestIdLine);
    const end = this.#fields.valueEnd(this.#requestIdLine);
    if (end === start || end - start > 128) return undefined;
    const id = this.#buffer.latin1Slice(start, end);
    return /^[\x21-\x7e]+$/.test(id) ? id : undefined;
  }

  render(out: Message, fallbackHost: string): void {
    out.clear();
    const fields = this.#fields;
    const buffer = this.#buffer;
    const { edits } = this;
    const asksAll = this.#connection.namesFields || edits.removesOthers;
    let run = this.#lineStart;
    const restarts = this.#restarts || edits.target !== undefined;
    if (restarts) {
      const target = edits.target ?? buffer.latin1Slice(this.#targetStart, this.#targetEnd);
      // RFC 9112 §3.2.4: an absolute target without path means the server as a whole to OPTIONS, else its root.
      const root = this.method === 'OPTIONS' && target === '' ? '*' : '/';
      out.text(
        `${this.method} ${target.startsWith('/') || target === '*' ? target : `${root}${target}`} HTTP/1.1\r\n`,
      );
      if (!edits.removesKnown(FIELD.host)) out.text(`Host: ${this.authority || fallbackHost}\r\n`);
      run = fields.count > 0 ? fields.lineStart(0) : -1;
    }
    let last = run;
    for (let line = 0; line < fields.count; line++) {
      const id = fields.id(line);
      last = fields.lineEnd(line);
      if (id === FIELD.other && !asksAll) continue;
      if (id === FIELD.host ? !restarts && !edits.removesKnown(id) : !this.#strips(line, id)) continue;
      const lineStart = fields.lineStart(line);
      if (lineStart > run) out.copy(buffer, run, lineStart);
      run = last;
    }
    if (fields.count === 0 && run >= 0) out.copy(buffer, run, this.#startLineEnd());
    else if (last > run) out.copy(buffer, run, last);
    if (this.body === BODY.chunked) out.text('Transfer-Encoding: chunked\r\n');
    if (this.upgrade) {
      out.text('Connection: upgrade\r\nUpgrade: ');
      out.copy(buffer, fields.valueStart(this.#upgradeLine), fields.valueEnd(this.#upgradeLine));
      out.line();
    }
    // Of this hop, and said anew because trailers pass. With an upgrade there are backends that know no other option beside it.
    else if (this.#takesTrailers) out.text('Connection: TE\r\nTE: trailers\r\n');
    writeAdded(out, edits);
    out.line();
  }

  #startLineEnd(): number {
    return this.#buffer.indexOf(LF, this.#targetEnd) + 1;
  }

  /** Host, Content-Length and Transfer-Encoding never go because Connection names them: GHSA-ggv3-7p47-pfv8. */
  #strips(line: number, id: number): boolean {
    switch (id) {
      case FIELD.connection:
      case FIELD.keepAlive:
      case FIELD.proxyConnection:
      case FIELD.te:
      case FIELD.upgrade:
      case FIELD.transferEncoding:
        return true;
      case FIELD.contentLength:
        return false;
      case FIELD.expect:
        return !this.expectContinue;
      case FIELD.trailer:
        if (this.body !== BODY.chunked) return true;
        break;
      case FIELD.other:
        break;
      case FIELD.forwardedFor:
      case FIELD.forwardedProto:
      case FIELD.forwardedHost:
      case FIELD.forwarded:
      case FIELD.requestId:
      case FIELD.cdnLoop:
        // Who asked, and which way it went, never go because Connection names them either.
        return this.edits.removesKnown(id);
      default:
        if (this.edits.removesKnown(id)) return true;
    }
    const { edits } = this;
    if (!this.#connection.namesFields && !edits.removesOthers) return false;
    const fields = this.#fields;
    const name = this.#buffer.latin1Slice(fields.lineStart(line), fields.nameEnd(line)).toLowerCase();
    return this.#connection.names(name) || edits.removesOther(name);
  }

  #fail(fault: HeadFault, status = 400): -1 {
    this.fault = fault;
    this.status = status;
    return -1;
  }

  #refuse(fault: HeadFault, status = 400): false {
    this.#fail(fault, status);
    return false;
  }
}

/**
 * RFC 9112 §2.2: empty lines before a request are passed over; old clients send them after a body.
 *
 * @returns offset of the first byte that is of no whole empty line
 */
export function afterEmptyLines(buffer: Buffer, start: number, end: number): number {
  let p = start;
  while (p + 1 < end && buffer[p] === CR && buffer[p + 1] === LF) p += 2;
  return p;
}

function methodOf(buffer: Buffer, start: number, end: number): string {
  for (let m = 0; m < METHODS.length; m++) {
    const bytes = METHOD_BYTES[m]!;
    if (bytes.length !== end - start || bytes[0] !== buffer[start]) continue;
    let i = 1;
    while (i < bytes.length && bytes[i] === buffer[start + i]) i++;
    if (i === bytes.length) return METHODS[m]!;
  }
  return buffer.latin1Slice(start, end);
}

function isHttp(buffer: Buffer, p: number): boolean {
  return (
    buffer[p] === 72 &&
    buffer[p + 1] === 84 &&
    buffer[p + 2] === 84 &&
    buffer[p + 3] === 80 &&
    buffer[p + 4] === 47
  );
}

function isHttp1(buffer: Buffer, p: number): boolean {
  const minor = buffer[p + 7]!;
  return isHttp(buffer, p) && buffer[p + 5] === 49 && buffer[p + 6] === 46 && minor >= 48 && minor <= 57;
}

function schemeLength(buffer: Buffer, start: number, end: number): number {
  if (equalsIgnoreCase(buffer, start, Math.min(end, start + 7), 'http://')) return 7;
  if (equalsIgnoreCase(buffer, start, Math.min(end, start + 8), 'https://')) return 8;
  return 0;
}

/** RFC 3986 §3.2.3: the port may be empty. An empty Host is only fit for targets without an authority; HTTP/1.0 clients send it and mean nothing. */
function validHost(buffer: Buffer, start: number, end: number, http10: boolean): boolean {
  if (start === end) return http10;
  let p = start;
  if (buffer[p] === OPEN_BRACKET) {
    p++;
    while (p < end && ADDRESS[buffer[p]!] === 1) p++;
    if (p === start + 1 || p === end || buffer[p++] !== CLOSE_BRACKET) return false;
  } else {
    while (p < end && NAME[buffer[p]!] === 1) p++;
    if (p === start) return false;
  }
  if (p === end) return true;
  const digits = end - p - 1;
  if (buffer[p++] !== COLON || digits > 5) return false;
  while (p < end && DIGIT[buffer[p]!] === 1) p++;
  return p === end;
}

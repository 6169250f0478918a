import type { LoggedRequest } from '../../route/facts.ts';
import { withoutCookie } from '../../route/router.ts';
import { identityIn } from '../../tls/client-identity.ts';
import type { Believed } from '../client-behind.ts';
import type { Added } from '../forwarded-fields.ts';
import { ConnectionOptions } from './connection-options.ts';
import { equalsIgnoreCase, FIELD, FieldLines, type HeadFault, parseLength } from './fields.ts';
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
import type { Message } from './message.ts';

/** How the body of a message is delimited (RFC 9112 §6). */
export const BODY = { none: 0, length: 1, chunked: 2, untilClose: 3 } as const;

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE', 'CONNECT'];
const METHOD_BYTES = METHODS.map((name) => Buffer.from(name));

/** RFC 9110 §9.2.2: a request that may be sent again when nobody can tell whether it was carried out. */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

const NO_LINE = -1;
const SEVERAL_LINES = -2;

/** Who sent a request, as its backend is told. */
export interface Sender {
  /** Address of the client. */
  readonly address: string;
  /** What the client spoke. */
  readonly scheme: 'http' | 'https';
  /** Line about the certificate that the client has shown, with its CRLF; or empty. */
  readonly identity: string;
  /** See `forwardedLines`. */
  readonly forwarded: Buffer;
  /** Line that says which frontend has passed the request on, with its CRLF; see `RequestHead.passedBy`. */
  readonly loopLine: string;
  /** What of the request's own words about its client counts. */
  readonly believed: Believed;
  readonly added: Added;
}

/**
 * One request head, parsed in place (RFC 9112). A worker has one instance and uses it within one read callback:
 * everything that outlives the callback is taken out as a string or number before.
 */
export class RequestHead implements LoggedRequest {
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
  /** It has a CDN-Loop field (RFC 8586). */
  looped = false;

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
  #saysHost = false;
  /** Set by `from`. */
  #sender: Sender | undefined;

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
    this.looped = false;
    this.body = BODY.none;
    this.contentLength = 0;
    this.#upgradeLine = NO_LINE;
    this.#requestIdLine = -1;
    this.#saysHost = false;
    this.#sender = undefined;
    let hosts = 0;
    let lengths = 0;
    let codings = 0;
    for (let line = 0; line < fields.count; line++) {
      switch (fields.id(line)) {
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
        case FIELD.expect:
          if (!equalsIgnoreCase(buffer, fields.valueStart(line), fields.valueEnd(line), '100-continue'))
            return this.#refuse('unsupported Expect', 417);
          this.expectContinue = !this.http10;
          break;
        case FIELD.requestId:
          this.#requestIdLine = line;
          break;
        case FIELD.forwardedHost:
          this.#saysHost = true;
          break;
        case FIELD.cdnLoop:
          this.looped = true;
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

  get host(): string {
    if (this.#hostStart < 0) return '';
    const host = this.#buffer.latin1Slice(this.#hostStart, this.#hostEnd).toLowerCase();
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
    const path = this.#buffer.latin1Slice(this.#targetStart, this.#queryStart);
    return path === '' ? '/' : path;
  }

  get query(): string {
    return this.#queryStart < this.#targetEnd
      ? this.#buffer.latin1Slice(this.#queryStart + 1, this.#targetEnd)
      : '';
  }

  header(name: string): string | undefined {
    if (this.#sender === undefined) return this.#sent(name);
    if (this.#connection.reserves(name)) return identityIn(this.#sender.identity, name);
    switch (name) {
      case 'x-forwarded-for':
      case 'x-forwarded-proto':
      case 'x-forwarded-host':
      case 'forwarded':
        return this.#forwarded(this.#sender, name);
      default:
        return this.#sent(name);
    }
  }

  /** What the backend is told, of fields that only who is trusted may send. */
  #forwarded({ believed, added, address, scheme }: Sender, name: string): string | undefined {
    if (name === 'forwarded') return believed === 'forwarded' ? this.#sent(name) : undefined;
    const sent = believed === 'x-forwarded' ? this.#sent(name) : undefined;
    if (sent !== undefined) return sent;
    if (name === 'x-forwarded-for') return added.for ? address : undefined;
    if (name === 'x-forwarded-proto') return added.proto ? scheme : undefined;
    return added.host && this.#hostEnd > this.#hostStart
      ? this.#buffer.latin1Slice(this.#hostStart, this.#hostEnd)
      : undefined;
  }

  #sent(name: string): string | undefined {
    const fields = this.#fields;
    const buffer = this.#buffer;
    const isCookie = name === 'cookie';
    let value: string | undefined;
    for (let line = 0; line < fields.count; line++) {
      const named = isCookie
        ? fields.id(line) === FIELD.cookie
        : equalsIgnoreCase(buffer, fields.lineStart(line), fields.nameEnd(line), name);
      if (!named) continue;
      const text = buffer.latin1Slice(fields.valueStart(line), fields.valueEnd(line));
      value = value === undefined ? text : `${value}${isCookie ? '; ' : ', '}${text}`;
    }
    return value;
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

  /**
   * Whether a frontend is among those that a CDN-Loop field names (RFC 8586): the request has come round.
   *
   * @param id see `loopId`
   */
  passedBy(id: string): boolean {
    const passed = this.header('cdn-loop');
    return passed?.split(',').some((entry) => entry.split(';', 1)[0]!.trim() === id) ?? false;
  }

  /**
   * Says whose request it is. From here on `header` and `render` know of fields that a client may not send only what is
   * true.
   *
   * @param reserved fields that no client may send, see `ConnectionOptions.reserve`
   */
  from(sender: Sender, reserved: ReadonlySet<string> | undefined): void {
    this.#sender = sender;
    if (reserved !== undefined) this.#connection.reserve(reserved);
  }

  /**
   * The head as the backend gets it: fields of this hop taken out (RFC 9110 §7.6.1), framing said anew, who
   * asked added.
   *
   * @param out takes it, and nothing else
   * @param requestId ours, or the client's own
   * @param fallbackHost Host where an HTTP/1.0 client sent none
   * @param ownCookie name of a cookie that the backend does not get; empty: it gets all
   */
  render(out: Message, sender: Sender, requestId: string, fallbackHost: string, ownCookie = ''): void {
    out.clear();
    const fields = this.#fields;
    const buffer = this.#buffer;
    const names = this.#connection.namesFields;
    let run = this.#lineStart;
    if (this.#restarts) {
      const target = buffer.latin1Slice(this.#targetStart, this.#targetEnd);
      // RFC 9112 §3.2.4: an absolute target without path means the server as a whole to OPTIONS, else its root.
      const root = this.method === 'OPTIONS' && target === '' ? '*' : '/';
      out.text(
        `${this.method} ${target.startsWith('/') || target === '*' ? target : `${root}${target}`} HTTP/1.1\r\n`,
      );
      const host = this.#hostStart < 0 ? '' : buffer.latin1Slice(this.#hostStart, this.#hostEnd);
      out.text(`Host: ${host || fallbackHost}\r\n`);
      run = fields.count > 0 ? fields.lineStart(0) : -1;
    }
    let last = run;
    for (let line = 0; line < fields.count; line++) {
      const id = fields.id(line);
      last = fields.lineEnd(line);
      if (id === FIELD.other && !names) continue;
      if (!this.#strips(line, id, sender)) {
        if (id !== FIELD.cookie || ownCookie === '') continue;
        const sent = buffer.latin1Slice(fields.valueStart(line), fields.valueEnd(line));
        const kept = withoutCookie(sent, ownCookie);
        if (kept === sent) continue;
        out.copy(buffer, run, fields.lineStart(line));
        if (kept !== '') out.text(`Cookie: ${kept}\r\n`);
        run = last;
        continue;
      }
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
    out.copy(sender.forwarded, 0, sender.forwarded.length);
    const { believed, added } = sender;
    const tellsHost = added.host && !(this.#saysHost && believed === 'x-forwarded');
    if (tellsHost && this.#hostEnd > this.#hostStart) {
      out.text('X-Forwarded-Host: ');
      out.copy(buffer, this.#hostStart, this.#hostEnd);
      out.line();
    }
    if (added.requestId) {
      out.text('X-Request-Id: ');
      out.text(requestId);
      out.line();
    }
    if (sender.identity !== '') out.text(sender.identity);
    // Of a client's own request nobody has to be told; one that has a request id has passed a proxy, maybe this one.
    if (added.loop && (this.#requestIdLine >= 0 || !added.requestId)) out.text(sender.loopLine);
    out.line();
  }

  #startLineEnd(): number {
    return this.#buffer.indexOf(LF, this.#targetEnd) + 1;
  }

  /** Host, Content-Length and Transfer-Encoding never go because Connection names them: GHSA-ggv3-7p47-pfv8. */
  #strips(line: number, id: number, sender: Sender): boolean {
    switch (id) {
      case FIELD.host:
        return this.#restarts;
      case FIELD.connection:
      case FIELD.keepAlive:
      case FIELD.proxyConnection:
      case FIELD.te:
      case FIELD.upgrade:
      case FIELD.transferEncoding:
        return true;
      case FIELD.forwardedFor:
        return sender.added.for || sender.believed !== 'x-forwarded';
      case FIELD.forwardedProto:
      case FIELD.forwardedHost:
        return sender.believed !== 'x-forwarded';
      case FIELD.forwarded:
        return sender.believed !== 'forwarded';
      case FIELD.requestId:
        return sender.added.requestId;
      case FIELD.contentLength:
      case FIELD.cdnLoop:
        return false;
      case FIELD.expect:
        return !this.expectContinue;
      case FIELD.trailer:
        if (this.body !== BODY.chunked) return true;
        break;
    }
    return this.#connection.names(this.#buffer, this.#fields.lineStart(line), this.#fields.nameEnd(line));
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

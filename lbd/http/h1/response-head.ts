import { FieldEdits } from '../edits.ts';
import { FIELD } from '../field-names.ts';
import type { Message } from '../message.ts';
import { type FieldSink, type HttpAnswer, UNKNOWN } from '../model.ts';
import { BODY } from './body.ts';
import { ConnectionOptions } from './connection-options.ts';
import { writeAdded } from './edits.ts';
import { equalsIgnoreCase, FieldLines, type HeadFault, parseLength } from './fields.ts';
import { COLON, CR, FIELD_VALUE, LF, SP } from './grammar.ts';

/**
 * One response head from a backend, parsed in place as strictly as a request (RFC 9112 §4): a backend that
 * frames its answer ambiguously is a way to poison the connections of other clients.
 */
export class ResponseHead implements HttpAnswer {
  fault: HeadFault = '';
  status = 0;
  /** The backend keeps the connection. */
  keepAlive = true;
  body: 0 | 1 | 2 | 3 = BODY.none;
  contentLength = 0;
  /** There is no body, because the request was HEAD or nothing has changed, but the fields give the size of one. */
  doubtful = false;
  readonly edits = new FieldEdits();

  readonly #fields: FieldLines;
  readonly #connection = new ConnectionOptions();
  #buffer: Buffer = Buffer.alloc(0);
  #statusStart = 0;
  #fieldsStart = 0;
  #minor = 1;
  /** A bit for each id of `FIELD` that came. */
  #present = 0;
  #hasLength = false;
  #chunked = false;

  constructor(maxFields: number) {
    this.#fields = new FieldLines(maxFields);
  }

  /**
   * @param toHead the request was HEAD: no body, whatever the fields say
   * @returns offset after the head; 0: incomplete; -1: `fault` says why
   */
  parse(buffer: Buffer, start: number, end: number, maxFields: number, toHead: boolean): number {
    this.fault = '';
    this.#buffer = buffer;
    if (end - start < 13) return 0;
    if (
      buffer[start] !== 72 ||
      buffer[start + 1] !== 84 ||
      buffer[start + 2] !== 84 ||
      buffer[start + 3] !== 80 ||
      buffer[start + 4] !== 47 ||
      buffer[start + 5] !== 49 ||
      buffer[start + 6] !== 46
    )
      return this.#fail('invalid start line');
    const minor = buffer[start + 7]!;
    if (minor < 48 || minor > 57 || buffer[start + 8] !== SP) return this.#fail('unsupported HTTP version');
    this.#minor = minor - 48;
    let status = 0;
    for (let p = start + 9; p < start + 12; p++) {
      const digit = buffer[p]! - 48;
      if (digit < 0 || digit > 9) return this.#fail('invalid status');
      status = status * 10 + digit;
    }
    // RFC 9110 §15: no class is above 5xx; what is passes and counts as one of them.
    if (status < 100) return this.#fail('invalid status');
    let p = start + 12;
    // The space before an empty reason is often left out.
    if (buffer[p] !== SP && buffer[p] !== CR) return this.#fail('invalid status');
    while (p < end && FIELD_VALUE[buffer[p]!] === 1) p++;
    if (p + 1 >= end) return 0;
    if (buffer[p] !== CR) return this.#fail(buffer[p] === LF ? 'bare line feed' : 'invalid start line');
    if (buffer[p + 1] !== LF) return this.#fail('bare carriage return');
    this.status = status;
    this.#statusStart = start + 9;
    this.#fieldsStart = p + 2;
    const after = this.#fields.parse(buffer, p + 2, end, maxFields, true);
    if (after < 0) return this.#fail(this.#fields.fault);
    return after === 0 ? 0 : this.#judge(buffer, toHead) ? after : -1;
  }

  #judge(buffer: Buffer, toHead: boolean): boolean {
    const fields = this.#fields;
    this.#connection.clear();
    this.#hasLength = false;
    this.#chunked = false;
    this.contentLength = 0;
    this.#present = 0;
    this.edits.clear();
    for (let line = 0; line < fields.count; line++) {
      const id = fields.id(line);
      this.#present |= 1 << id;
      switch (id) {
        case FIELD.contentLength:
          if (this.#hasLength) return this.#refuse('differing Content-Length');
          this.#hasLength = true;
          this.contentLength = parseLength(buffer, fields.valueStart(line), fields.valueEnd(line));
          if (this.contentLength < 0) return this.#refuse('invalid Content-Length');
          break;
        case FIELD.transferEncoding:
          if (this.#chunked) return this.#refuse('repeated Transfer-Encoding');
          if (!equalsIgnoreCase(buffer, fields.valueStart(line), fields.valueEnd(line), 'chunked'))
            return this.#refuse('unsupported Transfer-Encoding');
          this.#chunked = true;
          break;
        case FIELD.connection:
          this.#connection.read(buffer, fields.valueStart(line), fields.valueEnd(line));
          break;
      }
    }
    this.keepAlive = !this.#connection.close && (this.#minor > 0 || this.#connection.keepAlive);
    if (this.#chunked) {
      if (this.#minor === 0) return this.#refuse('Transfer-Encoding in HTTP/1.0');
      if (this.#hasLength) return this.#refuse('Transfer-Encoding with Content-Length');
    }
    // RFC 9112 §6.1, RFC 9110 §8.6: a server must not; parsers differ on whether a body follows.
    if (this.status < 200 && (this.#chunked || this.contentLength > 0))
      return this.#refuse('framing in a 1xx response');
    // RFC 9110 §8.6, RFC 9112 §6.1: there is no body, but this backend may send one, and to whom would it go?
    if (this.status === 204 && (this.#chunked || this.contentLength > 0)) this.keepAlive = false;
    this.doubtful = (toHead || this.status === 304) && (this.#chunked || this.contentLength > 0);
    if (toHead || this.status < 200 || this.status === 204 || this.status === 304) this.body = BODY.none;
    else if (this.#chunked) this.body = BODY.chunked;
    else if (this.#hasLength) this.body = this.contentLength > 0 ? BODY.length : BODY.none;
    else {
      this.body = BODY.untilClose;
      this.keepAlive = false;
    }
    return true;
  }

  get fieldCount(): number {
    return this.#fields.count;
  }

  get length(): number {
    if (this.body === BODY.none) return 0;
    return this.body === BODY.length ? this.contentLength : UNKNOWN;
  }

  has(id: number): boolean {
    return (this.#present & (1 << id)) !== 0;
  }

  header(name: string): string | undefined {
    return this.edits.over(name, this);
  }

  sent(name: string): string | undefined {
    return this.#fields.text(this.#buffer, name, ', ');
  }

  /** Value of a cookie that this response sets, or undefined. */
  cookie(name: string): string | undefined {
    if (!this.has(FIELD.setCookie)) return undefined;
    const fields = this.#fields;
    for (let line = 0; line < fields.count; line++) {
      if (fields.id(line) !== FIELD.setCookie) continue;
      const text = this.#buffer.latin1Slice(fields.valueStart(line), fields.valueEnd(line));
      const semicolon = text.indexOf(';');
      const pair = semicolon < 0 ? text : text.slice(0, semicolon);
      const equals = pair.indexOf('=');
      if (equals > 0 && pair.slice(0, equals).trimEnd() === name) return pair.slice(equals + 1).trim();
    }
    return undefined;
  }

  fields(out: FieldSink, trailed: boolean): void {
    const fields = this.#fields;
    for (let line = 0; line < fields.count; line++) {
      const id = fields.id(line);
      if (this.#strips(line, id, false, trailed)) continue;
      out.came(
        this.#buffer,
        fields.lineStart(line),
        fields.nameEnd(line),
        fields.valueStart(line),
        fields.valueEnd(line),
        id,
      );
    }
    this.edits.addTo(out);
  }

  /**
   * As `fields`, but whole, as a client of HTTP/1 gets it: most of it is copied in runs of lines.
   *
   * @param out takes it, and nothing else
   * @param extra further lines, each with its CRLF: `Connection`, `Transfer-Encoding`
   * @param upgraded keep Upgrade: this is the 101 that the client asked for
   */
  render(out: Message, extra: string, upgraded: boolean, trailed: boolean): void {
    out.clear();
    const fields = this.#fields;
    const buffer = this.#buffer;
    const { edits } = this;
    const asksAll =
      this.#connection.namesFields || edits.removesOthers || edits.removesKnown(FIELD.date) || fields.loose;
    let run = this.#statusStart - 9;
    // RFC 9112 §2.3: the version is that of the sender of this hop.
    if (this.#minor !== 1) {
      out.text('HTTP/1.1 ');
      run = this.#statusStart;
    }
    for (let line = 0; line < fields.count; line++) {
      const id = fields.id(line);
      if ((id === FIELD.other || id === FIELD.date) && !asksAll) continue;
      const strips = this.#strips(line, id, upgraded, trailed);
      if (!strips && buffer[fields.nameEnd(line)] === COLON) continue;
      const lineStart = fields.lineStart(line);
      if (lineStart > run) out.copy(buffer, run, lineStart);
      // RFC 9112 §5.1: white space before the colon does not leave the proxy.
      if (!strips) {
        out.copy(buffer, lineStart, fields.nameEnd(line));
        out.text(': ');
        out.copy(buffer, fields.valueStart(line), fields.valueEnd(line));
        out.line();
      }
      run = fields.lineEnd(line);
    }
    const end = fields.count > 0 ? fields.lineEnd(fields.count - 1) : this.#fieldsStart;
    if (end > run) out.copy(buffer, run, end);
    writeAdded(out, edits);
    if (extra !== '') out.text(extra);
    out.line();
  }

  #strips(line: number, id: number, upgraded: boolean, trailed: boolean): boolean {
    switch (id) {
      case FIELD.connection:
      case FIELD.keepAlive:
      case FIELD.proxyConnection:
      case FIELD.te:
      case FIELD.transferEncoding:
        return true;
      case FIELD.contentLength:
        // RFC 9110 §8.6: not in a 1xx or 204.
        return this.status < 200 || this.status === 204 || this.edits.removesKnown(id);
      case FIELD.upgrade:
        return !upgraded;
      case FIELD.trailer:
        if (!trailed || this.body !== BODY.chunked) return true;
        break;
    }
    const { edits } = this;
    if (id !== FIELD.other && edits.removesKnown(id)) return true;
    if (!this.#connection.namesFields && !edits.removesOthers) return false;
    const fields = this.#fields;
    const name = this.#buffer.latin1Slice(fields.lineStart(line), fields.nameEnd(line)).toLowerCase();
    return this.#connection.names(name) || edits.removesOther(name);
  }

  #fail(fault: HeadFault): -1 {
    this.fault = fault;
    return -1;
  }

  #refuse(fault: HeadFault): false {
    this.fault = fault;
    return false;
  }
}

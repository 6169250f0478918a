import { equalsIgnoreCase } from '../h1/fields.ts';
import { COLON, DIGIT } from '../h1/grammar.ts';
import { Message } from '../message.ts';
import { FIELD_OVERHEAD, isFieldName, isPadded, trailersIn, writeLine } from './field-lines.ts';
import { type FieldSink, STOP } from './hpack/decoder.ts';

const STATUS = ':status';
const HEAD_BYTES = 2048;
/** As a note of the decoder, so that a name is looked at once. */
const PLAIN = 1;
const LENGTH = 2;
/** By their length, RFC 9113 §8.2.2: nothing of the kind is in HTTP/2. */
const BANNED: readonly (readonly string[])[] = (() => {
  const byLength: string[][] = Array.from({ length: 18 }, () => []);
  for (const name of ['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade'])
    byLength[name.length]!.push(name);
  return byLength;
})();

/** What is wrong with the fields of an answer or of its trailers. */
export type ResponseFault = '' | 'malformed' | 'too large';

/**
 * Makes of the fields of an answer a head as HTTP/1 writes it, as `RequestBuilder` does with requests, so that what comes by
 * HTTP/2 passes the same rules. One instance serves a thread.
 */
export class ResponseBuilder implements FieldSink {
  readonly message = new Message(HEAD_BYTES);
  /** In words; empty: nothing. */
  fault: ResponseFault = '';
  status = 0;
  /** It says how long its body is. */
  hasLength = false;
  /** Lines that the head should have, whoever reads it. */
  lines = 0;
  #isTrailers = false;
  #bytesLeft = 0;
  #fieldsLeft = 0;

  /** @param maxBytes of all names and values, with what each field is charged besides */
  begin(maxBytes: number, maxFields: number, isTrailers: boolean): void {
    this.message.clear();
    this.fault = '';
    this.status = 0;
    this.hasLength = false;
    this.lines = 0;
    this.#isTrailers = isTrailers;
    this.#bytesLeft = maxBytes;
    this.#fieldsLeft = maxFields;
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
    if (name[nameStart] === COLON) {
      const isStatus = equalsIgnoreCase(name, nameStart, nameEnd, STATUS);
      return isStatus && this.#takeStatus(value, valueStart, valueEnd) ? 0 : this.#stop('malformed');
    }
    // RFC 9113 §8.3: behind the pseudo field, without which there is no answer.
    if (this.status === 0 && !this.#isTrailers) return this.#stop('malformed');
    const kind = note > 0 ? note : kindOf(name, nameStart, nameEnd);
    if (kind === 0 || isPadded(value, valueStart, valueEnd)) return this.#stop('malformed');
    if (--this.#fieldsLeft < 0) return this.#stop('too large');
    if (kind === LENGTH) this.hasLength = true;
    writeLine(this.message, name, nameStart, nameEnd, value, valueStart, valueEnd);
    this.lines++;
    return kind;
  }

  /** RFC 9113 §8.3.2: one, before all other fields. */
  #takeStatus(value: Buffer, start: number, end: number): boolean {
    if (this.#isTrailers || this.status !== 0 || end - start !== 3) return false;
    for (let p = start; p < end; p++) {
      if (DIGIT[value[p]!] === 0) return false;
      this.status = this.status * 10 + value[p]! - 48;
    }
    const out = this.message;
    out.text('HTTP/1.1 ');
    out.copy(value, start, end);
    out.text(' \r\n');
    // RFC 9113 §8.6: there is no 101.
    return this.status >= 100 && this.status !== 101;
  }

  /**
   * All fields are here: the head is in `message`.
   *
   * @param ended no body follows
   * @param bodiless none may follow, whatever the fields say: the request was HEAD
   * @returns false: it is none, and `fault` says why
   */
  finish(ended: boolean, bodiless: boolean): boolean {
    if (this.fault === '' && (this.status === 0 || (ended && this.status < 200))) this.fault = 'malformed';
    if (this.fault !== '') return false;
    const { status } = this;
    // So that both codecs of clients know what follows; of HTTP/2 it is no part.
    if (!this.hasLength && !bodiless && status >= 200 && status !== 204 && status !== 304) {
      this.message.text(ended ? 'content-length: 0\r\n' : 'transfer-encoding: chunked\r\n');
      this.lines++;
    }
    this.message.line();
    return true;
  }

  /** As `trailersIn`. */
  trailers(passes: (name: string) => boolean): string | undefined {
    return this.fault === '' ? trailersIn(this.message, this.lines, passes) : undefined;
  }

  #stop(fault: ResponseFault): number {
    this.fault = fault;
    return STOP;
  }
}

/** @returns 0: no answer has such a field */
function kindOf(name: Buffer, start: number, end: number): number {
  if (!isFieldName(name, start, end)) return 0;
  const length = end - start;
  if (length === 14) return equalsIgnoreCase(name, start, end, 'content-length') ? LENGTH : PLAIN;
  const banned = BANNED[length];
  if (banned === undefined) return PLAIN;
  for (const word of banned) if (equalsIgnoreCase(name, start, end, word)) return 0;
  return PLAIN;
}

import { STATUS_CODES } from 'node:http';
import type { FieldName } from '../field-names.ts';
import { type Message, scratch } from '../message.ts';
import { type FieldSink, type HttpAnswer, UNKNOWN } from '../model.ts';
import { asChunk, JOIN_BYTES, lastChunk } from './chunk.ts';
import { ResponseHead } from './response-head.ts';

/** Takes what a client is to get. */
export interface Outlet {
  write(bytes: Buffer): void;
  /** For bytes that are valid only now. */
  send(buffer: Buffer, start: number, length: number): void;
  sendMessage(message: Message): void;
  writeText(latin1: string): void;
}

/** Writes fields into `scratch`, a line each. */
const LINES: FieldSink = {
  came(buffer, nameStart, nameEnd, valueStart, valueEnd) {
    scratch.copy(buffer, nameStart, nameEnd);
    scratch.text(': ');
    scratch.copy(buffer, valueStart, valueEnd);
    scratch.line();
  },
  added({ prefix }: FieldName, value) {
    scratch.text(prefix);
    scratch.text(value);
    scratch.line();
  },
};

/** The head of an answer in `scratch`; parameters as of `ResponseHead.render`. */
function render(answer: HttpAnswer, extra: string, upgraded: boolean, trailed: boolean): void {
  if (answer instanceof ResponseHead) {
    answer.render(scratch, extra, upgraded, trailed);
    return;
  }
  const { status } = answer;
  scratch.clear().text(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`);
  answer.fields(LINES, trailed);
  if (extra !== '') scratch.text(extra);
  scratch.line();
}

/** Frames answers for one client. What it renders lies in `scratch`, and so leaves before anything else is done. */
export class ResponseWriter {
  /** The client gets the body in chunks. */
  #chunks = false;
  /** The head waits in `scratch` for the first piece of the body. */
  #headWaits = false;

  /** A 1xx. */
  interim(answer: HttpAnswer): Message {
    render(answer, '', false, false);
    return scratch;
  }

  /** A 101 that the client asked for. */
  switched(answer: HttpAnswer): Message {
    render(answer, 'Connection: upgrade\r\n', true, false);
    return scratch;
  }

  /**
   * The head of an answer, which leaves with the first `body`.
   *
   * @param length of the body as it leaves
   * @param http10 the client knows no chunks
   * @param keep whether the connection goes on
   * @returns bytes of the head
   */
  start(answer: HttpAnswer, length: number, http10: boolean, keep: boolean): number {
    this.#chunks = length === UNKNOWN && !http10;
    this.#headWaits = true;
    let extra = this.#chunks ? 'Transfer-Encoding: chunked\r\n' : '';
    if (!keep) extra += 'Connection: close\r\n';
    else if (http10) extra += 'Connection: keep-alive\r\n';
    render(answer, extra, false, this.#chunks);
    return scratch.length;
  }

  /** Body bytes, in a chunk where the client gets chunks, together with what is due before and behind them. */
  body(out: Outlet, buffer: Buffer, start: number, length: number, ended: boolean, trailers: string): void {
    const waits = this.#headWaits;
    this.#headWaits = false;
    const tail = ended && this.#chunks ? lastChunk(trailers) : '';
    if (length <= JOIN_BYTES) {
      const message = waits ? scratch : scratch.clear();
      if (length > 0 && this.#chunks) {
        message.text(length.toString(16));
        message.line();
        message.copy(buffer, start, start + length);
        message.line();
      } else if (length > 0) message.copy(buffer, start, start + length);
      if (tail !== '') message.text(tail);
      if (message.length > 0) out.sendMessage(message);
      return;
    }
    if (waits) out.sendMessage(scratch);
    if (this.#chunks) out.write(asChunk(buffer, start, length));
    else out.send(buffer, start, length);
    if (tail !== '') out.writeText(tail);
  }
}

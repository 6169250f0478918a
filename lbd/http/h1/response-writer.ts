import { type Message, scratch } from '../message.ts';
import { type HttpAnswer, UNKNOWN } from '../model.ts';
import { asChunk, JOIN_BYTES, lastChunk } from './chunk.ts';

/** Takes what a client is to get. */
export interface Outlet {
  write(bytes: Buffer): void;
  /** For bytes that are valid only now. */
  send(buffer: Buffer, start: number, length: number): void;
  sendMessage(message: Message): void;
  writeText(latin1: string): void;
}

/** Frames answers for one client. What it renders lies in `scratch`, and so leaves before anything else is done. */
export class ResponseWriter {
  /** The client gets the body in chunks. */
  #chunks = false;
  /** The head waits in `scratch` for the first piece of the body. */
  #headWaits = false;

  /** A 1xx. */
  interim(answer: HttpAnswer): Message {
    answer.render(scratch, '', false, false);
    return scratch;
  }

  /** A 101 that the client asked for. */
  switched(answer: HttpAnswer): Message {
    answer.render(scratch, 'Connection: upgrade\r\n', true, false);
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
    answer.render(scratch, extra, false, this.#chunks);
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

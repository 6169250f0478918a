import type { Attempts } from '../dispatch/attempts.ts';
import { COUNTER } from '../shared/shared.ts';
import type { ClientStream } from './client-stream.ts';
import { dateLine } from './date.ts';
import { Backlog } from './h1/backlog.ts';
import { LF } from './h1/grammar.ts';
import { type Message, scratch } from './h1/message.ts';
import { BODY } from './h1/request-head.ts';
import { BROKEN, MORE, ResponseBody } from './h1/response-body.ts';
import { responseScratch } from './h1/scratch.ts';

/** `read`: the final head is here, behind it `at` in `buffer`. */
export const ANSWERED = -3;
/** `read`: the backend switches protocols. */
export const SWITCHED = -4;
export type Reading = typeof MORE | typeof BROKEN | typeof ANSWERED | typeof SWITCHED;

/** The response's way from its backend to the client, head and body. */
export class ResponseRelay {
  /** The head has left for the client: the response can only be completed or cut off. */
  started = false;
  /** The backend keeps its connection, and has had all of the request: what it leaves unread would be in the next one's way. */
  keeps = false;
  /** It has no body, but its fields speak of one: a backend that sends it all the same does so behind it. */
  doubtful = false;
  fault = '';
  /** Where `read` came to. */
  buffer: Buffer = NOTHING;
  at = 0;
  end = 0;
  readonly #client: ClientStream;
  readonly #attempts: Attempts;
  readonly #body = new ResponseBody();
  /** The start of a head that is not complete. */
  #pending: Backlog | undefined;

  constructor(client: ClientStream, attempts: Attempts) {
    this.#client = client;
    this.#attempts = attempts;
  }

  /** For the answer of another try, or to another request: nothing of the last one is left. */
  reset(): void {
    this.started = false;
    this.buffer = NOTHING;
    this.#pending = undefined;
    this.#body.drop();
  }

  /** A head has begun to come. */
  get begun(): boolean {
    return this.#pending !== undefined;
  }

  /** Only the end of the backend connection ends the response. */
  get untilClose(): boolean {
    return this.#body.untilClose;
  }

  /** Reads heads, and passes 1xx on. The final one is then in `responseScratch`. */
  read(buffer: Buffer, length: number): Reading {
    const pending = this.#pending;
    this.at = 0;
    if (pending === undefined) {
      this.buffer = buffer;
      this.end = length;
      return this.#readHeads();
    }
    pending.append(buffer, 0, length);
    // Looking again at a head that cannot be complete would make a slow backend expensive.
    const { headBytes } = this.#client.frontend.config.limits;
    if (pending.length <= headBytes && !pending.endsWithin(LF, length)) return MORE;
    this.#pending = undefined;
    this.buffer = pending.bytes;
    this.end = pending.length;
    return this.#readHeads();
  }

  #readHeads(): Reading {
    const client = this.#client;
    const { config } = client.frontend;
    const head = responseScratch;
    const { buffer, end } = this;
    while (this.at < end) {
      const { at } = this;
      const after = head.parse(buffer, at, end, config.limits.fields, client.toHead);
      if (after < 0) return this.#fail(`invalid response: ${head.fault}`);
      if ((after === 0 ? end : after) - at > config.limits.headBytes)
        return this.#fail('response head too large');
      if (after === 0) {
        this.#pending = new Backlog(buffer, at, end);
        return MORE;
      }
      this.at = after;
      if (head.status >= 200) return ANSWERED;
      if (head.status === 101) return SWITCHED;
      // RFC 9110 §15.2: a proxy forwards 1xx, but HTTP/1.0 does not know them.
      if (client.http10) continue;
      head.render(scratch, '', false);
      this.#countHead();
      client.sendMessage(scratch);
    }
    return MORE;
  }

  /** Of a head that is in `scratch`. */
  #countHead(): void {
    const { log } = this.#client;
    if (log !== undefined) log.headsOut += scratch.length;
  }

  #fail(fault: string): typeof BROKEN {
    this.fault = fault;
    return BROKEN;
  }

  /**
   * Begins to send the response whose head was just read.
   *
   * @param requestDone all of the client's body is here
   * @returns its head
   */
  start(requestDone: boolean): Message {
    const client = this.#client;
    const attempts = this.#attempts;
    const head = responseScratch;
    const body = this.#body;
    this.started = true;
    this.keeps = head.keepAlive && requestDone;
    this.doubtful = head.doubtful;
    client.log?.answered(head.status);
    body.begin(head.body, head.contentLength, client.http10);
    head.trailed = head.body === BODY.chunked && !client.http10;
    attempts.pool!.learn(attempts.index, head);
    let extra = attempts.needsCookie ? attempts.pool!.cookieLine(attempts.index, client.scheme) : '';
    extra += client.frontend.hstsLine;
    // RFC 9110 §6.6.1: who has a clock says when an answer came that does not say so itself.
    if (!head.dated) extra += dateLine();
    if (body.chunkOut) extra += 'Transfer-Encoding: chunked\r\n';
    const unframed = client.http10 && (head.body === BODY.chunked || head.body === BODY.untilClose);
    // With a part of the client's body to come, what follows could not be told from a request.
    if (!requestDone || unframed || client.frontend.closes) client.keepAlive = false;
    if (!client.keepAlive) extra += 'Connection: close\r\n';
    else if (client.http10) extra += 'Connection: keep-alive\r\n';
    head.render(scratch, extra, false);
    this.#countHead();
    return scratch;
  }

  /** The backend agrees to the upgrade that the client asked for. @returns text of the head that says so */
  upgrade(): string {
    const client = this.#client;
    const attempts = this.#attempts;
    const head = responseScratch;
    this.started = true;
    client.log?.answered(head.status);
    attempts.pool!.learn(attempts.index, head);
    const cookie = attempts.needsCookie ? attempts.pool!.cookieLine(attempts.index, client.scheme) : '';
    head.render(scratch, `${cookie}Connection: upgrade\r\n`, true);
    this.#countHead();
    return scratch.toString();
  }

  /**
   * @param head where it has not left yet
   * @returns offset of the first byte behind the response, or `MORE` or `BROKEN`
   */
  relay(buffer: Buffer, start: number, end: number, head: Message | undefined): number {
    const at = this.#body.relay(this.#client, buffer, start, end, head);
    this.#attempts.count(COUNTER.bytes_received, this.#body.moved);
    if (at !== BROKEN) return at;
    this.started = head === undefined;
    return this.#fail(`invalid response: ${this.#body.fault}`);
  }

  /** Sends what makes a response complete that only its backend's end completes. */
  finish(): void {
    this.#body.finish(this.#client);
  }
}

const NOTHING = Buffer.alloc(0);

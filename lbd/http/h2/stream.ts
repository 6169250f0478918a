import type { Endpoints } from '../../../common/proxy-protocol.ts';
import type { UpstreamBackend } from '../../dispatch/upstream.ts';
import type { Frontend } from '../../entry/frontend.ts';
import type { Timed } from '../../io/deadlines.ts';
import type { AccessRecord } from '../../log/access-record.ts';
import type { Cause } from '../../log/cause.ts';
import type { Refusal } from '../../log/refusal.ts';
import { Asker } from '../asker.ts';
import type { ClientStream, UpgradedStream } from '../client-stream.ts';
import { Exchange } from '../exchange.ts';
import type { RequestHead } from '../h1/request-head.ts';
import type { Message } from '../message.ts';
import type { HttpAnswer } from '../model.ts';
import { NO_BYTES } from '../no-bytes.ts';
import { refusalAnswer } from '../own-answer.ts';
import { ownHead } from '../own-head.ts';
import { CLOSED, CONNECTING, EXCHANGE, HEAD, LINGER, type Phase, TUNNEL } from '../phase.ts';
import type { HttpService } from '../service.ts';
import type { Http2Connection } from './connection.ts';
import { ERROR, type ErrorCode, WINDOW_BYTES } from './frames.ts';
import { DEFAULT_PRIORITY, type Priority } from './priority.ts';
import { acceptsKey } from './websocket-key.ts';

/** A stream that has taken so much gets credit for it: sooner would be a frame for each piece. */
const CREDIT_BYTES = WINDOW_BYTES >>> 1;

/** What a stream is reset with, by what ended it. */
const CODES: Partial<Record<Cause, ErrorCode>> = {
  response_cut: ERROR.internal,
  bad_response: ERROR.internal,
  bad_request: ERROR.protocol,
};

/**
 * One request of an HTTP/2 connection and its answer (RFC 9113 §5.1): what a client offers to the exchange that has it
 * answered. An instance serves one stream after the other.
 */
export class Http2Stream implements ClientStream, Timed {
  id = 0;
  deadline = 0;
  listed = -1;
  phase: Phase = CLOSED;
  paused = false;
  log: AccessRecord | undefined;
  requestId = '';
  readonly service: HttpService;
  readonly frontend: Frontend;
  readonly asker: Asker;
  /** All that the client says has come: END_STREAM (RFC 9113 §5.1, half-closed remote). */
  heardAll = false;
  /** What may be sent before the client gives more; negative after it has taken some back (§6.9.2). */
  sendWindow = 0;
  priority: Priority = DEFAULT_PRIORITY;
  readonly #connection: Http2Connection;
  readonly #exchange: Exchange;
  #tunnel: UpgradedStream | undefined;
  /** Data of the client may still be so much. */
  #receiveWindow = 0;
  /** Taken, and not given back yet. */
  #taken = 0;
  /** Of the body, still to come by its Content-Length; -1: it has none. */
  #bodyLeft = -1;
  /** The key of a WebSocket, which its backend proves to have read; empty: it is none. */
  #key = '';
  /** What a client of a WebSocket has sent before its backend agreed. */
  #early = NO_BYTES;
  /** The head of the answer waits for the first piece of its body. */
  #headWaits = false;
  /** The head of the answer, without interim ones, has left. */
  #answered = false;
  /** Data that waits for window or for its turn. */
  #waiting = NO_BYTES;
  /** The end of the stream is due behind it, with these trailers. */
  #endWaits = false;
  #trailers = '';
  /** END_STREAM has left. */
  #saidAll = false;

  constructor(connection: Http2Connection) {
    this.#connection = connection;
    this.service = connection.service;
    this.frontend = connection.frontend;
    this.asker = new Asker(this.frontend, connection.peer);
    this.#exchange = new Exchange(this);
  }

  get backend(): UpstreamBackend | undefined {
    return this.#tunnel?.backend ?? this.#exchange.backend;
  }

  get endpoints(): Endpoints {
    return this.#connection.endpoints;
  }

  /** Only whole connections are at an address. */
  get localAddress(): undefined {
    return undefined;
  }

  get idle(): boolean {
    return false;
  }

  closeIfIdle(): void {
    // It never is.
  }

  get ended(): boolean {
    return this.#connection.ended;
  }

  get gone(): boolean {
    return this.phase === CLOSED || this.#connection.gone;
  }

  get ahead(): boolean {
    return false;
  }

  // From the client.

  /**
   * A request begins.
   *
   * @param head valid during the call
   * @param ended it has no body
   * @param length of its Content-Length; -1: none
   * @param key of a WebSocket; empty: it is none
   */
  begin(head: RequestHead, bytes: number, ended: boolean, length: number, key: string): void {
    const { frontend } = this;
    this.#reset(ended, length, key);
    frontend.count('requests', 1);
    this.requestId = head.requestId ?? frontend.context.nextRequestId();
    this.asker.forget(this.log);
    this.log = frontend.record(this.log, this.asker.address);
    this.log?.begin(this.#connection.takeHandshakeMs());
    this.asker.identify(head, this.log);
    head.scheme = this.asker.scheme;
    this.log?.head(head, this.requestId, bytes);
    this.#exchange.begin(head);
    if (head.length !== 0 && (this.phase === EXCHANGE || this.phase === CONNECTING))
      this.#exchange.onBody(NO_BYTES, 0, 0, false, '');
  }

  /**
   * A frame with data begins.
   *
   * @param length of its payload, padding and all
   * @returns false: it is more than the stream may have
   */
  charge(length: number): boolean {
    this.#receiveWindow -= length;
    this.#taken += length;
    return this.#receiveWindow >= 0;
  }

  #reset(ended: boolean, length: number, key: string): void {
    this.phase = HEAD;
    this.heardAll = ended;
    this.paused = this.#headWaits = this.#answered = this.#endWaits = this.#saidAll = false;
    this.#receiveWindow = WINDOW_BYTES;
    this.#taken = 0;
    this.#bodyLeft = length;
    this.#key = key;
    this.#trailers = '';
    this.frontend.context.deadlines.add(this);
  }

  /**
   * The head is too large or breaks rules that a stream can be told about.
   *
   * @param ended as of `begin`
   * @param head as far as it was read, and how long it is
   */
  beginRefused(refusal: Refusal, ended: boolean, head: RequestHead, message: Message): void {
    this.#reset(ended, -1, '');
    this.asker.forget(this.log);
    this.log = this.frontend.record(this.log, this.asker.address);
    this.log?.begin(this.#connection.takeHandshakeMs());
    this.log?.part(head, message.bytes, 0, message.length);
    this.refuse(refusal);
  }

  /** @returns false: the body is not what Content-Length said (RFC 9113 §8.1.1) */
  onData(buffer: Buffer, start: number, length: number, ended: boolean): boolean {
    if (this.#bodyLeft >= 0) {
      this.#bodyLeft -= length;
      if (this.#bodyLeft < 0 || (ended && this.#bodyLeft > 0)) return false;
    }
    this.heardAll = ended;
    this.#take(buffer, start, length, ended, '');
    if (!this.paused) this.#credit();
    return true;
  }

  /** @param trailers of the request, each with its CRLF. @returns as of `onData` */
  onTrailers(trailers: string): boolean {
    if (this.#bodyLeft > 0) return false;
    this.heardAll = true;
    this.#take(NO_BYTES, 0, 0, true, trailers);
    return true;
  }

  #take(buffer: Buffer, start: number, length: number, ended: boolean, trailers: string): void {
    if (this.#tunnel !== undefined) {
      if (length > 0) this.#tunnel.onBytes(buffer.subarray(start, start + length), length);
      if (!ended) return;
      this.#tunnel.onClientEnd();
      if (this.#saidAll) this.#endTunnel();
    } else if (this.#key !== '') {
      if (length > 0) this.#early = Buffer.concat([this.#early, buffer.subarray(start, start + length)]);
    } else if ((this.phase === EXCHANGE || this.phase === CONNECTING) && !this.#exchange.done)
      this.#exchange.onBody(buffer, start, length, ended, trailers);
  }

  /** The client has ended the stream, or its connection is gone. @param failed what it has said does not matter any more */
  onGone(failed: boolean): void {
    if (this.phase === CLOSED) return;
    if (this.phase === TUNNEL && !failed) this.log?.end();
    else this.log?.gone();
    this.#leave();
    this.#tunnel?.onClientClose(this.heardAll && !failed);
    this.#exchange.onClientClose();
    this.#forget(false);
  }

  /** The client has ended its connection, and may still read. */
  onEnd(): void {
    if (this.phase === EXCHANGE) this.#exchange.onClientEnd();
    else if (this.phase === TUNNEL) this.#tunnel!.onClientEnd();
  }

  // What is due to the client.

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.#credit();
  }

  #credit(): void {
    if (this.#taken < CREDIT_BYTES || this.heardAll || this.phase === CLOSED) return;
    // What waits for a backend to agree to a WebSocket has not been read by anybody.
    if (this.#key !== '' && this.#tunnel === undefined) return;
    this.#receiveWindow += this.#taken;
    this.#connection.credit(this.id, this.#taken);
    this.#taken = 0;
  }

  inform(answer: HttpAnswer): void {
    this.#connection.encode(answer.status, answer);
    this.#countHead(this.#connection.sendHead(this.id, false));
  }

  start(answer: HttpAnswer): void {
    // RFC 8441 §5: a 2xx would tell that there is a tunnel.
    const isMisled = this.#key !== '' && answer.status < 300;
    this.#connection.encode(isMisled ? 502 : answer.status, answer);
    this.#headWaits = true;
  }

  body(buffer: Buffer, start: number, length: number, ended: boolean, trailers: string): void {
    if (this.#headWaits) {
      this.#headWaits = false;
      this.#answered = true;
      const endsNow = ended && length === 0 && trailers === '';
      this.#countHead(this.#connection.sendHead(this.id, endsNow));
      if (endsNow) {
        this.#saidAll = true;
        return;
      }
    }
    this.#trailers = trailers;
    this.#say(buffer, start, length, ended);
  }

  #countHead(bytes: number): void {
    if (this.log === undefined) return;
    this.log.headsOut += bytes;
    this.log.bytesOut += bytes;
  }

  send(buffer: Buffer, start: number, length: number): void {
    this.#say(buffer, start, length, false);
  }

  endOutput(): void {
    if (!this.#endWaits && !this.#saidAll) this.#say(NO_BYTES, 0, 0, true);
  }

  /** Sends data, or has it wait for what the client takes. */
  #say(buffer: Buffer, start: number, length: number, ends: boolean): void {
    if (this.log !== undefined) this.log.bytesOut += length;
    const end = start + length;
    let at = start;
    if (this.#waiting.length === 0) at = this.#sendData(buffer, start, end, ends);
    if (at === end && (!ends || this.#saidAll)) return;
    this.#endWaits = ends;
    if (at < end) {
      const rest = Buffer.copyBytesFrom(buffer, at, end - at);
      this.#waiting = this.#waiting.length === 0 ? rest : Buffer.concat([this.#waiting, rest]);
    }
    this.#connection.await(this);
    if (this.#tunnel !== undefined) this.#tunnel.holdBackend();
    else this.#exchange.holdBackend();
  }

  /** @returns how far it came; the end of the stream has left where `#saidAll` is set */
  #sendData(buffer: Buffer, start: number, end: number, ends: boolean): number {
    if (this.#connection.blocked) return start;
    const isLast = ends && this.#trailers === '';
    const at = this.#connection.sendData(this, buffer, start, end, isLast);
    if (at < end || !ends) return at;
    if (this.#trailers !== '') this.#countHead(this.#connection.sendTrailers(this.id, this.#trailers));
    this.#saidAll = true;
    if (this.phase === TUNNEL && this.heardAll) this.#endTunnel();
    return at;
  }

  /** There is something to send, and nothing but flow control or its turn in the way. */
  get wants(): boolean {
    return this.#waiting.length > 0 || this.#endWaits;
  }

  get hasData(): boolean {
    return this.#waiting.length > 0;
  }

  /** Data with a window, or an end without data, which needs none. */
  get mayGo(): boolean {
    return this.wants && (this.sendWindow > 0 || this.#waiting.length === 0);
  }

  /** Its turn: a frame of what waits leaves, or all of it. @param most bytes */
  proceed(most: number): void {
    const waiting = this.#waiting;
    const end = Math.min(waiting.length, most);
    const at = this.#sendData(waiting, 0, end, this.#endWaits && end === waiting.length);
    this.#waiting = at === waiting.length ? NO_BYTES : waiting.subarray(at);
    if (this.#saidAll) this.#endWaits = false;
    if (this.phase !== CLOSED && (at > 0 || this.#saidAll)) this.#moved(at);
  }

  /** The client takes what waited. @param bytes of it */
  #moved(bytes: number): void {
    if (this.phase === LINGER && this.#saidAll) {
      this.#close();
      return;
    }
    if (this.wants) {
      if (this.phase !== TUNNEL) this.#exchange.onClientRead(bytes);
      return;
    }
    if (this.#tunnel !== undefined) this.#tunnel.onClientDrain();
    else {
      this.#exchange.onClientDrain();
      if (this.phase === EXCHANGE) this.#exchange.arm();
    }
  }

  /** The connection takes no more for now. @returns whether a backend is held up, and nothing waits that will let it go on */
  hold(): boolean {
    if (this.wants || !this.#answered || (this.phase !== EXCHANGE && this.phase !== TUNNEL)) return false;
    if (this.#tunnel !== undefined) this.#tunnel.holdBackend();
    else this.#exchange.holdBackend();
    return true;
  }

  /** It takes more again. @returns whether its backend may send now */
  release(): boolean {
    if (this.wants || (this.phase !== EXCHANGE && this.phase !== TUNNEL)) return false;
    this.#moved(0);
    return true;
  }

  done(): void {
    this.asker.leaveSource();
    if (this.#saidAll) {
      this.#close();
      return;
    }
    this.phase = LINGER;
    this.touch();
  }

  refuse(refusal: Refusal): void {
    const { status, cause, reason } = refusal;
    const counter = status === 400 ? 'refused_400' : status === 408 ? 'refused_408' : 'refused_other';
    this.frontend.count(counter, 1);
    this.log?.fault(cause, status, reason);
    this.#exchange.drop();
    if (this.#answered) {
      this.reset(cause);
      return;
    }
    const head = ownHead.begin(refusalAnswer(refusal, ''), false);
    this.start(head);
    this.body(head.body, 0, head.length, true, '');
    this.done();
  }

  upgrade(tunnel: UpgradedStream, answer: HttpAnswer): void {
    this.#tunnel = tunnel;
    if (!acceptsKey(answer.header('sec-websocket-accept'), this.#key)) {
      this.reset('bad_response');
      return;
    }
    this.phase = TUNNEL;
    this.touch();
    this.#answered = true;
    this.#connection.encode(200, answer);
    this.#countHead(this.#connection.sendHead(this.id, false));
    const early = this.#early;
    this.#early = NO_BYTES;
    this.paused = false;
    this.#credit();
    if (early.length > 0) tunnel.onBytes(early, early.length);
    if (this.heardAll || this.ended) tunnel.onClientEnd();
  }

  reset(cause: Cause): void {
    if (this.phase === CLOSED) return;
    this.log?.fault(cause);
    this.log?.end();
    // RFC 8441 §4: the reset of a connection that is a stream here.
    this.resetWith(this.phase === TUNNEL ? ERROR.cancel : (CODES[cause] ?? ERROR.cancel));
  }

  /** As `reset`. @param code says why to the client */
  resetWith(code: ErrorCode): void {
    if (this.phase === CLOSED) return;
    this.#connection.resetStream(this.id, code);
    this.onGone(true);
  }

  /** A `drain_timeout`, or the time to stop, is over. */
  cut(): void {
    this.reset('cut');
  }

  leave(): void {
    this.resetWith(ERROR.cancel);
  }

  touch(): void {
    this.deadline = this.frontend.context.deadlines.in(this.frontend.config.timeouts.idleMs);
  }

  onDeadline(): void {
    switch (this.phase) {
      case EXCHANGE:
        if (this.wants) this.reset('client_slow');
        else this.#exchange.onDeadline();
        break;
      case CONNECTING:
        this.#exchange.onDeadline();
        break;
      case LINGER:
        this.reset('client_slow');
        break;
      default:
        if (this.phase === TUNNEL) this.log?.fault('idle_timeout');
        this.log?.end();
        this.resetWith(ERROR.cancel);
    }
  }

  /** Both sides have said all they had to say. */
  #endTunnel(): void {
    this.#tunnel!.onClientClose(true);
    this.#close();
  }

  /** All of the answer has left; what the client has not said yet does not matter. */
  #close(): void {
    this.log?.end();
    // RFC 9113 §8.1: an answer before the end of its request.
    if (!this.heardAll) this.#connection.resetStream(this.id, ERROR.noError);
    this.#leave();
    this.#forget(true);
  }

  #leave(): void {
    this.frontend.context.deadlines.remove(this);
    this.asker.leaveSource();
    this.phase = CLOSED;
  }

  #forget(isComplete: boolean): void {
    // A tunnel may go on without its client until its backend has read all, and keeps the books of the request.
    const isReusable = this.#tunnel === undefined;
    this.#tunnel = undefined;
    this.#waiting = this.#early = NO_BYTES;
    this.#endWaits = false;
    this.#connection.closed(this, isComplete, isReusable);
  }

  /** The connection is gone, and nothing was under way. */
  dispose(): void {
    this.#exchange.onClientClose();
  }

  /** No request will come for a while. */
  rest(): void {
    this.#exchange.rest();
    this.asker.rest();
    this.log?.rest();
  }
}

import type { FrontendConfig, PoolConfig } from '../../../common/model.ts';
import type { Backend } from '../../dispatch/backend.ts';
import type { Upstream, UpstreamBackend } from '../../dispatch/upstream.ts';
import type { Frontend } from '../../entry/frontend.ts';
import type {
  BackendUser,
  MultiplexedStream,
  NewMultiplexedStream,
  UpstreamKeeper,
} from '../backend-stream.ts';
import { JOIN_BYTES } from '../h1/chunk.ts';
import { responseScratch } from '../h1/scratch.ts';
import { NO_BYTES } from '../no-bytes.ts';
import type { RequestTransit } from '../request-transit.ts';
import { Http2BackendConnection } from './backend-connection.ts';
import { ERROR, type ErrorCode, errorName, WINDOW_BYTES } from './frames.ts';
import type { SendingStream } from './link.ts';
import { DEFAULT_PRIORITY } from './priority.ts';
import { responseBuilder } from './scratch.ts';

/** What was taken of an answer is given back once it is so much: sooner would be a frame for each piece. */
const CREDIT_BYTES = WINDOW_BYTES >>> 1;

/**
 * A request at a time, and its answer, as a stream of a connection to a backend that speaks HTTP/2 (RFC 9113 §8.1). An
 * instance serves one after the other.
 */
export class Http2BackendStream implements MultiplexedStream, SendingStream {
  id = 0;
  sendWindow = 0;
  readonly priority = DEFAULT_PRIORITY;
  /** The head of the answer is here. */
  answering = false;
  #connection: Http2BackendConnection | undefined;
  /** The connection was there before the request. */
  #reused = false;
  #request: RequestTransit | undefined;
  /** The head of the request waits for the first piece of the body. */
  #headWaits = false;
  /** Data that waits for window or for its turn. */
  #waiting = NO_BYTES;
  /** The end of the request is due behind it, with these trailers. */
  #endWaits = false;
  #trailers = '';
  /** END_STREAM has left. */
  #saidAll = false;
  /** All of the answer has come. */
  #heardAll = false;
  #paused = false;
  /** Data may still be so much. */
  #receiveWindow = 0;
  /** Taken, and not given back yet. */
  #taken = 0;
  /** Of the body of the answer, still to come by its Content-Length; -1: nobody knows. */
  #bodyLeft = -1;
  readonly #user: BackendUser;
  readonly #frontend: Frontend;
  readonly #keeper: UpstreamKeeper;

  constructor(user: BackendUser, frontend: Frontend, keeper: UpstreamKeeper) {
    this.#user = user;
    this.#frontend = frontend;
    this.#keeper = keeper;
  }

  get limits(): FrontendConfig['limits'] {
    return this.#frontend.config.limits;
  }

  get backend(): UpstreamBackend {
    return this.#connection!.backend;
  }

  /** A head comes whole, or not at all. */
  get begun(): boolean {
    return false;
  }

  get full(): boolean {
    return this.wants || this.#connection?.blocked === true;
  }

  // Its place on a connection.

  take(backend: Backend, pool: PoolConfig): boolean {
    const wanted = backend.wantedAddress;
    const connection = backend.shared.find(
      (it): it is Http2BackendConnection =>
        it instanceof Http2BackendConnection &&
        (wanted === undefined || it.address === wanted) &&
        it.hasRoom(pool),
    );
    if (connection === undefined) return false;
    backend.tookShared();
    connection.enter(pool);
    this.#begin(connection, true);
    return true;
  }

  join(backend: Backend, pool: PoolConfig): boolean {
    const connection = backend.shared.find(
      (it): it is Http2BackendConnection => it instanceof Http2BackendConnection && it.willHaveRoom(pool),
    );
    if (connection === undefined) return false;
    this.#await(connection);
    return true;
  }

  connect(backend: Backend, pool: PoolConfig): void {
    this.#await(new Http2BackendConnection(backend, pool, this.#frontend.context));
  }

  #await(connection: Http2BackendConnection): void {
    connection.wait(this);
    this.#begin(connection, false);
  }

  #begin(connection: Http2BackendConnection, reused: boolean): void {
    this.#connection = connection;
    this.#reused = reused;
    this.id = 0;
    this.answering = this.#headWaits = this.#endWaits = this.#saidAll = this.#heardAll = this.#paused = false;
    this.#receiveWindow = WINDOW_BYTES;
    this.#taken = 0;
    this.#trailers = '';
  }

  /** Gives its place back. @returns the connection; undefined: it had none */
  #leave(): Http2BackendConnection | undefined {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#request = undefined;
    this.#waiting = NO_BYTES;
    this.#endWaits = false;
    connection?.leave(this, this.#heardAll);
    return connection;
  }

  // What becomes of the connection.

  onReady(): void {
    this.#user.onBackendReady(this);
  }

  /** The backend speaks HTTP/1 on this connection. */
  onOther(upstream: Upstream): void {
    this.#leave();
    this.#user.onBackendReady(this.#keeper.over(upstream));
  }

  /** The backend has not looked at the request (RFC 9113 §8.7). */
  onRefused(why: string): void {
    const { replayable } = this.#user;
    this.#leave();
    if (replayable) this.#user.onBackendStale(why);
    else this.#user.onBackendClose(why, true, false);
  }

  /** The connection is gone. @param connected it had been there */
  onLost(why: string, connected: boolean): void {
    this.#leave();
    this.#user.onBackendClose(why, connected, this.#reused);
  }

  onBroken(fault: string): void {
    this.#leave();
    this.#user.onBackendBroken(fault);
  }

  // The request's way.

  begin(request: RequestTransit): void {
    this.#request = request;
    this.#headWaits = true;
  }

  body(buffer: Buffer, start: number, length: number, ended: boolean, trailers: string): void {
    const request = this.#request!;
    this.#trailers = trailers;
    if (!this.#headWaits) {
      request.keep(buffer, start, length, trailers);
      this.#say(buffer, start, length, ended);
      return;
    }
    this.#headWaits = false;
    const { head } = request;
    const headEnd = this.#connection!.begin(this, head.bytes);
    if (ended && request.counted && length > 0 && length <= JOIN_BYTES) {
      head.copy(buffer, start, start + length);
      request.whole = true;
    }
    const isJoined = request.whole;
    if (!isJoined && (length > 0 || (ended && request.length !== 0)))
      request.keep(buffer, start, length, trailers);
    const bodyLength = isJoined ? head.length - headEnd : length;
    const endsNow = ended && bodyLength === 0 && trailers === '';
    this.#connection!.sendHead(this.id, endsNow);
    if (endsNow) this.#saidAll = true;
    else if (isJoined) this.#say(head.bytes, headEnd, bodyLength, true);
    else if (length > 0 || ended) this.#say(buffer, start, length, ended);
  }

  /** Sends data, or has it wait for what the backend takes. */
  #say(buffer: Buffer, start: number, length: number, ends: boolean): void {
    const end = start + length;
    const at = this.#waiting.length === 0 ? this.#sendData(buffer, start, end, ends) : start;
    if (at === end && (!ends || this.#saidAll)) return;
    this.#endWaits = ends;
    if (at < end) {
      const rest = Buffer.copyBytesFrom(buffer, at, end - at);
      this.#waiting = this.#waiting.length === 0 ? rest : Buffer.concat([this.#waiting, rest]);
    }
    this.#connection!.await(this);
  }

  /** @returns how far it came; the end of the request has left where `#saidAll` is set */
  #sendData(buffer: Buffer, start: number, end: number, ends: boolean): number {
    const connection = this.#connection!;
    if (connection.blocked) return start;
    const isLast = ends && this.#trailers === '';
    const at = connection.sendData(this, buffer, start, end, isLast);
    if (at < end || !ends) return at;
    if (this.#trailers !== '') connection.sendTrailers(this.id, this.#trailers);
    this.#saidAll = true;
    return at;
  }

  get wants(): boolean {
    return this.#waiting.length > 0 || this.#endWaits;
  }

  get hasData(): boolean {
    return this.#waiting.length > 0;
  }

  proceed(most: number): void {
    const waiting = this.#waiting;
    const end = Math.min(waiting.length, most);
    const at = this.#sendData(waiting, 0, end, this.#endWaits && end === waiting.length);
    this.#waiting = at === waiting.length ? NO_BYTES : waiting.subarray(at);
    if (this.#saidAll) this.#endWaits = false;
    if (at > 0 && !this.wants) this.#user.onBackendDrain();
  }

  /** Its client is not read any more, once it sends: `full` tells. */
  hold(): boolean {
    return !this.wants && !this.#saidAll;
  }

  release(): boolean {
    if (this.#connection === undefined || this.wants || this.#saidAll) return false;
    this.#user.onBackendDrain();
    return true;
  }

  // The answer's way.

  /** The fields of a head are in `responseBuilder`. @param ends nothing comes behind it. @returns false: they are none */
  takesHead(ends: boolean): boolean {
    if (responseBuilder.finish(ends, this.#request!.toHead)) return true;
    const isLarge = responseBuilder.fault === 'too large';
    this.#break(isLarge ? 'response head too large' : 'invalid response: malformed fields');
    return false;
  }

  /** The head is in `responseBuilder`, whole, and behind it came a piece of its body, or none; parameters as of `onData`. */
  onHead(buffer: Buffer, start: number, length: number, ended: boolean): void {
    const head = responseScratch;
    const { message, lines } = responseBuilder;
    const after = head.parse(
      message.bytes,
      0,
      message.length,
      Number.MAX_SAFE_INTEGER,
      this.#request!.toHead,
    );
    // A line end within a value would make lines of its own.
    if (after !== message.length || head.fieldCount !== lines) {
      this.#break(`invalid response: ${after < 0 ? head.fault : 'invalid byte in a field value'}`);
      return;
    }
    if (head.status < 200) {
      this.#user.onInterim(head);
      return;
    }
    this.answering = true;
    this.#bodyLeft = head.length;
    const fault = this.#count(length, ended) ? '' : 'invalid response: DATA is not what Content-Length says';
    if (fault !== '') this.#connection!.resetStream(this.id, ERROR.protocol);
    // What has no body is complete, whatever the backend takes to say so.
    const isOver = ended || this.#bodyLeft === 0;
    this.#heardAll = isOver;
    if (this.#user.onAnswer(head, fault)) this.#handOn(buffer, start, length, isOver);
  }

  /** @returns false: it is not what Content-Length said (RFC 9113 §8.1.1) */
  #count(length: number, ended: boolean): boolean {
    if (this.#bodyLeft < 0) return true;
    this.#bodyLeft -= length;
    return this.#bodyLeft === 0 || (this.#bodyLeft > 0 && !ended);
  }

  #handOn(buffer: Buffer, start: number, length: number, ended: boolean): void {
    this.#user.onAnswerBody(buffer, start, length, ended, '');
    if (!ended && !this.#paused) this.#credit();
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

  onData(buffer: Buffer, start: number, length: number, ended: boolean): void {
    if (!this.answering || !this.#count(length, ended)) {
      this.#break(
        `invalid response: DATA ${this.answering ? 'is not what Content-Length says' : 'before the head'}`,
      );
      return;
    }
    this.#heardAll = ended;
    this.#handOn(buffer, start, length, ended);
  }

  /** @param trailers each with its CRLF; undefined: they are malformed */
  onTrailers(trailers: string | undefined): void {
    if (trailers === undefined || this.#bodyLeft > 0) {
      this.#break(
        `invalid response: ${trailers === undefined ? 'malformed trailers' : 'less than Content-Length says'}`,
      );
      return;
    }
    this.#heardAll = true;
    this.#user.onAnswerBody(NO_BYTES, 0, 0, true, trailers);
  }

  #break(fault: string): void {
    this.#connection?.resetStream(this.id, ERROR.protocol);
    this.onBroken(fault);
  }

  /** RST_STREAM has come. */
  onReset(code: number): void {
    const why = `RST_STREAM ${errorName(code)}`;
    if (code === ERROR.refusedStream && !this.answering) {
      this.#connection!.refused();
      this.onRefused(why);
      return;
    }
    this.#leave();
    this.#user.onBackendClose(why, true, false);
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#credit();
  }

  #credit(): void {
    if (this.#taken < CREDIT_BYTES || this.#heardAll || this.#connection === undefined) return;
    this.#receiveWindow += this.#taken;
    this.#connection.credit(this.id, this.#taken);
    this.#taken = 0;
  }

  // How it ends.

  settle(): void {
    // RFC 9113 §8.1: an answer before the end of its request.
    this.#cancel(!this.#saidAll);
  }

  destroy(): void {
    if (!this.answering && this.id !== 0) this.#connection?.doubt();
    this.#cancel(true);
  }

  reset(): void {
    this.#cancel(true);
  }

  #cancel(isCut: boolean): void {
    const code: ErrorCode = this.#heardAll ? ERROR.noError : ERROR.cancel;
    if (isCut && this.id !== 0) this.#connection?.resetStream(this.id, code);
    this.#leave();
  }
}

export const newHttp2Stream: NewMultiplexedStream = (user, frontend, keeper) =>
  new Http2BackendStream(user, frontend, keeper);

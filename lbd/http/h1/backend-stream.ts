import type { Upstream, UpstreamBackend } from '../../dispatch/upstream.ts';
import type { Frontend } from '../../entry/frontend.ts';
import { writeSoon } from '../../io/direct-io.ts';
import { send } from '../../io/raw-socket.ts';
import { COUNTER } from '../../shared/shared.ts';
import type { BackendUser, NewBackendStream, UpstreamKeeper, UpstreamStream } from '../backend-stream.ts';
import { NO_BYTES } from '../no-bytes.ts';
import type { RequestTransit } from '../request-transit.ts';
import { Backlog } from './backlog.ts';
import { BodyReader, BROKEN } from './body-reader.ts';
import { asChunk, JOIN_BYTES, lastChunk } from './chunk.ts';
import { LF } from './grammar.ts';
import { responseScratch } from './scratch.ts';

/** A request at a time, and its answer, on connections to backends that speak HTTP/1. An instance serves one after the other. */
class Http1BackendStream implements UpstreamStream {
  #upstream: Upstream | undefined;
  #request: RequestTransit | undefined;
  /** The head of the request waits for the first piece of the body. */
  #headWaits = false;
  /** The head of the answer is here. */
  #answering = false;
  /** The start of a head that is not complete. */
  #pending: Backlog | undefined;
  /** The backend keeps its connection, and has had all of the request: what it leaves unread would be in the next one's way. */
  #keeps = false;
  /** The answer has no body, but its fields speak of one: a backend that sends it all the same does so behind it. */
  #doubtful = false;
  /** The backend sent more than its answer: its connection cannot be used again. */
  #leftover = false;
  readonly #body = new BodyReader();
  readonly #user: BackendUser;
  readonly #frontend: Frontend;
  readonly #keeper: UpstreamKeeper;

  constructor(user: BackendUser, frontend: Frontend, keeper: UpstreamKeeper) {
    this.#user = user;
    this.#frontend = frontend;
    this.#keeper = keeper;
  }

  over(upstream: Upstream): this {
    this.#upstream = upstream;
    this.#answering = this.#leftover = false;
    this.#pending = undefined;
    return this;
  }

  rest(): void {
    this.#request = undefined;
    this.#pending = undefined;
    this.#body.drop();
  }

  get backend(): UpstreamBackend {
    return this.#upstream!.backend;
  }

  get begun(): boolean {
    return this.#pending !== undefined;
  }

  get full(): boolean {
    return this.#upstream!.socket.writableNeedDrain;
  }

  // The request's way.

  begin(request: RequestTransit): void {
    this.#request = request;
    this.#headWaits = true;
  }

  body(buffer: Buffer, start: number, length: number, ended: boolean, trailers: string): void {
    const { socket } = this.#upstream!;
    const request = this.#request!;
    if (this.#headWaits) {
      this.#headWaits = false;
      const { head } = request;
      if (length > 0 && length <= JOIN_BYTES && request.counted) {
        const headBytes = head.length;
        head.copy(buffer, start, start + length);
        writeSoon(socket, head.bytes, 0, head.length);
        if (ended) request.whole = true;
        else head.length = headBytes;
        return;
      }
      writeSoon(socket, head.bytes, 0, head.length);
    }
    if (request.counted) {
      if (length > 0) send(socket, buffer, start, length);
      return;
    }
    if (length > 0) socket.write(asChunk(buffer, start, length));
    if (ended) socket.write(lastChunk(trailers), 'latin1');
  }

  // The answer's way.

  onUpstreamBytes(buffer: Buffer, length: number): void {
    if (this.#answering) {
      this.#relay(buffer, 0, length);
      return;
    }
    // A piece of the body may be held back as well, behind a head that has long left.
    if (this.#user.replayable && this.#upstream!.unasked) {
      this.destroy();
      this.#user.onBackendStale('sent more than its response');
      return;
    }
    const pending = this.#pending;
    if (pending === undefined) {
      this.#readHeads(buffer, length);
      return;
    }
    pending.append(buffer, 0, length);
    // Looking again at a head that cannot be complete would make a slow backend expensive.
    const { headBytes } = this.#frontend.config.limits;
    if (pending.length <= headBytes && !pending.endsWithin(LF, length)) return;
    this.#pending = undefined;
    this.#readHeads(pending.bytes, pending.length);
  }

  #readHeads(buffer: Buffer, end: number): void {
    const { limits } = this.#frontend.config;
    const head = responseScratch;
    for (let at = 0; at < end; ) {
      const after = head.parse(buffer, at, end, limits.fields, this.#request!.toHead);
      if (after < 0) {
        this.#break(`invalid response: ${head.fault}`);
        return;
      }
      if ((after === 0 ? end : after) - at > limits.headBytes) {
        this.#break('response head too large');
        return;
      }
      if (after === 0) {
        this.#pending = new Backlog(buffer, at, end);
        return;
      }
      at = after;
      if (head.status >= 200) {
        this.#answer(buffer, at, end);
        return;
      }
      if (head.status === 101) {
        this.#user.onSwitched(head, this.#take(), buffer, at, end);
        return;
      }
      this.#user.onInterim(head);
    }
  }

  /** The final head is in `responseScratch`. */
  #answer(buffer: Buffer, start: number, end: number): void {
    const head = responseScratch;
    const body = this.#body;
    body.begin(head.body, head.contentLength);
    // Before the head leaves: an answer whose framing is broken in its first piece can still be refused.
    const at = body.read(buffer, start, end);
    const fault = at === BROKEN ? `invalid response: ${body.fault}` : '';
    this.#keeps = head.keepAlive && this.#request!.done;
    this.#doubtful = head.doubtful;
    this.#answering = true;
    if (this.#user.onAnswer(head, fault)) this.#handOn(buffer, at, end);
  }

  #relay(buffer: Buffer, start: number, end: number): void {
    const at = this.#body.read(buffer, start, end);
    if (at === BROKEN) this.#break(`invalid response: ${this.#body.fault}`);
    else this.#handOn(buffer, at, end);
  }

  /** @param at where the last `read` came to */
  #handOn(buffer: Buffer, at: number, end: number): void {
    const body = this.#body;
    const { done, trailers } = body;
    if (done) this.#leftover = at < end;
    this.#user.onAnswerBody(buffer, body.dataStart, body.dataLength, done, trailers);
  }

  #break(fault: string): void {
    this.#user.onBackendBroken(fault);
  }

  pause(): void {
    this.#upstream!.socket.pause();
  }

  resume(): void {
    this.#upstream!.socket.resume();
  }

  settle(): void {
    const upstream = this.#take();
    // What waits to be written is of a request that the backend did not read before it answered.
    if (this.#keeps && !this.#leftover && upstream.socket.writableLength === 0)
      this.#keeper.giveBack(upstream, this.#doubtful);
    else upstream.destroy();
  }

  destroy(): void {
    this.#take().destroy();
  }

  reset(): void {
    this.#take().reset();
  }

  #take(): Upstream {
    const upstream = this.#upstream!;
    this.#upstream = undefined;
    this.#body.drop();
    return upstream;
  }

  // From the connection.

  onUpstreamReady(): void {
    this.#user.onBackendReady(this);
  }

  onUpstreamDrain(): void {
    this.#user.onBackendDrain();
  }

  onUpstreamEnd(): void {
    if (this.#answering && this.#body.untilClose) {
      this.#keeps = false;
      this.#user.onAnswerBody(NO_BYTES, 0, 0, true, '');
      return;
    }
    this.#upstream!.destroy();
    this.onUpstreamClose('');
  }

  onUpstreamClose(why: string): void {
    const { connected, reused, backend } = this.#take();
    if (!connected) this.#frontend.context.shared.countBackend(backend.slot, COUNTER.connect_failures, 1);
    this.#user.onBackendClose(why, connected, reused);
  }
}

export const newHttp1Stream: NewBackendStream = (user, frontend, keeper) =>
  new Http1BackendStream(user, frontend, keeper);

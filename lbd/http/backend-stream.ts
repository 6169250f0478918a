import type { PoolConfig } from '../../common/model.ts';
import type { Backend } from '../dispatch/backend.ts';
import type { Upstream, UpstreamBackend, UpstreamUser } from '../dispatch/upstream.ts';
import type { Frontend } from '../entry/frontend.ts';
import type { Cause } from '../log/cause.ts';
import type { BodySink, HttpAnswer } from './model.ts';
import type { RequestTransit } from './request-transit.ts';

/** Who has a request answered on a backend stream. */
export interface BackendUser {
  /** All of the request that has left is still here, and nothing of an answer. */
  readonly replayable: boolean;
  /**
   * The connection is there, and takes the request. Only for a stream on a new one.
   *
   * @param stream takes it: the one that was waited for, or another one, where only the new connection told what it speaks
   */
  onBackendReady(stream: BackendStream): void;
  /** A 1xx, but not a 101. */
  onInterim(answer: HttpAnswer): void;
  /**
   * The final head. Within the same call follows `onAnswerBody`.
   *
   * @param fault what is wrong with the first piece of its body, in words; empty: nothing
   * @returns false: the answer is not wanted, and the stream is over
   */
  onAnswer(answer: HttpAnswer, fault: string): boolean;
  /** As of `BodySink.body`; with `ended` the stream is over, and `settle` is due. */
  onAnswerBody(buffer: Buffer, start: number, length: number, ended: boolean, trailers: string): void;
  /**
   * The backend switches protocols.
   *
   * @param upstream with all that comes from now on; the stream has nothing to do with it any more
   * @param start to `end`: what has come behind the answer already
   */
  onSwitched(answer: HttpAnswer, upstream: Upstream, buffer: Buffer, start: number, end: number): void;
  /** What was written has left; write on. */
  onBackendDrain(): void;
  /** What came is no answer, and the stream is of no use any more. @param fault in words */
  onBackendBroken(fault: string): void;
  /** What came was no answer to this request, which may be sent again. @param why in words */
  onBackendStale(why: string): void;
  /**
   * The stream is gone before its answer was over.
   *
   * @param why see `UpstreamUser.onUpstreamClose`
   * @param connected there was a connection
   * @param reused which had been used before, so that the backend may just have been closing it
   */
  onBackendClose(why: string, connected: boolean, reused: boolean): void;
}

/**
 * What a backend offers to an exchange: takes one request and brings its answer, on a connection of its own or on one of
 * the streams of a connection.
 */
export interface BackendStream extends BodySink {
  readonly backend: UpstreamBackend;
  /** Something of an answer has come, but no whole head. */
  readonly begun: boolean;
  /** It did not take the last piece without having to wait. */
  readonly full: boolean;

  /** Begins a request. Within the same call follows `body`, with the first piece or with none. */
  begin(request: RequestTransit): void;
  /** Gives the backend no more credit to send its answer with: at most what is on its way still comes. */
  pause(): void;
  resume(): void;
  /** The answer is over: leaves the connection to the next request where it is fit for one. */
  settle(): void;
  /** Ends it; its user is not called any more. */
  destroy(): void;
  /** As `destroy`, but the backend cannot take the cut for an orderly end. @param cause for codecs that can tell it */
  reset(cause: Cause): void;
}

/** A backend stream on a connection of its own, and then on the next one. */
export interface UpstreamStream extends BackendStream, UpstreamUser {
  /** The next request goes over this connection, which calls this stream from now on. */
  over(upstream: Upstream): this;
  /** No request will come for a while. */
  rest(): void;
}

/** A backend stream on one of the connections that requests of all clients share, and then on another one. */
export interface MultiplexedStream extends BackendStream {
  /** Takes a place on a connection that is there. @returns false: none has room */
  take(backend: Backend, pool: PoolConfig): boolean;
  /** Takes a place on one that is being made. @returns false: none is, or would have room */
  join(backend: Backend, pool: PoolConfig): boolean;
  /** Begins a new connection. */
  connect(backend: Backend, pool: PoolConfig): void;
}

/** Keeps backend connections between two requests. */
export interface UpstreamKeeper {
  /** The new connection speaks HTTP/1. @returns what brings it the request */
  over(upstream: Upstream): BackendStream;
  /** @param doubtful more may come behind its last answer: not before that has had its time */
  giveBack(upstream: Upstream, doubtful: boolean): void;
}

/** A codec that backends are spoken to in. */
export type NewBackendStream = (
  user: BackendUser,
  frontend: Frontend,
  keeper: UpstreamKeeper,
) => UpstreamStream;

/** As `NewBackendStream`, for a codec of many streams on a connection. */
export type NewMultiplexedStream = (
  user: BackendUser,
  frontend: Frontend,
  keeper: UpstreamKeeper,
) => MultiplexedStream;

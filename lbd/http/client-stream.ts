import type { Endpoints } from '../../common/proxy-protocol.ts';
import type { UpstreamBackend } from '../dispatch/upstream.ts';
import type { Frontend } from '../entry/frontend.ts';
import type { AccessRecord } from '../log/access-record.ts';
import type { Cause } from '../log/cause.ts';
import type { Refusal } from '../log/refusal.ts';
import type { Asker } from './asker.ts';
import type { BodySink, HttpAnswer } from './model.ts';
import type { Phase } from './phase.ts';
import type { HttpService } from './service.ts';

/** What carries the bytes of a client once it has been upgraded. */
export interface UpgradedStream {
  /** undefined: it is gone. */
  readonly backend: UpstreamBackend | undefined;
  /** @param buffer valid during the call */
  onBytes(buffer: Buffer, length: number): void;
  onClientEnd(): void;
  /** The client has read what was written to it. */
  onClientDrain(): void;
  /** The client reads more slowly than its backend sends. */
  holdBackend(): void;
  /**
   * The client is gone.
   *
   * @param orderly its end was heard before: what it said still goes to the backend
   */
  onClientClose(orderly: boolean): void;
}

/**
 * What a client offers to the exchange that has its requests answered: one request at a time, whatever the codec and
 * however many such streams its connection carries. It finds out who asks, calls the exchange's `begin` with each head, then `onBody` with the
 * body of it; `onClientDrain`, `holdBackend`, `onClientEnd`, `onClientClose` and `onDeadline` as it goes.
 */
export interface ClientStream extends BodySink {
  readonly frontend: Frontend;
  readonly service: HttpService;
  readonly asker: Asker;
  /** Both ends of the client's connection. */
  readonly endpoints: Endpoints;
  /** What the access log will say about the request under way; undefined: nothing. */
  readonly log: AccessRecord | undefined;
  phase: Phase;
  /** When something has to be done at the latest, in coarse milliseconds; 0: never. */
  deadline: number;
  /** Of the request under way. */
  readonly requestId: string;

  /** The client ended its side; it may still read. */
  readonly ended: boolean;
  /** The client is not read from. */
  readonly paused: boolean;
  /** Nobody is there any more to get an answer. */
  readonly gone: boolean;
  /** The client has sent more than the request under way. */
  readonly ahead: boolean;

  /** Gives the client no more credit to send its body with: at most what is on its way still comes. */
  pause(): void;
  resume(): void;
  /** Something moves that has only the idle time-out. */
  touch(): void;

  /** A 1xx of the backend, but not a 101. */
  inform(answer: HttpAnswer): void;
  /**
   * Begins an answer. Within the same call follows `body`, with the first piece or with none, and nothing of any other
   * stream before it.
   *
   * @param length of the body as it leaves; 0: it has none; `UNKNOWN`
   * @param whole all of the request is here
   */
  start(answer: HttpAnswer, length: number, whole: boolean): void;
  /** The answer is out. */
  done(): void;
  /** Answers what is not a request that can be relayed, and closes: nobody knows where the next one starts. */
  refuse(refusal: Refusal): void;
  /**
   * The backend has agreed to an upgrade.
   *
   * @param answer its 101
   */
  upgrade(tunnel: UpgradedStream, answer: HttpAnswer): void;
  /** Bytes of an upgraded connection, valid only now. */
  send(buffer: Buffer, start: number, length: number): void;

  /** Ends our side, behind all that was written. */
  endOutput(): void;
  /** Ends the stream now, whatever it is doing; the client gets a reset. @param cause for the log, and for codecs that can tell it */
  reset(cause: Cause): void;
  /** Ends the stream of a client that has gone within its request, or might as well have. */
  leave(): void;
}

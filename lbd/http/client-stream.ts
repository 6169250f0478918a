import type { Endpoints } from '../../common/proxy-protocol.ts';
import type { UpstreamBackend } from '../dispatch/upstream.ts';
import type { Frontend } from '../entry/frontend.ts';
import type { AccessRecord } from '../log/access-record.ts';
import type { Refusal } from '../log/refusal.ts';
import type { RequestHead, Sender } from './h1/request-head.ts';
import type { Outlet } from './h1/response-body.ts';
import type { Phase } from './phase.ts';

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

/** What a client offers to the exchange that has its requests answered. */
export interface ClientStream extends Outlet, Sender {
  readonly frontend: Frontend;
  /** `hashText` of its address. */
  readonly addressHash: number;
  /** Both ends of the client's connection. */
  readonly endpoints: Endpoints;
  /** What the access log will say about the request under way; undefined: nothing. */
  readonly log: AccessRecord | undefined;
  phase: Phase;
  /** When something has to be done at the latest, in coarse milliseconds; 0: never. */
  deadline: number;

  // Of the request under way.
  readonly requestId: string;
  readonly http10: boolean;
  readonly toHead: boolean;
  keepAlive: boolean;

  /** The client ended its side; it may still read. */
  readonly ended: boolean;
  /** The client is not read from. */
  readonly paused: boolean;
  /** Nobody is there any more to get an answer. */
  readonly gone: boolean;
  /** The client has sent more than the request under way. */
  readonly ahead: boolean;

  /**
   * Counts a request on its client, where its connection is that of a trusted proxy.
   *
   * @returns false: the client has as many as it may
   */
  enterSource(): boolean;

  pause(): void;
  resume(): void;
  /** While a backend connection is made: bytes of the body, or of the next request. */
  keep(buffer: Buffer, start: number, end: number): void;
  /** Bytes behind a complete request belong to the next one; they wait for their turn. */
  afterBody(buffer: Buffer, at: number, end: number): void;
  /** Something moves that has only the idle time-out. */
  touch(): void;

  /** The answer to a request is out. */
  nextRequest(): void;
  /** Answers a well-framed request; the connection goes on where its body is out of the way. */
  answer(refusal: Refusal): void;
  /** Answers what is not a request that can be relayed, and closes: nobody knows where the next one starts. */
  refuse(refusal: Refusal): void;
  /** The backends could not answer. */
  failed(refusal: Refusal): void;
  /** No route matches, and there is no pool for the rest: sends the client to https, or says so. */
  noPool(head: RequestHead): void;
  /**
   * The backend has agreed to an upgrade.
   *
   * @param head its answer, as the client gets it
   */
  upgraded(tunnel: UpgradedStream, head: string): void;

  /** Ends our side, behind all that was written. */
  endOutput(): void;
  /** Ends the connection now, whatever it is doing; the client gets a reset. */
  cut(): void;
  /** Ends the connection of a client that has gone within its request, or might as well have. */
  leave(): void;
}

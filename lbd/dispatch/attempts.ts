import { LOCAL_ERRORS } from '../../common/local-errors.ts';
import { turnNow } from '../io/turn-clock.ts';
import type { RequestFacts } from '../route/facts.ts';
import { COUNTER, GATE_CLOSED, type SharedState } from '../shared/shared.ts';
import { RETRYING } from '../shared/vitals.ts';
import type { Backend } from './backend.ts';
import type { Pool } from './pool.ts';
import { type Failure, noRetry } from './retry.ts';

const STATUS_COUNTER = [0, 0, COUNTER.status_2xx, COUNTER.status_3xx, COUNTER.status_4xx, COUNTER.status_5xx];

/** Whose requests they are; behind a trusted proxy each may be another client's. */
export interface AttemptsClient {
  readonly address: string;
  /** `hashText(address)` */
  readonly addressHash: number;
}

/**
 * The backends that are tried for one request, connection or flow, one after the other, and their books in shared memory: all
 * modes choose, enter, count and retry here. What is called a request below is a connection in mode tcp, a flow in mode udp.
 */
export class Attempts {
  pool: Pool | undefined;
  /** The client gets a cookie that names the backend. */
  needsCookie = false;
  /** When the backend at work got the request; monotonic milliseconds. */
  startedMs = 0;
  /** Backends that got the request, or were to get it. */
  tries = 0;
  readonly #shared: SharedState;
  readonly #client: AttemptsClient;
  #index = -1;
  /** Slot at which this request is counted as in flight, and as a retry; -1: none. */
  #entered = -1;
  #retrying = -1;
  #tried: number[] | undefined;
  #stickValue: string | undefined;
  #hashKey = 0;

  constructor(shared: SharedState, client: AttemptsClient) {
    this.#shared = shared;
    this.#client = client;
  }

  /** No request will come for a while: what the last one named its stick by is let go of. */
  rest(): void {
    this.#stickValue = undefined;
    this.#tried = undefined;
  }

  /** Position in the pool of the backend at work, or of the last one. */
  get index(): number {
    return this.#index;
  }

  get backend(): Backend {
    return this.pool!.backends[this.#index]!;
  }

  /**
   * The first choice.
   *
   * @param request undefined: nothing is known of it but whose it is
   * @returns false: no backend takes the request
   */
  begin(pool: Pool, request?: RequestFacts): boolean {
    this.pool = pool;
    this.#index = 0;
    this.tries = 0;
    this.#tried = undefined;
    this.#stickValue = request && pool.stickValue(request);
    this.#hashKey = request === undefined ? 0 : pool.hashKey(request);
    return this.#choose();
  }

  /** As `begin`, after waiting for room. @returns undefined: still none */
  chooseAgain(): Backend | undefined {
    return this.#choose() ? this.backend : undefined;
  }

  #choose(): boolean {
    const pool = this.pool!;
    const { address, addressHash } = this.#client;
    const index = pool.choose(address, addressHash, this.#stickValue, this.#hashKey, this.#tried);
    if (index < 0) return false;
    this.#index = index;
    this.needsCookie = !pool.stuck;
    return true;
  }

  /**
   * Moves the request from a backend that failed to another one, where the config and the budget allow it.
   *
   * @param status of an answer that is the failure; else 0
   * @param replayable all of the request that has left is still here
   * @returns false: it stays where it is
   */
  another(failure: Failure, status: number, idempotent: boolean, replayable: boolean): boolean {
    const pool = this.pool!;
    const refused = noRetry(pool.config.retry, {
      failure,
      status,
      idempotent,
      replayable,
      tries: this.tries,
      retrying: pool.load.retrying,
      active: pool.load.requests,
    });
    if (refused !== undefined) {
      if (refused === 'retry budget is used up') this.count(COUNTER.retries_refused, 1);
      return false;
    }
    const failed = this.#index;
    const { slot } = this.backend;
    this.avoid(failure);
    const { needsCookie } = this;
    if (!this.#choose()) return false;
    // A retry does not wait: its client has waited already.
    if (!pool.enter(this.#index)) {
      this.#index = failed;
      this.needsCookie = needsCookie;
      return false;
    }
    this.leave();
    this.entered();
    this.#shared.countBackend(slot, COUNTER.retries, 1);
    // What could not be sent costs no budget: a connection of mode tcp would have it for as long as it lasts.
    if (failure === 'connect') return true;
    this.#shared.countBackend(slot, COUNTER.errors, 1);
    this.#retrying = this.backend.slot;
    this.#shared.vitals.begin(RETRYING, this.#retrying);
    return true;
  }

  /** The next choice is another backend than this one, or another address of it. */
  avoid(failure: Failure): void {
    this.#tried ??= [];
    this.#tried.push(failure === 'connect' ? this.backend.triedAs(this.#index) : this.#index);
  }

  /**
   * The config has other pools, and the request goes on. What was avoided may be chosen again.
   *
   * @returns whether the backend at work is one of the pool's
   */
  follow(pool: Pool): boolean {
    const index = pool.backends.indexOf(this.backend);
    this.#tried = undefined;
    if (index < 0) return false;
    this.pool = pool;
    this.#index = index;
    return true;
  }

  /** What was avoided may be chosen again. */
  forgive(): void {
    this.#tried = undefined;
  }

  /**
   * The connection was stale, which says nothing about the backend: the request stays in its place there, or goes to
   * another one where it was taken out meanwhile.
   *
   * @returns false: no backend is left
   */
  restart(): boolean {
    if (this.#shared.gate(this.backend.slot) !== GATE_CLOSED) {
      this.startedMs = turnNow();
      return true;
    }
    this.leave();
    if (!this.#choose()) return false;
    this.tries--;
    return this.enter();
  }

  /**
   * The chosen backend gets the request. Pair it with `leave`, which may be called more than once.
   *
   * @returns false: it is full, or somebody else waits for it
   */
  enter(): boolean {
    if (!this.pool!.enter(this.#index)) return false;
    this.entered();
    return true;
  }

  /** The chosen backend gets the request, which is counted as in flight there already. */
  entered(): void {
    const { slot } = this.backend;
    this.#entered = slot;
    this.tries++;
    this.startedMs = turnNow();
    this.#shared.countBackend(slot, COUNTER.requests, 1);
  }

  leave(): void {
    if (this.#entered < 0) return;
    this.pool!.leave(this.#entered);
    this.#entered = -1;
    if (this.#retrying < 0) return;
    this.#shared.vitals.end(RETRYING, this.#retrying);
    this.#retrying = -1;
  }

  /** The backend answered. */
  answered(status: number): void {
    const { slot } = this.backend;
    const tookMs = turnNow() - this.startedMs;
    this.#shared.observeLatency(slot, tookMs);
    this.#shared.countBackend(slot, COUNTER.response_ms, tookMs);
    this.#shared.countBackend(slot, STATUS_COUNTER[Math.min((status / 100) | 0, 5)]!, 1);
    const { outlier } = this.pool!.config;
    if (outlier !== undefined) this.#shared.vitals.answered(slot, status >= 500, outlier.consecutive5xx);
  }

  /** The backend has done what the mode expects of it first: a connection is there, a datagram was answered. */
  worked(): void {
    const { outlier } = this.pool!.config;
    if (outlier !== undefined) this.#shared.vitals.answered(this.backend.slot, false, outlier.consecutive5xx);
  }

  /** No connection. @param why code of the error, or in words. What this node lacks says nothing about the backend. */
  unreachable(why: string): void {
    if (LOCAL_ERRORS[why] === undefined) this.failed();
  }

  /** The backend did not answer. */
  failed(): void {
    const { outlier } = this.pool!.config;
    if (outlier !== undefined) this.#shared.vitals.failed(this.backend.slot, outlier.consecutiveFailures);
  }

  /** @param counter of `COUNTER` */
  count(counter: number, by: number): void {
    this.#shared.countBackend(this.backend.slot, counter, by);
  }
}

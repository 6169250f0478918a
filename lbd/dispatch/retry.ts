import type { RetryConfig } from '../../common/resilience-config.ts';

/** How a try failed: no connection, the connection ended before the answer, no answer in time, or a bad answer. */
export type Failure = 'connect' | 'reset' | 'timeout' | 'status';

/** All that decides whether a request may be sent again. */
export interface TryFacts {
  readonly failure: Failure;
  /** Of the answer, where that is the failure; else 0. */
  readonly status: number;
  /** Sending it twice does no more than sending it once (RFC 9110 §9.2.2). */
  readonly idempotent: boolean;
  /** All of the request that has left is still here. */
  readonly replayable: boolean;
  /** Tries so far. */
  readonly tries: number;
  /** Of the pool, over all workers: retries, and all requests, in flight. */
  readonly retrying: number;
  readonly active: number;
}

/** Why a request is not sent again. */
export type NoRetry =
  | 'not a cause to retry'
  | 'sent already'
  | 'no attempts left'
  | 'retry budget is used up';

/**
 * Whether a request that failed may go to another backend. A request that could not be sent may always, whatever it
 * is, and costs no budget: no backend has worked on it. Any other only when its method is idempotent. The budget keeps
 * a pool that fails from being buried under retries (Finagle, Envoy): those in flight stay a share of the requests in
 * flight.
 *
 * @returns undefined: it may
 */
export function noRetry(config: RetryConfig, facts: TryFacts): NoRetry | undefined {
  if (!covers(config, facts)) return 'not a cause to retry';
  if (facts.tries > config.attempts) return 'no attempts left';
  if (facts.failure === 'connect') return undefined;
  if (!facts.idempotent || !facts.replayable) return 'sent already';
  const budget = Math.max(config.budgetMin, Math.floor(config.budgetShare * facts.active));
  return facts.retrying < budget ? undefined : 'retry budget is used up';
}

function covers(config: RetryConfig, { failure, status }: TryFacts): boolean {
  return failure === 'status' ? config.statuses.includes(status) : config[failure];
}

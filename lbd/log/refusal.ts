import type { FrontendCounter } from '../shared/shared.ts';
import type { Cause } from './cause.ts';

/** What lbd says where a backend's answer should be. TCP clients, to whom nothing can be said, are reset. */
export interface Refusal {
  readonly status: number;
  /** For programs: the access log. */
  readonly cause: Cause;
  /** For people; holds nothing that a client sent. */
  readonly text: string;
  /** What the cause leaves open, for the access log; undefined: nothing. */
  readonly reason?: string;
  /** What counts it, besides the counter of the status. */
  readonly counter?: FrontendCounter;
}

export const TOO_MANY_CLIENTS: Refusal = {
  status: 503,
  cause: 'too_many_clients',
  text: 'too many connections',
};
export const TOO_MANY_OF_CLIENT: Refusal = {
  status: 429,
  cause: 'too_many_of_client',
  text: 'too many connections from your address',
};
export const NO_ROUTE: Refusal = { status: 404, cause: 'no_route', text: 'no route matches' };
export const NO_HOST: Refusal = { status: 400, cause: 'no_host', text: 'no host to redirect to' };
export const HEAD_TOO_LARGE: Refusal = { status: 431, cause: 'head_too_large', text: 'head too large' };
export const HEAD_TIMEOUT: Refusal = {
  status: 408,
  cause: 'head_timeout',
  text: 'the request took too long',
};
export const BODY_TIMEOUT: Refusal = {
  status: 408,
  cause: 'body_timeout',
  text: 'the request body took too long',
};
export const NO_BACKEND: Refusal = {
  status: 503,
  cause: 'no_backend',
  text: 'no healthy backend',
  counter: 'refused_no_backend',
};
/** RFC 9110 §15.6.2 */
export const NO_UPGRADE: Refusal = {
  status: 501,
  cause: 'bad_request',
  text: 'the pool speaks HTTP/2, by which no protocol is switched',
  reason: 'upgrade to a pool of HTTP/2',
};
export const TOO_MANY_REQUESTS: Refusal = {
  status: 503,
  cause: 'breaker_open',
  text: 'the pool has as many requests as it may',
  counter: 'refused_breaker',
};
export const TOO_MANY_CONNECTIONS: Refusal = {
  status: 503,
  cause: 'breaker_open',
  text: 'the pool has as many backend connections as it may',
  counter: 'refused_breaker',
};
/** A link to http on the port of https. */
export const PLAIN_HTTP: Refusal = { status: 400, cause: 'tls_failed', text: 'this port speaks https' };
/** RFC 5842 §7.2, RFC 8586. */
export const LOOP: Refusal = { status: 508, cause: 'loop', text: 'the request has come round' };
export const QUEUE_FULL: Refusal = {
  status: 503,
  cause: 'queue_full',
  text: 'all backends are busy',
  counter: 'refused_queue_full',
};
export const QUEUE_TIMEOUT: Refusal = {
  status: 503,
  cause: 'queue_timeout',
  text: 'no backend had room in time',
  counter: 'refused_queue_timeout',
};
export const BACKEND_TIMEOUT: Refusal = {
  status: 504,
  cause: 'backend_timeout',
  text: 'the backend took too long',
};
export const TOTAL_TIMEOUT: Refusal = {
  status: 504,
  cause: 'total_timeout',
  text: 'the request took too long',
};

/** @param fault in the parser's words */
export function badRequest(fault: string, status = 400): Refusal {
  return { status, cause: status === 431 ? 'head_too_large' : 'bad_request', text: fault, reason: fault };
}

/** @param fault in words */
export function badResponse(fault: string): Refusal {
  return { status: 502, cause: 'bad_response', text: fault, reason: fault };
}

/** @param why code of the error, or words; never empty */
export function unreachable(why: string): Refusal {
  const late = why === 'ETIMEDOUT';
  return {
    status: late ? 504 : 502,
    cause: late ? 'connect_timeout' : 'connect_failed',
    text: `no backend could be reached: ${why}`,
    reason: why,
  };
}

/** @param why code of the error; empty: there was none */
export function backendClosed(why: string): Refusal {
  return {
    status: 502,
    cause: 'backend_closed',
    text: why === '' ? 'backend closed the connection' : `backend failed: ${why}`,
    ...(why !== '' && { reason: why }),
  };
}

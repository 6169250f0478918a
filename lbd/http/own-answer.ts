import { STATUS_CODES } from 'node:http';
import type { Cause } from '../log/cause.ts';
import type { Refusal } from '../log/refusal.ts';
import type { FrontendCounter } from '../shared/shared.ts';

/** An answer of lbd's own, in the place of a backend's. */
export interface OwnAnswer {
  readonly status: number;
  /** Besides `Date` and those of the codec; values latin1 without CR and LF. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** latin1 */
  readonly body: string;
  /** For the access log: why it is not a backend's; undefined: as it should be. */
  readonly cause: Cause | undefined;
  readonly reason?: string | undefined;
  /** What counts it, besides the counter of the status. */
  readonly counter?: FrontendCounter | undefined;
}

/** Plain text, one line, with the cause in words and the request id for the log. */
export function refusalAnswer(
  { status, text, cause, reason, counter }: Refusal,
  requestId: string,
): OwnAnswer {
  const body = `${status} ${STATUS_CODES[status] ?? ''}: ${text}\n`;
  return {
    status,
    fields: [
      ['Content-Type', 'text/plain'],
      ['Content-Length', `${body.length}`],
      ['Cache-Control', 'no-store'],
      ...(status === 503 ? ([['Retry-After', '1']] as const) : []),
      ...(requestId === '' ? [] : ([['X-Request-Id', requestId]] as const)),
    ],
    body,
    cause,
    reason,
    counter,
  };
}

/** Sends a client elsewhere. @param location as of the `Location` field */
export function redirectAnswer(status: number, location: string, requestId: string): OwnAnswer {
  return {
    status,
    fields: [
      ['Location', location],
      ['Content-Length', '0'],
      ['X-Request-Id', requestId],
    ],
    body: '',
    cause: undefined,
  };
}

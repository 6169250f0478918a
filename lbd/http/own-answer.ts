import { STATUS_CODES } from 'node:http';
import type { Cause } from '../log/cause.ts';
import type { Refusal } from '../log/refusal.ts';
import type { FrontendCounter } from '../shared/shared.ts';
import { Field, FieldName } from './field-names.ts';

const CONTENT_TYPE = new FieldName('Content-Type');
const CONTENT_LENGTH = new FieldName('Content-Length');
const CACHE_CONTROL = new FieldName('Cache-Control');
const RETRY_AFTER = new FieldName('Retry-After');
const REQUEST_ID = new FieldName('X-Request-Id');
const LOCATION = new FieldName('Location');

/** An answer of lbd's own, in the place of a backend's. */
export interface OwnAnswer {
  readonly status: number;
  /** Besides `Date` and those of the codec; values latin1 without CR and LF. */
  readonly fields: readonly Field[];
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
      new Field(CONTENT_TYPE, 'text/plain'),
      new Field(CONTENT_LENGTH, `${body.length}`),
      new Field(CACHE_CONTROL, 'no-store'),
      ...(status === 503 ? [new Field(RETRY_AFTER, '1')] : []),
      ...(requestId === '' ? [] : [new Field(REQUEST_ID, requestId)]),
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
    fields: [new Field(LOCATION, location), new Field(CONTENT_LENGTH, '0'), new Field(REQUEST_ID, requestId)],
    body: '',
    cause: undefined,
  };
}

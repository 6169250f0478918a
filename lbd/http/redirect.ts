import { STATUS_CODES } from 'node:http';
import type { RedirectConfig } from '../../common/tls-config.ts';
import { dateLine } from './date.ts';
import type { RequestHead } from './h1/request-head.ts';

/** Where a request belongs that came in the clear; undefined where it does not say to which host. */
export function httpsLocation(head: RequestHead, { port }: RedirectConfig): string | undefined {
  const { host, path, query } = head;
  if (host === '') return undefined;
  return `https://${host}${port === 443 ? '' : `:${port}`}${path}${query === '' ? '' : `?${query}`}`;
}

/**
 * The answer that sends a client there.
 *
 * @param keep whether the connection goes on
 */
export function redirectAnswer(status: number, location: string, requestId: string, keep: boolean): string {
  return (
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${dateLine()}Location: ${location}\r\nContent-Length: 0\r\n` +
    `X-Request-Id: ${requestId}\r\n${keep ? '' : 'Connection: close\r\n'}\r\n`
  );
}

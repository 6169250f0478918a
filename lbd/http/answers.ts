import { STATUS_CODES } from 'node:http';
import { dateLine } from './date.ts';

/**
 * An answer of lbd's own: plain text, one line, with the cause in words and the request id for the log.
 *
 * @param cause for people; holds nothing that the client sent
 * @param keep whether the connection goes on
 */
export function ownAnswer(
  status: number,
  cause: string,
  requestId: string,
  keep: boolean,
  toHead: boolean,
): string {
  const body = `${status} ${STATUS_CODES[status] ?? ''}: ${cause}\n`;
  const id = requestId === '' ? '' : `X-Request-Id: ${requestId}\r\n`;
  const retry = status === 503 ? 'Retry-After: 1\r\n' : '';
  return (
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${dateLine()}Content-Type: text/plain\r\nContent-Length: ${body.length}\r\n` +
    `Cache-Control: no-store\r\n${retry}${id}${keep ? '' : 'Connection: close\r\n'}\r\n${toHead ? '' : body}`
  );
}

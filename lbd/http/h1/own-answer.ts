import { STATUS_CODES } from 'node:http';
import { dateBlock } from '../date.ts';
import type { OwnAnswer } from '../own-answer.ts';

/**
 * An answer of lbd's own, whole, as HTTP/1 writes it in latin1.
 *
 * @param keep whether the connection goes on
 */
export function ownAnswerText({ status, fields, body }: OwnAnswer, keep: boolean, toHead: boolean): string {
  const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return (
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${dateBlock().lines.toString('latin1')}${lines}` +
    `${keep ? '' : 'Connection: close\r\n'}\r\n${toHead ? '' : body}`
  );
}

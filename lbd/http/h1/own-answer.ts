import { STATUS_CODES } from 'node:http';
import { dateBlock } from '../date.ts';
import type { OwnAnswer } from '../own-answer.ts';

/** The last answer on a connection, to what is no request that policies could see: whole, as HTTP/1 writes it in latin1. */
export function lastAnswerText({ status, fields, body }: OwnAnswer): string {
  const lines = fields.map(({ name, value }) => `${name.prefix}${value}\r\n`).join('');
  return (
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${dateBlock().lines.toString('latin1')}${lines}` +
    `Connection: close\r\n\r\n${body}`
  );
}

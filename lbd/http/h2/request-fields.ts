import { equalsIgnoreCase } from '../h1/fields.ts';
import { COLON, CR, HTAB, SP } from '../h1/grammar.ts';
import { block } from './answer-fields.ts';
import { writeField, writeMethod, writeScheme, writeText } from './hpack/encoder.ts';

const PATH = Buffer.from(':path');
const AUTHORITY = Buffer.from(':authority');
/** What a field of the head is to HTTP/2. */
const PASSES = 0;
const HOST = 1;
const DROPPED = 2;
const TE = 3;

/**
 * Writes a request into `block`, as fields of HTTP/2 (RFC 9113 §8.3.1).
 *
 * @param head as `HttpRequest.render` has written it: what it says of this hop ends here
 * @returns where the head ends
 */
export function writeRequest(head: Buffer, scheme: 'http' | 'https'): number {
  const methodEnd = find(head, SP, 0);
  const targetEnd = find(head, SP, methodEnd + 1);
  writeMethod(block, methodOf(head, methodEnd));
  writeScheme(block, scheme);
  writeField(block, PATH, 0, PATH.length, head, methodEnd + 1, targetEnd, false);
  const first = find(head, CR, targetEnd) + 2;
  writeHost(head, first);
  let at = first;
  while (head[at] !== CR) {
    const nameEnd = find(head, COLON, at);
    const lineEnd = find(head, CR, nameEnd);
    const kind = kindOf(head, at, nameEnd);
    if (kind === PASSES) {
      const start = firstOf(head, nameEnd + 1, lineEnd);
      writeField(block, head, at, nameEnd, head, start, lastOf(head, start, lineEnd), false);
    }
    // Nothing else is ever asked for there (RFC 9113 §8.2.2).
    else if (kind === TE) writeText(block, 'te', 'trailers');
    at = lineEnd + 2;
  }
  return at + 2;
}

/** Heads are short, and their pieces shorter: a call into the runtime for each costs more than looking for them here. */
function find(head: Buffer, byte: number, from: number): number {
  let at = from;
  while (head[at] !== byte) at++;
  return at;
}

/** @returns offset behind white space */
function firstOf(head: Buffer, start: number, end: number): number {
  let at = start;
  while (at < end && isBlank(head[at]!)) at++;
  return at;
}

/** @returns offset before white space at the end */
function lastOf(head: Buffer, start: number, end: number): number {
  let at = end;
  while (at > start && isBlank(head[at - 1]!)) at--;
  return at;
}

function methodOf(head: Buffer, end: number): string {
  const isGet = end === 3 && head[0] === 71 && head[1] === 69 && head[2] === 84;
  return isGet ? 'GET' : head.latin1Slice(0, end);
}

/** Pseudo fields come first: the host is looked for before the other fields are written. */
function writeHost(head: Buffer, first: number): void {
  for (let at = first; head[at] !== CR; ) {
    const lineEnd = find(head, CR, at);
    if (equalsIgnoreCase(head, at, at + 5, 'host:')) {
      const start = firstOf(head, at + 5, lineEnd);
      writeField(block, AUTHORITY, 0, AUTHORITY.length, head, start, lastOf(head, start, lineEnd), false);
      return;
    }
    at = lineEnd + 2;
  }
}

function kindOf(head: Buffer, start: number, end: number): number {
  switch (end - start) {
    case 2:
      return equalsIgnoreCase(head, start, end, 'te') ? TE : PASSES;
    case 4:
      return equalsIgnoreCase(head, start, end, 'host') ? HOST : PASSES;
    case 7:
      return equalsIgnoreCase(head, start, end, 'upgrade') ? DROPPED : PASSES;
    case 10:
      return equalsIgnoreCase(head, start, end, 'connection') ||
        equalsIgnoreCase(head, start, end, 'keep-alive')
        ? DROPPED
        : PASSES;
    case 14:
      return equalsIgnoreCase(head, start, end, 'http2-settings') ? DROPPED : PASSES;
    case 16:
      return equalsIgnoreCase(head, start, end, 'proxy-connection') ? DROPPED : PASSES;
    case 17:
      return equalsIgnoreCase(head, start, end, 'transfer-encoding') ? DROPPED : PASSES;
    default:
      return PASSES;
  }
}

function isBlank(byte: number): boolean {
  return byte === SP || byte === HTAB;
}

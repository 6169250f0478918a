import { equalsIgnoreCase } from '../h1/fields.ts';
import { COLON, CR, HTAB, SP } from '../h1/grammar.ts';
import { block } from './answer-fields.ts';
import {
  writeAuthority,
  writeField,
  writeMethod,
  writePath,
  writeScheme,
  writeText,
} from './hpack/encoder.ts';

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
  const methodEnd = head.indexOf(SP);
  const targetEnd = head.indexOf(SP, methodEnd + 1);
  writeMethod(block, head.latin1Slice(0, methodEnd));
  writeScheme(block, scheme);
  writePath(block, head.latin1Slice(methodEnd + 1, targetEnd));
  const first = head.indexOf(CR, targetEnd) + 2;
  writeHost(head, first);
  let at = first;
  while (head[at] !== CR) {
    const nameEnd = head.indexOf(COLON, at);
    const lineEnd = head.indexOf(CR, nameEnd);
    let valueStart = nameEnd + 1;
    let valueEnd = lineEnd;
    while (valueStart < valueEnd && isBlank(head[valueStart]!)) valueStart++;
    while (valueEnd > valueStart && isBlank(head[valueEnd - 1]!)) valueEnd--;
    const kind = kindOf(head, at, nameEnd);
    if (kind === PASSES) writeField(block, head, at, nameEnd, head, valueStart, valueEnd, false);
    // Nothing else is ever asked for there (RFC 9113 §8.2.2).
    else if (kind === TE) writeText(block, 'te', 'trailers');
    at = lineEnd + 2;
  }
  return at + 2;
}

/** Pseudo fields come first: the host is looked for before the other fields are written. */
function writeHost(head: Buffer, first: number): void {
  for (let at = first; head[at] !== CR; ) {
    const lineEnd = head.indexOf(CR, at);
    if (equalsIgnoreCase(head, at, at + 5, 'host:')) {
      writeAuthority(block, head.latin1Slice(at + 5, lineEnd).trim());
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

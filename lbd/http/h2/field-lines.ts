import { COLON, HTAB, SP } from '../h1/grammar.ts';
import type { Message } from '../message.ts';
import { copyBytes } from './hpack/bytes.ts';

/** What every field is charged besides its bytes (RFC 9113 §6.5.2). */
export const FIELD_OVERHEAD = 32;

/** RFC 9113 §8.2.1: a byte of a field name, which is in lower case. */
const NAME = Uint8Array.from({ length: 256 }, (_, byte) =>
  /[!#$%&'*+.^_`|~0-9a-z-]/.test(String.fromCharCode(byte)) ? 1 : 0,
);

export function isFieldName(name: Buffer, start: number, end: number): boolean {
  for (let p = start; p < end; p++) if (NAME[name[p]!] === 0) return false;
  return end > start;
}

/** RFC 9113 §8.2.1: white space at either end makes a value malformed. */
export function isPadded(value: Buffer, start: number, end: number): boolean {
  return end > start && (isBlank(value[start]!) || isBlank(value[end - 1]!));
}

function isBlank(byte: number): boolean {
  return byte === SP || byte === HTAB;
}

/** Adds a field as HTTP/1 writes it. */
export function writeLine(
  out: Message,
  name: Buffer,
  nameStart: number,
  nameEnd: number,
  value: Buffer,
  valueStart: number,
  valueEnd: number,
): void {
  const nameLength = nameEnd - nameStart;
  const valueLength = valueEnd - valueStart;
  let at = out.room(nameLength + valueLength + 4);
  const { bytes } = out;
  copyBytes(name, nameStart, nameEnd, bytes, at);
  at += nameLength;
  bytes[at++] = COLON;
  bytes[at++] = SP;
  copyBytes(value, valueStart, valueEnd, bytes, at);
  at += valueLength;
  bytes[at] = 13;
  bytes[at + 1] = 10;
}

/**
 * The fields of trailers that `passes`, each with its CRLF.
 *
 * @param message all of them, by `writeLine`
 * @param lines how many those were: a line end within a value would make more of them
 * @returns undefined: they are malformed
 */
export function trailersIn(
  message: Message,
  lines: number,
  passes: (name: string) => boolean,
): string | undefined {
  if (lines === 0) return '';
  const parts = message.toString().split(/(?<=\r\n)/);
  if (parts.length !== lines) return undefined;
  let text = '';
  for (const part of parts) {
    const name = /^([^:]+): [\t\x20-\x7e\x80-\xff]*\r\n$/.exec(part)?.[1];
    if (name === undefined) return undefined;
    if (passes(name)) text += part;
  }
  return text;
}

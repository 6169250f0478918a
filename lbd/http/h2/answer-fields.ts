import { Message } from '../message.ts';
import type { FieldSink } from '../model.ts';
import { writeField, writeText } from './hpack/encoder.ts';

/** Of this thread: a block of fields is put together and sent within one callback. */
export const block = new Message(1024);

/** Writes the fields of an answer into `block`. */
export const ANSWER_FIELDS: FieldSink = {
  came(buffer, nameStart, nameEnd, valueStart, valueEnd) {
    writeField(block, buffer, nameStart, nameEnd, buffer, valueStart, valueEnd, false);
  },
  added({ lower }, value) {
    writeText(block, lower, value);
  },
};

/** @param trailers each with its CRLF */
export function writeTrailers(trailers: string): void {
  for (const line of trailers.split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) writeText(block, line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
}

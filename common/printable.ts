/**
 * Control characters (C0, DEL, C1), format characters (all that turn the direction of text, zero width, tags), separators
 * of lines and paragraphs, and halves of surrogate pairs: what moves the cursor, colours, hides, or makes text look like
 * other text (Unicode 16, general categories; UTS 55 on bidirectional spoofing).
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** Text that a backend, a peer, a client or a socket may have had a hand in, made safe for a terminal: one line of text. */
export function printable(text: string): string {
  return text.replaceAll(UNPRINTABLE, '?');
}

/** Like `printable`, and not longer than `maxChars`; what is cut ends with an ellipsis. */
export function shortPrintable(text: string, maxChars: number): string {
  return printable(text.length > maxChars ? `${text.slice(0, maxChars - 1)}…` : text);
}

/** Like `printable`, for every string and key of an answer, however deep. */
export function printableAll<T>(value: T): T {
  if (typeof value === 'string') return printable(value) as T;
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(printableAll) as T;
  // Without a prototype: a key "__proto__" is a key.
  const clean = Object.create(null) as Record<string, unknown>;
  for (const [key, part] of Object.entries(value)) clean[printable(key)] = printableAll(part);
  return clean as T;
}

/** @param json as `JSON.stringify` makes it @returns the same value, in characters that a terminal shows as they are */
export function printableJson(json: string): string {
  return json.replaceAll(UNPRINTABLE, (found) =>
    found === '\n'
      ? found
      : Array.from(
          { length: found.length },
          (_, i) => `\\u${found.charCodeAt(i).toString(16).padStart(4, '0')}`,
        ).join(''),
  );
}

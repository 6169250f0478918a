/** RFC 7541 Appendix A, from index 1 on. */
const ENTRIES: readonly (readonly [name: string, value: string])[] = [
  [':authority', ''],
  [':method', 'GET'],
  [':method', 'POST'],
  [':path', '/'],
  [':path', '/index.html'],
  [':scheme', 'http'],
  [':scheme', 'https'],
  [':status', '200'],
  [':status', '204'],
  [':status', '206'],
  [':status', '304'],
  [':status', '400'],
  [':status', '404'],
  [':status', '500'],
  ['accept-charset', ''],
  ['accept-encoding', 'gzip, deflate'],
  ['accept-language', ''],
  ['accept-ranges', ''],
  ['accept', ''],
  ['access-control-allow-origin', ''],
  ['age', ''],
  ['allow', ''],
  ['authorization', ''],
  ['cache-control', ''],
  ['content-disposition', ''],
  ['content-encoding', ''],
  ['content-language', ''],
  ['content-length', ''],
  ['content-location', ''],
  ['content-range', ''],
  ['content-type', ''],
  ['cookie', ''],
  ['date', ''],
  ['etag', ''],
  ['expect', ''],
  ['expires', ''],
  ['from', ''],
  ['host', ''],
  ['if-match', ''],
  ['if-modified-since', ''],
  ['if-none-match', ''],
  ['if-range', ''],
  ['if-unmodified-since', ''],
  ['last-modified', ''],
  ['link', ''],
  ['location', ''],
  ['max-forwards', ''],
  ['proxy-authenticate', ''],
  ['proxy-authorization', ''],
  ['range', ''],
  ['referer', ''],
  ['refresh', ''],
  ['retry-after', ''],
  ['server', ''],
  ['set-cookie', ''],
  ['strict-transport-security', ''],
  ['transfer-encoding', ''],
  ['user-agent', ''],
  ['vary', ''],
  ['via', ''],
  ['www-authenticate', ''],
];

export const STATIC_ENTRIES = ENTRIES.length;

/** Names and values, each value behind its name. */
export const STATIC_BYTES = Buffer.from(ENTRIES.flat().join(''), 'latin1');
/** By index, where in `STATIC_BYTES`: a name ends where its value starts. */
export const NAME_START = new Uint16Array(STATIC_ENTRIES + 1);
export const NAME_END = new Uint16Array(STATIC_ENTRIES + 1);
export const VALUE_END = new Uint16Array(STATIC_ENTRIES + 1);
/** By index: the first one of the same name, which stands for the name. */
export const NAME_INDEX = new Uint8Array(STATIC_ENTRIES + 1);

/** Indices that stand for names, by name. */
export const STATIC_NAMES: ReadonlyMap<string, number> = new Map(
  ENTRIES.map(([name], i) => [name, i + 1] as const).reverse(),
);

/** Indices that stand for names, by `slotOf`: at most one name is compared byte by byte. */
const SLOTS = new Uint8Array(256);

/** The factors were searched for: no two names share a slot. Capital letters make no difference. */
function slotOf(bytes: Uint8Array, start: number, end: number): number {
  return (2 * (end - start) + (bytes[start]! & 31) + 50 * (bytes[end - 1]! & 31)) & 255;
}

for (let index = 1, at = 0; index <= STATIC_ENTRIES; index++) {
  const [name, value] = ENTRIES[index - 1]!;
  NAME_START[index] = at;
  NAME_END[index] = at + name.length;
  at += name.length + value.length;
  VALUE_END[index] = at;
  NAME_INDEX[index] = STATIC_NAMES.get(name)!;
  const slot = slotOf(STATIC_BYTES, NAME_START[index]!, NAME_END[index]!);
  if (NAME_INDEX[index] === index && SLOTS[slot] !== 0)
    throw new Error(`two names share the slot of ${name}`);
  SLOTS[slot] = NAME_INDEX[index]!;
}

/** What `staticName` takes bytes for: themselves, or small letters where they are capital ones. */
export const EXACT = Uint8Array.from({ length: 256 }, (_, byte) => byte);
export const LOWER = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte >= 65 && byte <= 90 ? byte | 32 : byte,
);

/**
 * Which name of the static table the bytes are.
 *
 * @param letters `EXACT` or `LOWER`
 * @returns the first index of that name; 0: it is not there
 */
export function staticName(bytes: Uint8Array, start: number, end: number, letters: Uint8Array): number {
  if (start === end) return 0;
  const index = SLOTS[slotOf(bytes, start, end)]!;
  const at = NAME_START[index]!;
  if (NAME_END[index]! - at !== end - start) return 0;
  for (let i = end - start - 1; i >= 0; i--)
    if (letters[bytes[start + i]!] !== STATIC_BYTES[at + i]) return 0;
  return index;
}

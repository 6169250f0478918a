const ZERO = 0x30;
const NINE = 0x39;
const DOT = 0x2e;
const COLON = 0x3a;
const PERCENT = 0x25;
/** Third word of an IPv4-mapped IPv6 address, RFC 4291 section 2.5.5.2. */
const MAPPED = 0xffff;

const groups = new Int32Array(8);

/**
 * Reads an IP address into 16 bytes, as four words with the most significant byte first. IPv4 becomes its
 * IPv4-mapped form, so that `10.0.0.1` and `::ffff:10.0.0.1` (what a dual-stack socket reports) are one
 * client. A zone (`%eth0`) does not count. Allocates nothing.
 *
 * @param into gets the words at 0 to 3; undefined content after a failure
 * @returns false where the text is not an address
 */
export function parseAddress(text: string, into: Int32Array): boolean {
  if (text.indexOf(':') >= 0) return parse6(text, into);
  const end = parse4(text, 0, text.length);
  if (end < 0) return false;
  into[0] = 0;
  into[1] = 0;
  into[2] = MAPPED;
  into[3] = parsed4;
  return true;
}

/** Whether four words are an IPv4 address, see `parseAddress`. */
export function isIPv4Mapped(words: Int32Array): boolean {
  return words[0] === 0 && words[1] === 0 && words[2] === MAPPED;
}

/** Clears all but the first bits of an address. @param bits 0 to 128 */
export function maskAddress(words: Int32Array, bits: number): void {
  for (let i = 0; i < 4; i++) {
    const left = Math.min(Math.max(bits - 32 * i, 0), 32);
    words[i] = left === 0 ? 0 : words[i]! & (-1 << (32 - left));
  }
}

/** Text of four words as `parseAddress` writes them: dotted for IPv4-mapped, else IPv6 as in RFC 5952. */
export function formatAddress(words: Int32Array): string {
  const [a, b, c, d] = [words[0]!, words[1]!, words[2]!, words[3]!];
  if (isIPv4Mapped(words)) return `${d >>> 24}.${(d >>> 16) & 255}.${(d >>> 8) & 255}.${d & 255}`;
  const parts = [a, b, c, d].flatMap((word) => [word >>> 16, word & 0xffff]);
  let start = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let run = 0;
    while (i + run < 8 && parts[i + run] === 0) run++;
    if (run > length) [start, length] = [i, run];
  }
  const hex = (from: number, to: number) =>
    parts
      .slice(from, to)
      .map((part) => part.toString(16))
      .join(':');
  return start < 0 ? hex(0, 8) : `${hex(0, start)}::${hex(start + length, 8)}`;
}

/** Result of `parse4`: a return value and a flag in one number would cost a branch per digit. */
let parsed4 = 0;

/** @returns the end of the dotted quad, or -1 */
function parse4(text: string, from: number, to: number): number {
  let value = 0;
  let octet = -1;
  let dots = 0;
  for (let i = from; i <= to; i++) {
    const code = i < to ? text.charCodeAt(i) : DOT;
    if (code >= ZERO && code <= NINE) {
      octet = (octet < 0 ? 0 : octet * 10) + code - ZERO;
      if (octet > 255) return -1;
    } else if (code === DOT && octet >= 0) {
      value = (value << 8) | octet;
      octet = -1;
      dots++;
    } else return -1;
  }
  if (dots !== 4) return -1;
  parsed4 = value;
  return to;
}

function hexDigit(code: number): number {
  if (code >= ZERO && code <= NINE) return code - ZERO;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function parse6(text: string, into: Int32Array): boolean {
  let count = 0;
  let gap = -1;
  let end = text.indexOf('%');
  if (end < 0) end = text.length;
  let i = 0;
  if (end >= 2 && text.charCodeAt(0) === COLON && text.charCodeAt(1) === COLON) {
    gap = 0;
    i = 2;
  }
  while (i < end) {
    if (count === 8) return false;
    let value = 0;
    const start = i;
    for (; i < end; i++) {
      const digit = hexDigit(text.charCodeAt(i));
      if (digit < 0) break;
      value = (value << 4) | digit;
    }
    if (i < end && text.charCodeAt(i) === DOT) {
      if (count > 6 || parse4(text, start, end) < 0) return false;
      groups[count++] = parsed4 >>> 16;
      groups[count++] = parsed4 & 0xffff;
      i = end;
      break;
    }
    if (i === start || i - start > 4) return false;
    groups[count++] = value;
    if (i === end) break;
    if (text.charCodeAt(i) === PERCENT || text.charCodeAt(i) !== COLON) return false;
    i++;
    if (i < end && text.charCodeAt(i) === COLON) {
      if (gap >= 0) return false;
      gap = count;
      i++;
    } else if (i === end) return false;
  }
  if (gap < 0 ? count !== 8 : count > 7) return false;
  const zeros = 8 - count;
  for (let group = 0; group < 8; group += 2)
    into[group / 2] = (groupAt(group, gap, zeros) << 16) | groupAt(group + 1, gap, zeros);
  return true;
}

function groupAt(index: number, gap: number, zeros: number): number {
  if (gap < 0 || index < gap) return groups[index]!;
  return index < gap + zeros ? 0 : groups[index - zeros]!;
}

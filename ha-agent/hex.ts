/** Of the code of a character; anything but a digit is nobody's business here. */
const NINE = 57;
const LOWER = 0x20;
/** Texts that are kept, a power of two: what a few peers say over and over. */
const SLOTS = 64;

/**
 * Writes hexadecimal digits as bytes. For the few bytes of a hash it takes a fraction of `Buffer.write`, which leaves
 * JavaScript for it.
 *
 * @param digits two for each byte, from 0 to 9 and a to f
 * @returns where the next byte goes
 */
export function writeHex(out: Uint8Array, at: number, digits: string): number {
  const { length } = digits;
  let next = at;
  for (let i = 0; i + 1 < length; i += 2)
    out[next++] = (digitOf(digits.charCodeAt(i)) << 4) | digitOf(digits.charCodeAt(i + 1));
  return next;
}

function digitOf(code: number): number {
  return code <= NINE ? code - 48 : (code | LOWER) - 87;
}

interface Kept {
  readonly bytes: Uint8Array;
  readonly text: string;
}

/**
 * Reads bytes as hexadecimal digits. What comes again and again, as most of a heartbeat does, is the same string each
 * time and makes no garbage; what is new takes the place of something else, so that a flood of it fills no memory.
 */
export class HexReader {
  readonly #kept: (Kept | undefined)[] = new Array<undefined>(SLOTS).fill(undefined);

  /** @param length in bytes; all of them are there */
  read(data: Buffer, at: number, length: number): string {
    // Source of the hash: FNV-1a by G. Fowler, L. Noll and P. Vo.
    let hash = 0x811c9dc5;
    for (let i = 0; i < length; i++) hash = Math.imul(hash ^ data[at + i]!, 0x01000193);
    const slot = (hash ^ (hash >>> 16)) & (SLOTS - 1);
    const kept = this.#kept[slot];
    if (kept !== undefined && isSame(kept.bytes, data, at, length)) return kept.text;
    const text = data.toString('hex', at, at + length);
    this.#kept[slot] = { bytes: Uint8Array.prototype.slice.call(data, at, at + length), text };
    return text;
  }
}

function isSame(bytes: Uint8Array, data: Buffer, at: number, length: number): boolean {
  if (bytes.length !== length) return false;
  for (let i = 0; i < length; i++) if (bytes[i] !== data[at + i]) return false;
  return true;
}

import { asking } from './current.ts';

export * from 'node:crypto';

/** In place of `crypto.randomBytes`: a seed replays. */
export function randomBytes(size: number): Buffer {
  const { random } = asking().machine;
  return Buffer.from(Array.from({ length: size }, () => Math.floor(random() * 256)));
}

class Hmac {
  readonly #key: Buffer;
  #text: Buffer | undefined;

  constructor(key: Buffer) {
    this.#key = key;
  }

  update(text: Buffer | string): this {
    this.#text = typeof text === 'string' ? Buffer.from(text) : text;
    return this;
  }

  digest(): Buffer {
    return digestOf(this.#key, this.#text!);
  }
}

/** In place of `crypto.createHmac`: not secret at all, but each bit of key and text counts, and it is fast. */
export function createHmac(_algorithm: string, key: Buffer): Hmac {
  return new Hmac(key);
}

/** In place of `crypto.timingSafeEqual`: nobody measures. */
export function timingSafeEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) throw new RangeError('Input buffers must have the same byte length');
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** 32 bytes. Source of the mixing: MurmurHash3 by A. Appleby, two lanes of 32 bits. */
function digestOf(key: Buffer, text: Buffer): Buffer {
  const { length } = text;
  const view = new DataView(text.buffer, text.byteOffset, length);
  let a = key.readInt32LE(0) ^ length;
  let b = key.readInt32LE(4) ^ 0x9e3779b9;
  let i = 0;
  for (; i + 4 <= length; i += 4) {
    const word = view.getInt32(i, true);
    a = Math.imul(a ^ word, 0xcc9e2d51);
    a = (a << 15) | (a >>> 17);
    b = Math.imul(b + word, 0x1b873593) ^ (b >>> 13);
  }
  for (; i < length; i++) {
    a = Math.imul(a ^ text[i]!, 0xcc9e2d51);
    b = Math.imul(b + text[i]!, 0x1b873593) ^ (b >>> 13);
  }
  const out = Buffer.allocUnsafe(32);
  const words = new DataView(out.buffer, out.byteOffset, 32);
  for (let at = 0; at < 32; at += 8) {
    a = Math.imul(a ^ (a >>> 16) ^ at, 0x85ebca6b);
    b = Math.imul(b ^ (b >>> 13) ^ a, 0xc2b2ae35);
    words.setInt32(at, a, true);
    words.setInt32(at + 4, b, true);
  }
  return out;
}

import { formatAddress, isIPv4Mapped, maskAddress, parseAddress } from '../../common/ip-words.ts';
import { halfSipHash } from './half-siphash.ts';
import { KEY_WORDS, KIND, KIND_COOKIE, KIND_SOURCE, POOL } from './layout.ts';

/** A cookie longer than this does not fit in a request head. */
const COOKIE_WORDS = 512;

/**
 * Scratch for one key at a time, so that the hot path allocates nothing: 128 bits, the pool that it is valid
 * in, its kind, and the two hashes that place it in the table.
 */
export class SessionKey {
  readonly words = new Int32Array(KEY_WORDS);
  /** False: the last text was no key; lookups miss and stores do nothing. */
  valid = false;
  /** Never 0. Its top bits are the partition. */
  tag = 0;
  spread = 0;
  readonly #hashKey: Int32Array;
  readonly #hash = new Int32Array(2);
  #text = new Int32Array(COOKIE_WORDS);

  /** @param hashKey four words, equal on both nodes and unknown to clients; looked at each time, so it may be shared memory */
  constructor(hashKey: Uint32Array) {
    if (hashKey.length !== 4) throw new RangeError(`hash key must have 4 words: it has ${hashKey.length}`);
    this.#hashKey = new Int32Array(hashKey.buffer, hashKey.byteOffset, hashKey.length);
  }

  /** @param prefix6 leading bits of an IPv6 address that count @returns false where `ip` is not an address */
  setSource(pool: number, ip: string, prefix6: number): boolean {
    this.valid = parseAddress(ip, this.words);
    if (!this.valid) return false;
    if (prefix6 < 128 && !isIPv4Mapped(this.words)) maskAddress(this.words, prefix6);
    this.words[POOL] = pool;
    this.words[KIND] = KIND_SOURCE;
    this.place();
    return true;
  }

  /** The cookie's value itself is not kept: two passes of HalfSipHash-2-4 make 128 bits of it. */
  setCookie(pool: number, value: string): void {
    const count = Math.ceil(value.length / 2) + 1;
    if (count > this.#text.length) this.#text = new Int32Array(count);
    const text = this.#text;
    for (let i = 0; i + 1 < count; i++)
      text[i] = value.charCodeAt(i * 2) | (i * 2 + 1 < value.length ? value.charCodeAt(i * 2 + 1) << 16 : 0);
    text[count - 1] = value.length;
    const key = this.#hashKey;
    halfSipHash(text, count, key[0]!, key[1]!, 2, 4, this.words, 0);
    halfSipHash(text, count, key[2]!, key[3]!, 2, 4, this.words, 2);
    this.words[POOL] = pool;
    this.words[KIND] = KIND_COOKIE;
    this.valid = true;
    this.place();
  }

  /** Computes where `words` belongs. Call after filling them by hand. */
  place(): void {
    halfSipHash(this.words, KEY_WORDS, this.#hashKey[0]!, this.#hashKey[3]!, 1, 3, this.#hash, 0);
    this.tag = this.#hash[0]! || 1;
    this.spread = this.#hash[1]!;
  }

  /** The hash key, as four words. */
  get hashKey(): Int32Array {
    return this.#hashKey.slice();
  }

  /** Another hash key, for all whose key lies in the same memory. What was placed by the former one is not found any more. */
  adopt(hashKey: Int32Array): void {
    this.#hashKey.set(hashKey);
  }

  /** A number that differs, but for one in 2^32, where the hash key differs. Says nothing about the key. */
  fingerprint(): number {
    const probe = new Int32Array([0x7461, 0x6e64, 0x656d]);
    halfSipHash(probe, probe.length, this.#hashKey[0]!, this.#hashKey[1]!, 2, 4, probe, 0);
    halfSipHash(probe, probe.length, this.#hashKey[2]!, this.#hashKey[3]!, 2, 4, probe, 1);
    return probe[2]! >>> 0;
  }
}

/** What a person sees of a key: an address, or the first bytes of a cookie's hash. */
export function keyText(words: Int32Array): string {
  if (words[KIND] === KIND_SOURCE) return formatAddress(words);
  return [words[0]!, words[1]!].map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
}

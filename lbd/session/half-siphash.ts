/**
 * HalfSipHash: a keyed hash on 32-bit words, so that a client that picks its own keys cannot aim them at one
 * bucket of a table. Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", and the reference
 * code `halfsiphash.c` (64-bit output). Input is whole words here; the length byte covers them.
 *
 * @param words input, little-endian words
 * @param count how many of them
 * @param k0 first half of the 64-bit key
 * @param k1 second half
 * @param cRounds rounds per word: 2 for the PRF (HalfSipHash-2-4), 1 where a hash table is all there is to defend
 * @param dRounds final rounds: 4, or 3
 * @param out gets the 64-bit result as two words
 * @param at where in `out`
 */
export function halfSipHash(
  words: Int32Array,
  count: number,
  k0: number,
  k1: number,
  cRounds: number,
  dRounds: number,
  out: Int32Array,
  at: number,
): void {
  let v0 = k0 | 0;
  // 0xee marks the 64-bit output variant.
  let v1 = k1 ^ 0xee;
  let v2 = k0 ^ 0x6c796765;
  let v3 = k1 ^ 0x74656462;
  for (let i = 0; i <= count + 2; i++) {
    let message = 0;
    let rounds = dRounds;
    if (i < count) {
      message = words[i]!;
      rounds = cRounds;
      v3 ^= message;
    } else if (i === count) {
      message = (count * 4) << 24;
      rounds = cRounds;
      v3 ^= message;
    } else if (i === count + 1) {
      v2 ^= 0xee;
    } else {
      v1 ^= 0xdd;
    }
    for (let round = 0; round < rounds; round++) {
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
    }
    v0 ^= message;
    if (i === count + 1) out[at] = v1 ^ v3;
  }
  out[at + 1] = v1 ^ v3;
}

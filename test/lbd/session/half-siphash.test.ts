import t from 'tap';
import { halfSipHash } from '../../../lbd/session/half-siphash.ts';

// From vectors.h of the reference code: key 00 01 … 07, input 00 01 02 …, 64-bit output.
const vectors: [bytes: number, hex: string][] = [
  [0, '218d1f59b9b83cc8'],
  [4, 'd5e78a175be52ea1'],
  [8, 'edfee820bce4858c'],
  [12, '7bc71f9faef5c799'],
];
for (const [bytes, hex] of vectors)
  t.test(`reference vector of ${bytes} bytes`, async (t) => {
    const input = Buffer.from(Array.from({ length: bytes }, (_, i) => i));
    const words = Int32Array.from({ length: bytes / 4 }, (_, i) => input.readInt32LE(i * 4));
    const out = new Int32Array(2);
    halfSipHash(words, words.length, 0x03020100, 0x07060504, 2, 4, out, 0);
    t.equal(Buffer.from(out.buffer).toString('hex'), hex);
  });

/** RFC 7541 Appendix B: bits of the code of each byte and, behind them, of EOS. The code is canonical, so they are all of it. */
const BITS = [
  ...[13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28],
  ...[28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6],
  ...[6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7],
  ...[7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7],
  ...[7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24],
  ...[24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22],
  ...[22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20],
  ...[19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26],
  ...[28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27],
  ...[27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30],
];
const EOS = 256;
const SHORTEST = 5;
const LONGEST = 30;

const LENGTHS = Uint8Array.from(BITS);
const CODES = new Uint32Array(BITS.length);
for (let bits = SHORTEST, code = 0; bits <= LONGEST; bits++, code *= 2)
  for (let symbol = 0; symbol <= EOS; symbol++) if (BITS[symbol] === bits) CODES[symbol] = code++;

/** What the decoder finds wrong; the ends of strings are never negative. */
export const HUFFMAN_FAULT = { eos: -1, longPadding: -2, wrongPadding: -3 } as const;

/** Inner nodes of the code tree, by the bits read since the last symbol ended; 0 is its root. A child below 0 is a symbol: `~child`. */
const NODES: [number, number][] = [[0, 0]];
for (let symbol = 0; symbol <= EOS; symbol++) {
  let node = 0;
  for (let bit = BITS[symbol]! - 1; bit >= 0; bit--) {
    const branch = (CODES[symbol]! >>> bit) & 1;
    if (bit === 0) NODES[node]![branch] = ~symbol;
    else {
      if (NODES[node]![branch] === 0) NODES[node]![branch] = NODES.push([0, 0]) - 1;
      node = NODES[node]![branch]!;
    }
  }
}

/**
 * What a byte does in a node, at `node << 8 | byte`: two symbols that may have ended in it (bits 24 to 31, 16 to 23), the
 * node behind it (8 to 15), `IS_EOS`, and how many symbols there are (0 and 1). No byte ends three.
 */
const STEPS = new Int32Array(NODES.length << 8);
const IS_EOS = 4;
for (let at = 0; at < STEPS.length; at++) {
  let node = at >>> 8;
  let step = 0;
  for (let bit = 7; bit >= 0; bit--) {
    node = NODES[node]![(at >>> bit) & 1]!;
    if (node >= 0) continue;
    const symbol = ~node;
    step = symbol === EOS ? step | IS_EOS : (step | (symbol << (24 - 8 * (step & 3)))) + 1;
    node = 0;
  }
  STEPS[at] = step | (node << 8);
}

/** By node: what is wrong with a string that ends in it (RFC 7541 §5.2). */
const ENDS = new Int8Array(NODES.length).fill(HUFFMAN_FAULT.wrongPadding);
for (let node = 0, ones = 0; node >= 0; node = NODES[node]![1], ones++)
  ENDS[node] = ones <= 7 ? 0 : HUFFMAN_FAULT.longPadding;

/** @returns bytes that `decodeHuffman` needs room for: what so many bytes of code can at most stand for, and one */
export function mostDecoded(encodedBytes: number): number {
  return Math.floor((encodedBytes * 8) / SHORTEST) + 1;
}

/**
 * Decodes a string, by a table of what each byte does in each node of the code tree.
 *
 * @param to has room for `mostDecoded` bytes behind `at`
 * @returns where the string ends in `to`, or one of `HUFFMAN_FAULT`
 */
export function decodeHuffman(
  from: Uint8Array,
  start: number,
  end: number,
  to: Uint8Array,
  at: number,
): number {
  let node = 0;
  for (let p = start; p < end; p++) {
    const step = STEPS[node | from[p]!]!;
    to[at] = step >>> 24;
    to[at + 1] = step >>> 16;
    if ((step & IS_EOS) !== 0) return HUFFMAN_FAULT.eos;
    at += step & 3;
    node = step & 0xff00;
  }
  const fault = ENDS[node >>> 8]!;
  return fault === 0 ? at : fault;
}

/** @returns bytes of the string's code */
export function huffmanLength(from: Uint8Array, start: number, end: number): number {
  let bits = 0;
  for (let p = start; p < end; p++) bits += LENGTHS[from[p]!]!;
  return Math.ceil(bits / 8);
}

/**
 * Encodes a string.
 *
 * @param to has room for `huffmanLength` bytes
 * @returns where the code ends in `to`
 */
export function encodeHuffman(
  from: Uint8Array,
  start: number,
  end: number,
  to: Uint8Array,
  at: number,
): number {
  // Fewer than 8 bits wait for the rest of their byte; a code's upper and lower half fit behind them, one after the other.
  let waiting = 0;
  let count = 0;
  for (let p = start; p < end; p++) {
    const code = CODES[from[p]!]!;
    let bits = LENGTHS[from[p]!]!;
    if (bits > 16) {
      bits -= 16;
      waiting = (waiting << bits) | (code >>> 16);
      for (count += bits; count >= 8; count -= 8) to[at++] = waiting >>> (count - 8);
      waiting = (waiting << 16) | (code & 0xffff);
      count += 16;
    } else {
      waiting = (waiting << bits) | code;
      count += bits;
    }
    while (count >= 8) {
      count -= 8;
      to[at++] = waiting >>> count;
    }
  }
  // RFC 7541 §5.2: padded by the first bits of EOS, all ones.
  if (count > 0) to[at++] = (waiting << (8 - count)) | (0xff >>> count);
  return at;
}

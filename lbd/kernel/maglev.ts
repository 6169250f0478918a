import { hashText } from '../../common/hash.ts';

export interface MaglevBackend {
  readonly name: string;
  /** 0: gets no place. */
  readonly weight: number;
}

/** Different hashes of one name. */
const OFFSET_SEED = 0x0ff5e7;
const SKIP_SEED = 0x5c1b;

/**
 * Maglev's lookup table: each place belongs to a backend, in proportion to the weights, and a backend that comes or goes
 * moves few places of the others. Depends on names and weights alone, not on their order, so both nodes make the same one.
 * Source: Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4; weights
 * by turns, as in Envoy.
 *
 * @param size of the table, a prime
 * @returns for each place the index of its backend in `backends`; empty where none has a weight
 */
export function maglevTable(backends: readonly MaglevBackend[], size: number): number[] {
  const takers = backends
    .map(({ name, weight }, index) => ({
      index,
      name,
      weight,
      offset: hashText(name, OFFSET_SEED) % size,
      skip: (hashText(name, SKIP_SEED) % (size - 1)) + 1,
      next: 0,
      credit: 0,
    }))
    .filter(({ weight }) => weight > 0)
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  if (takers.length === 0) return [];
  const most = Math.max(...takers.map(({ weight }) => weight));
  const table = new Array<number>(size).fill(-1);
  let left = size;
  while (left > 0)
    for (const taker of takers) {
      taker.credit += taker.weight / most;
      if (taker.credit < 1 || left === 0) continue;
      taker.credit -= 1;
      let place: number;
      do place = (taker.offset + taker.next++ * taker.skip) % size;
      while (table[place] !== -1);
      table[place] = taker.index;
      left--;
    }
  return table;
}

/** Primes, each about twice the one before. */
const SIZES = [251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521];
/** With a hundred places a backend, shares are even within about one per cent (section 5.3 of the paper). */
const PLACES_PER_BACKEND = 100;

/** @returns size of the table for so many backends, up or down: it must not change with their health */
export function maglevSize(backends: number): number {
  return SIZES.find((size) => size >= backends * PLACES_PER_BACKEND) ?? SIZES.at(-1)!;
}

import { hashText, mix32 } from '../../../common/hash.ts';
import type { PoolView } from './types.ts';

/**
 * Weighted rendezvous (highest random weight): every backend draws a number from the key and its own name,
 * the best draw has the key. Shares follow the weights exactly, the order of the config does not matter, and
 * a backend that comes or goes (or changes its weight) moves only keys from or to itself.
 *
 * Score: `ln(u) / weight` with u in (0, 1), highest wins. Sources: Thaler and Ravishankar, "Using Name-Based
 * Mappings to Increase Hit Rates", 1998; for the weights Schindelhauer and Schomaker, "Weighted Distributed
 * Hash Tables", 2005 (logarithmic method).
 */
export class Rendezvous {
  readonly #view: PoolView;
  readonly #names: readonly string[];
  readonly #ids: Uint32Array;

  constructor(view: PoolView) {
    this.#view = view;
    this.#names = Array.from({ length: view.size }, (_, index) => view.name(index));
    this.#ids = identities(this.#names);
  }

  /**
   * @param key unsigned 32-bit hash
   * @param candidates a 1 for each backend that takes part
   * @returns index of the one that has the key, or -1 where no candidate has a weight
   */
  owner(key: number, candidates: Uint8Array): number {
    const view = this.#view;
    const ids = this.#ids;
    let best = -1;
    let bestHash = 0;
    let bestWeight = 0;
    let bestScore = 0;
    for (let index = 0; index < ids.length; index++) {
      if (candidates[index] !== 1) continue;
      const weight = view.weight(index);
      if (weight <= 0) continue;
      const hash = mix32(key ^ ids[index]!);
      // A worse draw with no more weight cannot win: this saves nearly all logarithms.
      if (hash < bestHash && weight <= bestWeight) continue;
      const score = Math.log((hash + 0.5) / 0x1_0000_0000) / weight;
      if (
        best >= 0 &&
        (score < bestScore || (score === bestScore && this.#names[index]! > this.#names[best]!))
      )
        continue;
      best = index;
      bestHash = hash;
      bestWeight = weight;
      bestScore = score;
    }
    return best;
  }
}

/**
 * A distinct 32-bit number for each name. Two names with one hash would make all the same draws, and one of
 * them would never get a key; so the later name (in the order of names, not of the config) moves on.
 */
function identities(names: readonly string[]): Uint32Array {
  const ids = new Uint32Array(names.length);
  const taken = new Set<number>();
  const order = names.map((_, index) => index).sort((a, b) => (names[a]! < names[b]! ? -1 : 1));
  for (const index of order) {
    let id = hashText(names[index]!);
    while (taken.has(id)) id = mix32(id + 1);
    taken.add(id);
    ids[index] = id;
  }
  return ids;
}

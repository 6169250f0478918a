import { mix32 } from '../../../common/hash.ts';
import type { Balancer, PoolView } from './types.ts';

/** Weighted random: each available backend with a chance in proportion to its weight. */
export class Random implements Balancer {
  readonly #view: PoolView;
  /** Sum of the weights up to and with each backend, as read in this pick. */
  readonly #sums: Float64Array;
  #state: number;

  /** @param seed different for each worker; equal seeds give equal sequences */
  constructor(view: PoolView, seed: number) {
    this.#view = view;
    this.#sums = new Float64Array(view.size);
    this.#state = mix32(seed + 0x9e3779b9) || 1;
  }

  pick(): number {
    this.#state = shifted(this.#state);
    return this.#at(this.#state);
  }

  peek(): number {
    return this.#at(shifted(this.#state));
  }

  /** The backend at a place from 0 to 2^32 - 1. */
  #at(place: number): number {
    const view = this.#view;
    const sums = this.#sums;
    let total = 0;
    for (let index = 0; index < sums.length; index++) {
      if (view.available(index)) total += view.weight(index);
      sums[index] = total;
    }
    if (total <= 0) return -1;
    const mark = (place / 0x1_0000_0000) * total;
    let low = 0;
    let high = sums.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (sums[middle]! > mark) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** xorshift32, never 0. Source: Marsaglia, "Xorshift RNGs", 2003. */
function shifted(state: number): number {
  let x = state;
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  return x >>> 0;
}

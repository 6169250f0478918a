import { mix32 } from '../../../common/hash.ts';
import type { PoolView } from './types.ts';

/** Turns skipped at most to set workers apart; more would only make the first pick dearer. */
const MAX_SKIP = 64;

/**
 * The smooth weighted turn of nginx: each candidate's credit grows by its weight, the highest is taken and
 * pays the sum of all weights. Weights 5, 1, 1 give a a b a c a a, not a a a a a b c. Source: nginx
 * `ngx_http_upstream_get_peer`.
 *
 * The credit of a backend that sits out is left as it is: it stays within the sum of the weights, so a backend
 * that comes back does not get a burst.
 */
export class SmoothWeights {
  readonly #view: PoolView;
  readonly #credits: Float64Array;
  #skip: number;

  /** @param seed 0 starts the sequence at its beginning; others start further on, to set workers apart */
  constructor(view: PoolView, seed: number) {
    this.#view = view;
    this.#credits = new Float64Array(view.size);
    this.#skip = seed === 0 ? 0 : mix32(seed) % MAX_SKIP;
  }

  /**
   * @param candidates a 1 for each backend that may be taken
   * @returns index of the next one, or -1 where there is no candidate with a weight
   */
  next(candidates: Uint8Array): number {
    // Not in the constructor: the control plane may not have set the weights by then.
    for (; this.#skip > 0; this.#skip--) this.#turn(candidates);
    return this.#turn(candidates);
  }

  /** What `next` would return now, without a turn. */
  peek(candidates: Uint8Array): number {
    const credits = this.#credits.slice();
    const skip = this.#skip;
    const next = this.next(candidates);
    this.#credits.set(credits);
    this.#skip = skip;
    return next;
  }

  #turn(candidates: Uint8Array): number {
    const view = this.#view;
    const credits = this.#credits;
    let best = -1;
    let total = 0;
    for (let index = 0; index < credits.length; index++) {
      if (candidates[index] !== 1) continue;
      const weight = view.weight(index);
      if (weight <= 0) continue;
      credits[index]! += weight;
      total += weight;
      if (best < 0 || credits[index]! > credits[best]!) best = index;
    }
    if (best >= 0) credits[best]! -= total;
    return best;
  }
}

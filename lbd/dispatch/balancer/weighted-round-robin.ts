import { SmoothWeights } from './smooth-weights.ts';
import type { Balancer, PoolView } from './types.ts';

/** Smooth weighted round robin, see `SmoothWeights`. */
export class WeightedRoundRobin implements Balancer {
  readonly #view: PoolView;
  readonly #turns: SmoothWeights;
  readonly #candidates: Uint8Array;

  /** @param seed sets the turns of workers apart; 0 is the plain sequence */
  constructor(view: PoolView, seed: number) {
    this.#view = view;
    this.#turns = new SmoothWeights(view, seed);
    this.#candidates = new Uint8Array(view.size);
  }

  pick(): number {
    return this.#turns.next(this.#available());
  }

  peek(): number {
    return this.#turns.peek(this.#available());
  }

  #available(): Uint8Array {
    const view = this.#view;
    const candidates = this.#candidates;
    for (let index = 0; index < candidates.length; index++) candidates[index] = view.available(index) ? 1 : 0;
    return candidates;
  }
}

import { SmoothWeights } from './smooth-weights.ts';
import type { Balancer, PoolView } from './types.ts';

/**
 * Weighted least connections: the lowest load for its weight.
 *
 * What is compared is `(2 × active + 1) / weight`, the load halfway through the pick. With few requests in
 * flight the plain `active / weight` (LVS) sends too much to light backends, since any idle one beats any busy
 * one; `(active + 1) / weight` (Envoy) sends too little. Handing out seats by votes has the same two biases
 * (Adams, D'Hondt), and this is the unbiased divisor between them (Webster, Sainte-Laguë).
 *
 * Equal ones take smooth weighted turns, as in nginx. An idle pool counts as all equal: else one request
 * after the other would always go to the heaviest.
 */
export class WeightedLeastConnections implements Balancer {
  readonly #view: PoolView;
  readonly #turns: SmoothWeights;
  readonly #candidates: Uint8Array;
  /** Active of each backend as read in this pick, -1 where it is not available; other workers go on changing it. */
  readonly #active: Int32Array;
  /** How many `#candidates` there are. */
  #equals = 0;

  /** @param seed sets the turns of workers apart; 0 is the plain sequence */
  constructor(view: PoolView, seed: number) {
    this.#view = view;
    this.#turns = new SmoothWeights(view, seed);
    this.#candidates = new Uint8Array(view.size);
    this.#active = new Int32Array(view.size);
  }

  pick(): number {
    const best = this.#narrow();
    if (this.#equals < 2) return best;
    const next = this.#turns.next(this.#candidates);
    return next < 0 ? best : next;
  }

  peek(): number {
    const best = this.#narrow();
    if (this.#equals < 2) return best;
    const next = this.#turns.peek(this.#candidates);
    return next < 0 ? best : next;
  }

  /** Puts those with the lowest load into `#candidates`. @returns one of them, or -1 where there is none */
  #narrow(): number {
    const view = this.#view;
    const actives = this.#active;
    let best = -1;
    let bestLoad = 0;
    let bestWeight = 1;
    let busy = false;
    for (let index = 0; index < actives.length; index++) {
      const weight = view.weight(index);
      if (weight <= 0 || !view.available(index)) {
        actives[index] = -1;
        continue;
      }
      const active = Math.max(0, view.active(index));
      actives[index] = active;
      if (active > 0) busy = true;
      const load = 2 * active + 1;
      if (best >= 0 && load * bestWeight >= bestLoad * weight) continue;
      best = index;
      bestLoad = load;
      bestWeight = weight;
    }
    this.#equals = best < 0 ? 0 : this.#keepEqual(bestLoad, bestWeight, busy);
    return best;
  }

  #keepEqual(bestLoad: number, bestWeight: number, busy: boolean): number {
    const actives = this.#active;
    const candidates = this.#candidates;
    let count = 0;
    for (let index = 0; index < actives.length; index++) {
      const active = actives[index]!;
      const equal =
        active >= 0 && (!busy || (2 * active + 1) * bestWeight === bestLoad * this.#view.weight(index));
      candidates[index] = equal ? 1 : 0;
      if (equal) count++;
    }
    return count;
  }
}

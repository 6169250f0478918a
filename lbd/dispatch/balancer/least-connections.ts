import type { Balancer, PoolView } from './types.ts';

/**
 * Least connections: the available backend with the fewest requests or connections in flight, weights
 * ignored. The search starts behind the last pick, so that equal ones take turns.
 */
export class LeastConnections implements Balancer {
  readonly #view: PoolView;
  #cursor: number;

  /** @param seed where the first search starts, so that workers do not go in lockstep */
  constructor(view: PoolView, seed: number) {
    this.#view = view;
    this.#cursor = view.size === 0 ? 0 : seed % view.size;
  }

  pick(): number {
    const best = this.peek();
    if (best >= 0) this.#cursor = best + 1;
    return best;
  }

  peek(): number {
    const view = this.#view;
    const size = view.size;
    let best = -1;
    let fewest = 0;
    for (let step = 0, index = this.#cursor; step < size; step++, index++) {
      if (index >= size) index = 0;
      if (!view.available(index)) continue;
      const active = view.active(index);
      if (best >= 0 && active >= fewest) continue;
      best = index;
      fewest = active;
    }
    return best;
  }
}

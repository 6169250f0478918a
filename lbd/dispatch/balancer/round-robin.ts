import type { Balancer, PoolView } from './types.ts';

/**
 * Round robin: each available backend in turn, whatever its weight. The cursor stands behind the backend that
 * was picked, not at a running number, so the neighbour of a missing backend does not inherit its share.
 */
export class RoundRobin implements Balancer {
  readonly #view: PoolView;
  #cursor: number;

  /** @param seed where to start, so that workers do not go in lockstep */
  constructor(view: PoolView, seed: number) {
    this.#view = view;
    this.#cursor = view.size === 0 ? 0 : seed % view.size;
  }

  pick(): number {
    const index = this.peek();
    if (index >= 0) this.#cursor = index + 1;
    return index;
  }

  peek(): number {
    const view = this.#view;
    const size = view.size;
    for (let step = 0, index = this.#cursor; step < size; step++, index++) {
      if (index >= size) index = 0;
      if (view.available(index)) return index;
    }
    return -1;
  }
}

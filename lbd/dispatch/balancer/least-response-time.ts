import type { Balancer, PoolView } from './types.ts';

/**
 * Least response time: lowest `latency × (active + 1) / weight`, that is how long a new request would take if
 * those in flight go first. A spike counts at once because the average jumps up to the slowest response (peak
 * EWMA, Finagle); `LatencyDecay` brings an average that nobody refreshes down again, so that a backend that
 * recovered is tried.
 *
 * A backend without a sample is taken to be as fast as the fastest: it gets its try, and as its requests in
 * flight count, it is not flooded before the first response. The search starts behind the last pick, so equal
 * ones take turns.
 */
export class LeastResponseTime implements Balancer {
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
    const unknownMs = this.#fastestMs();
    let best = -1;
    let bestScore = 0;
    for (let step = 0, index = this.#cursor; step < size; step++, index++) {
      if (index >= size) index = 0;
      if (!view.available(index)) continue;
      const latencyMs = view.latencyMs(index) || unknownMs;
      const score = (latencyMs * (Math.max(0, view.active(index)) + 1)) / Math.max(1, view.weight(index));
      if (best >= 0 && score >= bestScore) continue;
      best = index;
      bestScore = score;
    }
    return best;
  }

  /** Lowest average among the available ones; any constant where there is none. */
  #fastestMs(): number {
    const view = this.#view;
    const size = view.size;
    let fastest = 0;
    for (let index = 0; index < size; index++) {
      const latencyMs = view.latencyMs(index);
      if (latencyMs > 0 && (fastest === 0 || latencyMs < fastest) && view.available(index))
        fastest = latencyMs;
    }
    return fastest || 1;
  }
}

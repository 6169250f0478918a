import type { SharedState } from '../../shared/shared.ts';

/** Milliseconds between two calls of `tick`. */
export const DECAY_INTERVAL_MS = 1000;
/** Time in which an idle average falls to 1/e. Finagle's default. */
const TIME_CONSTANT_MS = 10_000;
const FACTOR = Math.exp(-DECAY_INTERVAL_MS / TIME_CONSTANT_MS);

/**
 * Lets the response time averages of idle backends fade. Without it a backend with one slow response would
 * never be picked again by `least-response-time`, and so never show that it recovered.
 *
 * For the control plane, once for all pools: call `tick` every `DECAY_INTERVAL_MS`. An average fades when no
 * response came since the last tick and nothing is in flight; a backend that hangs keeps its bad average.
 */
export class LatencyDecay {
  readonly #shared: SharedState;
  readonly #seen = new Map<number, number>();

  constructor(shared: SharedState) {
    this.#shared = shared;
  }

  /** @param slots the slots in use */
  tick(slots: Iterable<number>): void {
    for (const slot of slots) {
      const latencyMs = this.#shared.latencyMs(slot);
      // Any response changes a double, if only in its last bits.
      if (latencyMs > 0 && latencyMs === this.#seen.get(slot) && this.#shared.active(slot) <= 0)
        this.#shared.fadeLatency(slot, FACTOR);
      this.#seen.set(slot, this.#shared.latencyMs(slot));
    }
  }
}

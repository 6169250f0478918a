import { Rendezvous } from './rendezvous.ts';
import type { Balancer, PoolView } from './types.ts';

/**
 * A client always goes to the same backend: weighted rendezvous over the available ones, keyed by the client's
 * address. All workers and both nodes agree without talking; when a backend fails, only its own clients move,
 * spread over the others by weight, and they come back when it does.
 */
export class IpHash implements Balancer {
  readonly #view: PoolView;
  readonly #rendezvous: Rendezvous;
  readonly #candidates: Uint8Array;

  constructor(view: PoolView) {
    this.#view = view;
    this.#rendezvous = new Rendezvous(view);
    this.#candidates = new Uint8Array(view.size);
  }

  pick(key: number): number {
    const view = this.#view;
    const candidates = this.#candidates;
    for (let index = 0; index < candidates.length; index++) candidates[index] = view.available(index) ? 1 : 0;
    return this.#rendezvous.owner(key, candidates);
  }

  peek(key: number): number {
    return this.pick(key);
  }
}

import { mix32 } from '../../../common/hash.ts';
import { Rendezvous } from './rendezvous.ts';
import type { Balancer, PoolView } from './types.ts';

/** As many as Maglev's table; a pick costs one read. At 100 backends the shares stay within about 10 %. */
const SLOT_BITS = 16;
/** 2^32 divided by the golden ratio: spreads the jumps of one key. */
const GOLDEN = 0x9e3779b9;
/** Jumps before the search goes through all backends. */
const MAX_JUMPS = 32;

/**
 * Consistent hashing with bounded loads.
 *
 * A key falls on one of 65,536 slots, and each slot belongs to a backend. As in Maglev a pick is one look into
 * a table, but who has a slot is drawn by weighted rendezvous, as in GitHub's GLB: a backend that goes moves
 * only its own slots (Maglev also moves others, a ring spreads weights unevenly). The table is made over all
 * backends, down or not, and filled slot by slot when first needed, so a changed weight stalls nothing.
 *
 * Where the slot's backend is not available or has its full load, the key jumps to another slot, and so on.
 * Jumps, unlike steps along a ring, do not pile up on the neighbour of a full backend (Chen, Coleman and
 * Shrivastava, "Revisiting Consistent Hashing with Bounded Loads", AAAI 2021).
 *
 * Full load: `ceil(loadFactor × (all in flight + 1) × weight / all weights)`, over the available ones. Source:
 * Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2016.
 */
export class ConsistentHash implements Balancer {
  readonly #view: PoolView;
  readonly #loadFactor: number;
  readonly #rendezvous: Rendezvous;
  readonly #candidates: Uint8Array;
  readonly #weights: Int32Array;
  /** Index of the slot's backend plus 1; 0 where it was not drawn yet. */
  readonly #slots = new Uint16Array(1 << SLOT_BITS);
  #generation = Number.NaN;

  /** @param loadFactor 0: no bound; else 1.01 to 10 */
  constructor(view: PoolView, loadFactor: number) {
    this.#view = view;
    this.#loadFactor = loadFactor;
    this.#rendezvous = new Rendezvous(view);
    this.#candidates = new Uint8Array(view.size);
    this.#weights = new Int32Array(view.size);
  }

  pick(key: number): number {
    const view = this.#view;
    if (view.generation !== this.#generation) this.#followWeights();
    const perWeight = this.#loadPerWeight();
    for (let jump = 0; jump < MAX_JUMPS; jump++) {
      const slot = mix32(key + Math.imul(jump, GOLDEN)) >>> (32 - SLOT_BITS);
      const owner = (this.#slots[slot] || this.#draw(slot)) - 1;
      if (owner < 0) break;
      if (view.available(owner) && this.#hasRoom(owner, perWeight)) return owner;
    }
    return this.#search(key, perWeight);
  }

  peek(key: number): number {
    return this.pick(key);
  }

  /** Forgets the slots if a weight changed; what else moves the generation does not matter here. */
  #followWeights(): void {
    const view = this.#view;
    const weights = this.#weights;
    this.#generation = view.generation;
    let changed = false;
    for (let index = 0; index < weights.length; index++) {
      if (weights[index] === view.weight(index)) continue;
      weights[index] = view.weight(index);
      changed = true;
    }
    if (changed) this.#slots.fill(0);
  }

  #draw(slot: number): number {
    this.#candidates.fill(1);
    const entry = this.#rendezvous.owner(mix32(slot ^ GOLDEN), this.#candidates) + 1;
    this.#slots[slot] = entry;
    return entry;
  }

  /** Requests in flight that one unit of weight may have with this one. */
  #loadPerWeight(): number {
    if (this.#loadFactor === 0) return Number.POSITIVE_INFINITY;
    const view = this.#view;
    let load = 1;
    let weights = 0;
    for (let index = 0; index < this.#weights.length; index++) {
      if (!view.available(index)) continue;
      load += Math.max(0, view.active(index));
      weights += view.weight(index);
    }
    return weights === 0 ? 0 : (this.#loadFactor * load) / weights;
  }

  #hasRoom(index: number, perWeight: number): boolean {
    return this.#view.active(index) < Math.ceil(perWeight * this.#view.weight(index));
  }

  /** For when the jumps met nobody: most backends are down or full. */
  #search(key: number, perWeight: number): number {
    const view = this.#view;
    const candidates = this.#candidates;
    for (let index = 0; index < candidates.length; index++)
      candidates[index] = view.available(index) && this.#hasRoom(index, perWeight) ? 1 : 0;
    const owner = this.#rendezvous.owner(key, candidates);
    if (owner >= 0) return owner;
    // Other workers may have filled all in the meantime; the bound yields before the client does.
    for (let index = 0; index < candidates.length; index++) candidates[index] = view.available(index) ? 1 : 0;
    return this.#rendezvous.owner(key, candidates);
  }
}

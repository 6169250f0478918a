import type { PoolLoad } from './circuit.ts';
import type { SharedState } from './shared.ts';
import { CONNECTIONS, type OpenKind, PENDING, RETRYING } from './vitals.ts';

/** What all workers together have open towards the backends of a pool, read when it is asked for. */
export class PoolLoads implements PoolLoad {
  readonly #shared: SharedState;
  readonly #slots: readonly number[];

  /** @param slots of the pool's backends, in the order of the config */
  constructor(shared: SharedState, slots: readonly number[]) {
    this.#shared = shared;
    this.#slots = slots;
  }

  get requests(): number {
    let sum = 0;
    for (const slot of this.#slots) sum += this.#shared.active(slot);
    return sum;
  }

  /** Connections that are being made, and clients that wait for room. */
  get pending(): number {
    const row = this.#slots[0];
    return this.#open(PENDING) + (row === undefined ? 0 : this.#shared.queues.waiting(row));
  }

  get connections(): number {
    return this.#open(CONNECTIONS);
  }

  /** Requests in flight that were sent to another backend before. */
  get retrying(): number {
    return this.#open(RETRYING);
  }

  #open(kind: OpenKind): number {
    let sum = 0;
    for (const slot of this.#slots) sum += this.#shared.vitals.open(kind, slot);
    return sum;
  }
}

/**
 * How a pool's backends bear up, in memory that all workers share: what retries, connects and connections there are,
 * failures in a row, and the share that a backend which comes back gets. A row belongs to a backend's slot.
 */
export interface VitalsBuffers {
  readonly rows: SharedArrayBuffer;
  /** For each worker and slot what it has open, so that it can be taken off when the worker dies. */
  readonly work: SharedArrayBuffer;
}

/** Kinds of what is open; each has a word in the row. */
export const RETRYING = 0;
/** Connections that are being made. */
export const PENDING = 1;
/** Connections, idle ones too. */
export const CONNECTIONS = 2;
const KINDS = 3;
export type OpenKind = typeof RETRYING | typeof PENDING | typeof CONNECTIONS;

/** Further words of a row, behind the kinds. A row has a cache line of its own. */
const STREAK_5XX = 3;
const STREAK_FAILURES = 4;
const TRIPPED = 5;
const SHARE = 6;
const ROW_WORDS = 16;

/** A backend without slow start. */
export const FULL_SHARE = 1000;

/** Which limit of `OutlierConfig` a backend has reached. */
export const TRIPPED_5XX = 1;
export const TRIPPED_FAILURES = 2;

/** @param slots rows */
export function createVitalsBuffers(workers: number, slots: number): VitalsBuffers {
  return {
    rows: new SharedArrayBuffer(slots * ROW_WORDS * 4),
    work: new SharedArrayBuffer(workers * slots * KINDS * 4),
  };
}

export class Vitals {
  readonly #rows: Int32Array;
  readonly #work: Int32Array;
  readonly #slots: number;
  readonly #worker: number;

  /** @param worker index of this worker; -1 for the control plane, which opens nothing */
  constructor(buffers: VitalsBuffers, slots: number, worker: number) {
    this.#rows = new Int32Array(buffers.rows);
    this.#work = new Int32Array(buffers.work);
    this.#slots = slots;
    this.#worker = worker;
  }

  /** Worker: one more. Pair it with exactly one `end`. */
  begin(kind: OpenKind, slot: number): void {
    Atomics.add(this.#rows, slot * ROW_WORDS + kind, 1);
    this.#work[(this.#worker * this.#slots + slot) * KINDS + kind]!++;
  }

  end(kind: OpenKind, slot: number): void {
    Atomics.sub(this.#rows, slot * ROW_WORDS + kind, 1);
    this.#work[(this.#worker * this.#slots + slot) * KINDS + kind]!--;
  }

  /** How many are open, over all workers. */
  open(kind: OpenKind, slot: number): number {
    return Atomics.load(this.#rows, slot * ROW_WORDS + kind);
  }

  /**
   * Worker: the backend answered.
   *
   * @param bad with 500 or above
   * @param limit in a row that trip it; 0: any number is fine
   */
  answered(slot: number, bad: boolean, limit: number): void {
    const row = slot * ROW_WORDS;
    if (this.#rows[row + STREAK_FAILURES] !== 0) Atomics.store(this.#rows, row + STREAK_FAILURES, 0);
    if (bad) this.#grow(row, STREAK_5XX, limit, TRIPPED_5XX);
    else if (this.#rows[row + STREAK_5XX] !== 0) Atomics.store(this.#rows, row + STREAK_5XX, 0);
  }

  /** Worker: no connection, a reset before the answer, or no answer in time. @param limit as in `answered` */
  failed(slot: number, limit: number): void {
    this.#grow(slot * ROW_WORDS, STREAK_FAILURES, limit, TRIPPED_FAILURES);
  }

  #grow(row: number, streak: number, limit: number, why: number): void {
    const inARow = Atomics.add(this.#rows, row + streak, 1) + 1;
    if (limit > 0 && inARow >= limit) Atomics.store(this.#rows, row + TRIPPED, why);
  }

  /** Control plane: why it tripped, 0: it did not. */
  tripped(slot: number): number {
    return Atomics.load(this.#rows, slot * ROW_WORDS + TRIPPED);
  }

  /** Control plane: begins to count anew. */
  clearStreaks(slot: number): void {
    const row = slot * ROW_WORDS;
    Atomics.store(this.#rows, row + STREAK_5XX, 0);
    Atomics.store(this.#rows, row + STREAK_FAILURES, 0);
    Atomics.store(this.#rows, row + TRIPPED, 0);
  }

  /** Control plane: of the clients that its weight would bring it, a backend gets so many in a thousand. */
  setShare(slot: number, share: number): void {
    Atomics.store(this.#rows, slot * ROW_WORDS + SHARE, FULL_SHARE - share);
  }

  /** 1 to `FULL_SHARE`. */
  share(slot: number): number {
    return FULL_SHARE - this.#rows[slot * ROW_WORDS + SHARE]!;
  }

  /** Control plane: a row for a new backend. What is still open stays counted. */
  reset(slot: number): void {
    this.clearStreaks(slot);
    this.setShare(slot, FULL_SHARE);
  }

  /** Control plane: a worker died, and with it all that it had open. */
  forgetWorker(worker: number): void {
    for (let slot = 0; slot < this.#slots; slot++)
      for (let kind = 0; kind < KINDS; kind++) {
        const cell = (worker * this.#slots + slot) * KINDS + kind;
        const open = this.#work[cell]!;
        if (open === 0) continue;
        Atomics.sub(this.#rows, slot * ROW_WORDS + kind, open);
        this.#work[cell] = 0;
      }
  }
}

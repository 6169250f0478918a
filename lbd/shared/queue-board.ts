/** Words that a worker has for each row: the oldest ticket that may go anywhere, the oldest that is stuck, how many wait. */
const ROW_WORDS = 3;
const ANYWHERE = 0;
const STUCK = 1;
const WAITING = 2;
const TICKET = 0;
const BELL = 1;

export interface QueueBuffers {
  /** For each worker and row `ROW_WORDS`; a ticket of 0 is none. */
  readonly rows: SharedArrayBuffer;
  /** The next ticket; a word that grows when somebody in another worker may have his turn. */
  readonly common: SharedArrayBuffer;
}

/** @param rows slots of backends; a pool uses the one of its first backend */
export function createQueueBuffers(workers: number, rows: number): QueueBuffers {
  return {
    rows: new SharedArrayBuffer(workers * rows * ROW_WORDS * 4),
    common: new SharedArrayBuffer(8),
  };
}

/**
 * The front of every queue, where all workers see it: each worker keeps its own waiters and shows the ticket of its
 * oldest one. Whoever holds the lowest ticket of all is first.
 */
export class QueueBoard {
  readonly #rows: Int32Array;
  readonly #common: Int32Array;
  readonly #count: number;
  readonly #mine: number;

  /** @param worker index of this worker; -1 for the control plane, which only counts and forgets */
  constructor(buffers: QueueBuffers, rows: number, worker: number) {
    this.#rows = new Int32Array(buffers.rows);
    this.#common = new Int32Array(buffers.common);
    this.#count = rows * ROW_WORDS;
    this.#mine = worker * this.#count;
  }

  /** A number above all that were given out before; never 0, and compared by `before`, because it wraps. */
  ticket(): number {
    return Atomics.add(this.#common, TICKET, 1) + 1 || this.ticket();
  }

  /** Shows who is at the front of this worker's queue. @param ticket 0: nobody */
  showAnywhere(row: number, ticket: number): void {
    Atomics.store(this.#rows, this.#mine + row * ROW_WORDS + ANYWHERE, ticket);
  }

  showStuck(slot: number, ticket: number): void {
    Atomics.store(this.#rows, this.#mine + slot * ROW_WORDS + STUCK, ticket);
  }

  /** Worker: so many of its clients wait for a pool. */
  showWaiting(row: number, clients: number): void {
    Atomics.store(this.#rows, this.#mine + row * ROW_WORDS + WAITING, clients);
  }

  /** Who waits for a pool, all workers together. */
  waiting(row: number): number {
    let total = 0;
    for (let at = row * ROW_WORDS + WAITING; at < this.#rows.length; at += this.#count)
      total += Atomics.load(this.#rows, at);
    return total;
  }

  /** Oldest ticket of all workers for any backend of a pool; 0: nobody waits. */
  firstAnywhere(row: number): number {
    return this.#first(row * ROW_WORDS + ANYWHERE);
  }

  /** Oldest ticket of all workers that is stuck to a backend; 0: nobody waits. */
  firstStuck(slot: number): number {
    return this.#first(slot * ROW_WORDS + STUCK);
  }

  #first(offset: number): number {
    let first = 0;
    for (let at = offset; at < this.#rows.length; at += this.#count) {
      const ticket = Atomics.load(this.#rows, at);
      if (ticket !== 0 && (first === 0 || before(ticket, first))) first = ticket;
    }
    return first;
  }

  /** Wakes the queues of all workers. */
  ring(): void {
    Atomics.add(this.#common, BELL, 1);
    Atomics.notify(this.#common, BELL);
  }

  /** Resolves when it rings after this call. */
  async heard(): Promise<void> {
    const rung = Atomics.load(this.#common, BELL);
    await Atomics.waitAsync(this.#common, BELL, rung).value;
  }

  /** Control plane: a worker died, and its waiters with it. */
  forgetWorker(worker: number): void {
    this.#rows.fill(0, worker * this.#count, (worker + 1) * this.#count);
    this.ring();
  }
}

function before(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

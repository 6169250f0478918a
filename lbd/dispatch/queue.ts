import type { Deadlines, Timed } from '../io/deadlines.ts';
import type { QueueBoard } from '../shared/queue-board.ts';
import type { SharedState } from '../shared/shared.ts';
import type { Backend } from './backend.ts';

/** Gates and weights change unheard; the queue looks so often whether somebody may go. */
const LOOK_MS = 100;

/** Who waits for a backend. */
export interface QueueUser {
  /** Picks a backend anew. @returns undefined: none takes it now */
  chooseAgain(): Backend | undefined;
  /** It is its turn: it is entered (see `SharedState.tryEnter`) at the backend that it has chosen last. */
  onTurn(backend: Backend): void;
  /** It has waited as long as it may. */
  onQueueTimeout(): void;
}

/** A place in the queue. */
export interface Waiter {
  readonly user: QueueUser;
  readonly ticket: number;
  /** Backend that it is stuck to; -1: any will do. */
  readonly slot: number;
  readonly deadline: number;
}

/** What the queue knows of its pool; replaced at a reload. */
export interface QueuePool {
  /** At least one. */
  readonly backends: readonly Backend[];
  readonly config: { readonly queue: { readonly length: number; readonly timeoutMs: number } };
}

/**
 * Clients of this worker that wait because each backend that they may have is at its `max_connections`: first come,
 * first served, over all workers. Who is stuck to a backend waits for that one, and goes before those that can go
 * anywhere. Exists only for pools with such a limit.
 */
export class PoolQueue implements Timed {
  deadline = 0;
  listed = -1;
  readonly #shared: SharedState;
  readonly #board: QueueBoard;
  readonly #deadlines: Deadlines;
  readonly #anywhere = new Set<Waiter>();
  readonly #stuck = new Map<number, Set<Waiter>>();
  #pool: QueuePool;
  #row: number;
  #size = 0;
  #scheduled = false;
  #listening = false;

  /** @param pool with at least one backend */
  constructor(pool: QueuePool, shared: SharedState, deadlines: Deadlines) {
    this.#pool = pool;
    this.#row = pool.backends[0]!.slot;
    this.#shared = shared;
    this.#board = shared.queues;
    this.#deadlines = deadlines;
  }

  /** Takes over a new config. */
  setPool(pool: QueuePool): void {
    this.#pool = pool;
    const row = pool.backends[0]!.slot;
    if (row === this.#row) return;
    this.#board.showAnywhere(this.#row, 0);
    this.#board.showWaiting(this.#row, 0);
    this.#row = row;
    this.#show();
    this.#schedule();
  }

  /** Clients of this worker that wait. */
  get size(): number {
    return this.#size;
  }

  /**
   * Enters a backend unless it is full or somebody else is before.
   *
   * @param stuck the client is stuck to it
   */
  enter(backend: Backend, stuck: boolean): boolean {
    if (this.#board.firstStuck(backend.slot) !== 0) return false;
    if (!stuck && this.#board.firstAnywhere(this.#row) !== 0) return false;
    return this.#shared.tryEnter(backend.slot, backend.maxConnections);
  }

  /**
   * @param slot backend that the user is stuck to; -1: any will do
   * @returns undefined: the queue is full
   */
  join(user: QueueUser, slot: number): Waiter | undefined {
    const { length, timeoutMs } = this.#pool.config.queue;
    if (this.#board.waiting(this.#row) >= length) return undefined;
    const waiter: Waiter = {
      user,
      slot,
      ticket: this.#board.ticket(),
      deadline: this.#deadlines.in(timeoutMs),
    };
    let line = this.#lineOf(slot);
    if (line === undefined) {
      line = new Set();
      this.#stuck.set(slot, line);
    }
    line.add(waiter);
    this.#size++;
    this.#show(slot);
    this.deadline = this.#deadlines.in(LOOK_MS);
    this.#deadlines.add(this);
    // Between the look at the backends and this place in the queue one may have become free.
    this.#schedule();
    this.#listen();
    return waiter;
  }

  /** The client is gone, or served. */
  leave(waiter: Waiter): void {
    if (!this.#lineOf(waiter.slot)?.delete(waiter)) return;
    this.#size--;
    this.#show(waiter.slot);
    if (this.#size > 0) return;
    this.#stuck.clear();
    this.deadline = 0;
    this.#deadlines.remove(this);
  }

  /** A connection to a backend of this pool ended. */
  onLeft(slot: number): void {
    if (this.#size > 0) this.#schedule();
    if (this.#board.firstAnywhere(this.#row) !== 0 || this.#board.firstStuck(slot) !== 0) this.#board.ring();
  }

  onDeadline(): void {
    const { now } = this.#deadlines;
    for (const line of [this.#anywhere, ...this.#stuck.values()])
      for (const waiter of line) {
        if (waiter.deadline > now) break;
        this.leave(waiter);
        waiter.user.onQueueTimeout();
      }
    if (this.#size === 0) return;
    this.deadline = this.#deadlines.in(LOOK_MS);
    this.#serve();
  }

  #lineOf(slot: number): Set<Waiter> | undefined {
    return slot < 0 ? this.#anywhere : this.#stuck.get(slot);
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#serve();
    });
  }

  #listen(): void {
    if (this.#listening) return;
    this.#listening = true;
    void this.#board.heard().then(() => {
      this.#listening = false;
      if (this.#size === 0) return;
      this.#listen();
      this.#serve();
    });
  }

  /** Lets everybody go whose turn it is and who finds a backend with room. */
  #serve(): void {
    const before = this.#size;
    for (const [slot, line] of this.#stuck)
      for (const waiter of line) {
        if (this.#board.firstStuck(slot) !== waiter.ticket || !this.#serveOne(waiter)) break;
      }
    for (const waiter of this.#anywhere) {
      if (this.#board.firstAnywhere(this.#row) !== waiter.ticket || !this.#serveOne(waiter)) break;
    }
    // The next in line may be another worker's.
    if (this.#size < before && this.#board.firstAnywhere(this.#row) !== 0) this.#board.ring();
  }

  #serveOne(waiter: Waiter): boolean {
    const backend = waiter.user.chooseAgain();
    if (backend === undefined) return false;
    const goesBefore = this.#board.firstStuck(backend.slot);
    if (goesBefore !== 0 && goesBefore !== waiter.ticket) return false;
    if (!this.#shared.tryEnter(backend.slot, backend.maxConnections)) return false;
    this.leave(waiter);
    waiter.user.onTurn(backend);
    return true;
  }

  /** Shows the fronts to the other workers. */
  #show(slot = -1): void {
    if (slot >= 0) this.#board.showStuck(slot, frontOf(this.#stuck.get(slot)));
    this.#board.showAnywhere(this.#row, frontOf(this.#anywhere));
    this.#board.showWaiting(this.#row, this.#size);
  }
}

function frontOf(line: Set<Waiter> | undefined): number {
  return line?.values().next().value?.ticket ?? 0;
}

import { leaveProcess } from './agent-process.ts';

/** Small, fast, good enough: the point is that a seed replays. Source: mulberry32 by T. Ettinger. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Something that will happen, once for each time that it is added to a simulation. */
export abstract class Happening {
  /** Both are the simulation's. */
  at = 0;
  order = 0;
  abstract happen(): void;
}

class Call extends Happening {
  readonly happen: () => void;

  constructor(run: () => void) {
    super();
    this.happen = run;
  }
}

/**
 * Time as a queue of things that will happen: a binary heap, so that a simulated second costs microseconds. One happening
 * enters the code of one process at most; what that code has promised is done before the next one.
 */
export class Simulation {
  /** Milliseconds. */
  now = 0;
  /** The happening entered code that may have promised something. */
  touched = false;
  #order = 0;
  readonly #heap: Happening[] = [];

  at(at: number, run: () => void): void {
    this.add(at, new Call(run));
  }

  after(ms: number, run: () => void): void {
    this.add(this.now + ms, new Call(run));
  }

  /** @param item that is not waiting in the queue */
  add(at: number, item: Happening): void {
    const heap = this.#heap;
    item.at = Math.max(at, this.now);
    item.order = this.#order++;
    let i = heap.length;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      const above = heap[parent]!;
      if (!before(item, above)) break;
      heap[i] = above;
      i = parent;
    }
    heap[i] = item;
  }

  /**
   * Not to be called in a microtask, nor in an async function after its first `await`: then promises would wait.
   *
   * @param watch called after every happening
   */
  runUntil(end: number, watch: () => void = () => {}): void {
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.at > end) break;
      this.#drop();
      this.now = next.at;
      next.happen();
      if (this.touched) keepPromises();
      watch();
      this.touched = false;
    }
    leaveProcess();
    this.now = end;
  }

  /** Takes the first one out. */
  #drop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    const { length } = heap;
    if (length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= length) break;
      if (child + 1 < length && before(heap[child + 1]!, heap[child]!)) child++;
      const below = heap[child]!;
      if (!before(below, last)) break;
      heap[i] = below;
      i = child;
    }
    heap[i] = last;
  }
}

function before(a: Happening, b: Happening): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/**
 * Runs what promises and ticks have left to do, until nothing is left: what Node does after each callback, and what is
 * not to be had otherwise without a turn of the event loop for each happening. Node documents it as deprecated
 * (DEP0134), and has it since its first releases.
 */
const keepPromises: () => void = (process as unknown as { _tickCallback: () => void })._tickCallback;

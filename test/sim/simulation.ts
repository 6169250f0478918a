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

interface Happening {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
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
    const heap = this.#heap;
    const item = { at: Math.max(at, this.now), order: this.#order++, run };
    let i = heap.length;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(item, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = item;
  }

  after(ms: number, run: () => void): void {
    this.at(this.now + ms, run);
  }

  /** @param watch called after every happening that entered some code, or changed what others see */
  async runUntil(end: number, watch: () => void = () => {}): Promise<void> {
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.at > end) break;
      this.#drop();
      this.now = next.at;
      next.run();
      if (this.touched) {
        this.touched = false;
        await promisesKept();
      }
      watch();
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
      if (!before(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
  }
}

function before(a: Happening, b: Happening): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/**
 * Settles when no promise has anything left to do. A tick runs once all microtasks have, those that they made too; to come
 * back this way takes a quarter of a microsecond, and no turn of the event loop.
 */
function promisesKept(): Promise<void> {
  return new Promise((resolve) => queueMicrotask(() => process.nextTick(resolve)));
}

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

/** Time as a queue of things that will happen: a binary heap, so that a simulated second costs microseconds. */
export class Simulation {
  now = 0;
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

  /** @param watch called after every happening */
  runUntil(end: number, watch: () => void): void {
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.at > end) break;
      this.#drop();
      this.now = next.at;
      next.run();
      watch();
    }
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

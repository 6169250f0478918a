import {
  ASLEEP,
  HEADER_WORDS,
  RING_HEAD,
  RING_OVERFLOW,
  RING_SLOTS,
  RING_TAIL,
  ringSlots,
  ringsStart,
  WRITERS,
} from './layout.ts';

/**
 * One ring per writer through which it tells the main thread which entries it changed. Single producer,
 * single consumer, so no lock: a writer never waits for the main thread. A full ring sets a flag instead, and
 * the digests of session sync find what was missed.
 */
export class ChangeRings {
  readonly #words: Int32Array;
  readonly #slots: number;
  readonly #start: number;
  readonly #own: number;

  /** @param words the whole table memory @param writer whose ring `push` fills */
  constructor(words: Int32Array, capacity: number, writer: number) {
    if (words.length < HEADER_WORDS || writer < 0 || writer >= WRITERS)
      throw new RangeError(`session table writer must be 0 to ${WRITERS - 1}: it is ${writer}`);
    this.#words = words;
    this.#slots = ringSlots(capacity);
    this.#start = ringsStart(capacity);
    this.#own = this.#start + writer * (RING_SLOTS + this.#slots);
  }

  /** Reports a changed entry. */
  push(slot: number): void {
    const words = this.#words;
    const ring = this.#own;
    const head = Atomics.load(words, ring + RING_HEAD);
    if (((head - Atomics.load(words, ring + RING_TAIL)) | 0) >= this.#slots) {
      Atomics.store(words, ring + RING_OVERFLOW, 1);
      return;
    }
    Atomics.store(words, ring + RING_SLOTS + (head & (this.#slots - 1)), slot);
    Atomics.store(words, ring + RING_HEAD, (head + 1) | 0);
    if (Atomics.load(words, ASLEEP) === 1) this.wake();
  }

  /**
   * Main thread: has nothing to do until an entry changes.
   *
   * @returns resolved by the next change, or by `wake`; undefined: there are changes already
   */
  sleep(): Promise<unknown> | undefined {
    const words = this.#words;
    // In this order, and a writer looks at it behind its change: one of both sees the other.
    Atomics.store(words, ASLEEP, 1);
    if (this.pending > 0) {
      Atomics.store(words, ASLEEP, 0);
      return undefined;
    }
    const { async, value } = Atomics.waitAsync(words, ASLEEP, 1);
    return async ? value : undefined;
  }

  /** Ends a `sleep`. */
  wake(): void {
    if (Atomics.exchange(this.#words, ASLEEP, 0) === 1) Atomics.notify(this.#words, ASLEEP);
  }

  /**
   * Main thread: takes up to `max` changes out of all rings.
   *
   * @returns how many were written to `out`
   */
  drain(out: Int32Array, max: number): number {
    const words = this.#words;
    const mask = this.#slots - 1;
    let count = 0;
    for (let writer = 0; writer < WRITERS && count < max; writer++) {
      const ring = this.#start + writer * (RING_SLOTS + this.#slots);
      const head = Atomics.load(words, ring + RING_HEAD);
      let tail = Atomics.load(words, ring + RING_TAIL);
      if (head === tail) continue;
      while (tail !== head && count < max) {
        out[count++] = words[ring + RING_SLOTS + (tail & mask)]!;
        tail = (tail + 1) | 0;
      }
      Atomics.store(words, ring + RING_TAIL, tail);
    }
    return count;
  }

  /** Main thread: changes in the rings. */
  get pending(): number {
    let count = 0;
    for (let writer = 0; writer < WRITERS; writer++) {
      const ring = this.#start + writer * (RING_SLOTS + this.#slots);
      count += (Atomics.load(this.#words, ring + RING_HEAD) - this.#words[ring + RING_TAIL]!) | 0;
    }
    return count;
  }

  /** Main thread: whether a change was lost since the last call. */
  takeOverflow(): boolean {
    let lost = false;
    for (let writer = 0; writer < WRITERS; writer++) {
      const ring = this.#start + writer * (RING_SLOTS + this.#slots);
      if (Atomics.load(this.#words, ring + RING_OVERFLOW) === 0) continue;
      Atomics.store(this.#words, ring + RING_OVERFLOW, 0);
      lost = true;
    }
    return lost;
  }
}

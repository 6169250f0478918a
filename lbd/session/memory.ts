import {
  BUCKET_WORDS,
  CAPACITY,
  ENTRIES,
  ENTRY_WORDS,
  HEADER_WORDS,
  LOCK,
  MIN_REGION_BUCKETS,
  PARTITION_BITS,
  PARTITIONS,
  SEQUENCE,
  TAGS,
  TICK_MS,
  WAY_BITS,
  WAYS,
} from './layout.ts';

/** A lock is held for well under a microsecond, unless its holder was descheduled or killed. */
const SPINS = 500;
/**
 * Then sleep, so that a descheduled holder gets the core, at most so often. The main thread, which answers
 * probes, gives up sooner: what it merges comes again with the next comparison.
 */
const WORKER_WAITS = 200;
const MAIN_WAITS = 20;
const WAIT_MS = 0.1;

/**
 * Milliseconds on CLOCK_MONOTONIC, which is one for all threads and processes of the machine:
 * `performance.now()` counts from the start of its own thread, so the offset is taken once per thread.
 */
export const monotonicMs: () => number = (() => {
  const offset = Number(process.hrtime.bigint()) / 1e6 - performance.now();
  return () => performance.now() + offset;
})();

/** Geometry of the table's memory and the locks in it. */
export class TableMemory {
  readonly words: Int32Array;
  readonly capacity: number;
  readonly buckets: number;
  /** Keys of one partition lie in one region: neighbouring buckets, so that a partition is scanned quickly. */
  readonly regionBuckets: number;
  readonly #partitionToRegionShift: number;
  readonly #owner: number;
  readonly #waits: number;
  readonly #nowMs: () => number;

  constructor(buffer: SharedArrayBuffer, writer: number, nowMs: () => number) {
    this.words = new Int32Array(buffer);
    this.capacity = this.words[CAPACITY]!;
    this.buckets = this.capacity / WAYS;
    this.regionBuckets = Math.max(MIN_REGION_BUCKETS, this.buckets / PARTITIONS);
    this.#partitionToRegionShift = PARTITION_BITS - Math.log2(this.buckets / this.regionBuckets);
    this.#owner = writer + 1;
    this.#waits = writer === 0 ? MAIN_WAITS : WORKER_WAITS;
    this.#nowMs = nowMs;
  }

  get regions(): number {
    return this.buckets / this.regionBuckets;
  }

  /** How many partitions share a region; 1 in all but small tables. */
  get partitionsPerRegion(): number {
    return PARTITIONS / this.regions;
  }

  now(): number {
    return (this.#nowMs() / TICK_MS) | 0;
  }

  /** First bucket of the region in which keys with this tag live. */
  regionStart(tag: number): number {
    return ((tag >>> (32 - PARTITION_BITS)) >>> this.#partitionToRegionShift) * this.regionBuckets;
  }

  bucketAt(bucket: number): number {
    return HEADER_WORDS + bucket * BUCKET_WORDS;
  }

  tagAt(slot: number): number {
    return HEADER_WORDS + (slot >>> WAY_BITS) * BUCKET_WORDS + TAGS + (slot & (WAYS - 1));
  }

  entryAt(slot: number): number {
    return HEADER_WORDS + (slot >>> WAY_BITS) * BUCKET_WORDS + ENTRIES + (slot & (WAYS - 1)) * ENTRY_WORDS;
  }

  tryLock(bucket: number): boolean {
    return Atomics.compareExchange(this.words, this.bucketAt(bucket) + LOCK, 0, this.#owner) === 0;
  }

  /** @returns false where the lock could not be had within about 20 ms (main thread: 2 ms) */
  lock(bucket: number): boolean {
    const cell = this.bucketAt(bucket) + LOCK;
    for (let spin = 0; spin < SPINS; spin++)
      if (Atomics.compareExchange(this.words, cell, 0, this.#owner) === 0) return true;
    for (let wait = 0; wait < this.#waits; wait++) {
      const holder = Atomics.load(this.words, cell);
      if (holder !== 0) Atomics.wait(this.words, cell, holder, WAIT_MS);
      if (Atomics.compareExchange(this.words, cell, 0, this.#owner) === 0) return true;
    }
    return false;
  }

  unlock(bucket: number): void {
    Atomics.store(this.words, this.bucketAt(bucket) + LOCK, 0);
  }

  /** Ascending order, so that two writers never wait for each other. */
  lockPair(a: number, b: number): boolean {
    const first = Math.min(a, b);
    if (!this.lock(first)) return false;
    if (this.lock(Math.max(a, b))) return true;
    this.unlock(first);
    return false;
  }

  /** Call under the lock, in pairs around a change of an entry. */
  stir(bucket: number): void {
    Atomics.add(this.words, this.bucketAt(bucket) + SEQUENCE, 1);
  }
}

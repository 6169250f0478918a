import type { SessionKey } from './key.ts';
import {
  BACKEND,
  CLOCK,
  EVICTIONS,
  EXPIRY,
  KEY_WORDS,
  LIVE,
  MAX_TTL_TICKS,
  MAX_VERSION,
  SIZE,
  SYNCED_EXPIRY,
  TAGS,
  VERSION,
  WAY_BITS,
  WAYS,
} from './layout.ts';
import type { TableMemory } from './memory.ts';

/**
 * Finding, placing and writing single entries. All but `find` and `matches` need the locks of the buckets
 * that they touch. Every word is written with Atomics: a reader without a lock must see the tag go to 0 before
 * anything else of the entry changes, on ARM too.
 */
export class TableSlots {
  readonly #memory: TableMemory;
  readonly #words: Int32Array;
  readonly #key: SessionKey;
  readonly #mask: number;
  /** Results of `#countFree` and `#seekOldest`: returning them would allocate. */
  #free = -1;
  #oldest = -1;
  #oldestLife = 0;

  constructor(memory: TableMemory, key: SessionKey) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#key = key;
    this.#mask = memory.regionBuckets - 1;
  }

  /** The two buckets in which the key may live. */
  firstBucket(): number {
    return this.#memory.regionStart(this.#key.tag) + (this.#key.spread & this.#mask);
  }

  secondBucket(): number {
    const spread = this.#key.spread;
    // Never the first bucket again, so that the two locks are two.
    const distance = ((spread >>> 16) % this.#mask) + 1;
    return this.#memory.regionStart(this.#key.tag) + ((spread + distance) & this.#mask);
  }

  matches(slot: number): boolean {
    const words = this.#words;
    if (Atomics.load(words, this.#memory.tagAt(slot)) !== this.#key.tag) return false;
    const entry = this.#memory.entryAt(slot);
    const key = this.#key.words;
    for (let i = KEY_WORDS - 1; i >= 0; i--) if (Atomics.load(words, entry + i) !== key[i]) return false;
    return true;
  }

  /** @returns slot of the key in this bucket, or -1 */
  find(bucket: number): number {
    const tags = this.#memory.bucketAt(bucket) + TAGS;
    const tag = this.#key.tag;
    for (let way = 0; way < WAYS; way++) {
      if (Atomics.load(this.#words, tags + way) !== tag) continue;
      const slot = (bucket << WAY_BITS) | way;
      if (this.matches(slot)) return slot;
    }
    return -1;
  }

  /**
   * A slot for a new entry: a free one in the emptier bucket, else the one that expires first.
   *
   * @param life of the new entry in ticks; it gets no place where all others live at least as long
   * @returns -1 for no place
   */
  place(first: number, second: number, now: number, life = MAX_TTL_TICKS + 1): number {
    const freeFirst = this.#countFree(first);
    const slot = this.#free;
    const freeSecond = this.#countFree(second);
    if (freeFirst + freeSecond > 0) return freeFirst >= freeSecond ? slot : this.#free;
    this.#oldestLife = MAX_TTL_TICKS + 1;
    this.#seekOldest(first, now);
    this.#seekOldest(second, now);
    if (life <= this.#oldestLife) return -1;
    if (this.#oldestLife > 0) Atomics.add(this.#words, EVICTIONS, 1);
    return this.#oldest;
  }

  /** Writes the key with its state into a slot, whatever was there. */
  fill(slot: number, backend: number, version: number, expiry: number): void {
    const words = this.#words;
    const entry = this.#memory.entryAt(slot);
    const tag = this.#memory.tagAt(slot);
    const bucket = slot >>> WAY_BITS;
    const before = words[tag] !== 0 && words[entry + BACKEND] !== 0 ? 1 : 0;
    this.#memory.stir(bucket);
    Atomics.store(words, tag, 0);
    for (let i = 0; i < KEY_WORDS; i++) Atomics.store(words, entry + i, this.#key.words[i]!);
    this.#set(entry, backend, version, expiry);
    Atomics.store(words, tag, this.#key.tag);
    this.#count(slot, (backend !== 0 ? 1 : 0) - before);
    this.#memory.stir(bucket);
    this.raiseClock(version);
  }

  /** Gives the entry in a slot another backend, version and expiry. */
  change(slot: number, backend: number, version: number, expiry: number): void {
    const entry = this.#memory.entryAt(slot);
    const bucket = slot >>> WAY_BITS;
    const before = this.#words[entry + BACKEND] !== 0 ? 1 : 0;
    this.#memory.stir(bucket);
    this.#set(entry, backend, version, expiry);
    this.#count(slot, (backend !== 0 ? 1 : 0) - before);
    this.#memory.stir(bucket);
    this.raiseClock(version);
  }

  /** Turns an entry into a tombstone. @returns whether it was alive */
  bury(slot: number, now: number): boolean {
    const entry = this.#memory.entryAt(slot);
    const expiry = this.#words[entry + EXPIRY]!;
    if (this.#words[entry + BACKEND] === 0) return false;
    this.change(slot, 0, this.nextVersion(entry), expiry);
    return ((expiry - now) | 0) > 0;
  }

  /** Empties a slot. */
  free(slot: number): void {
    this.#memory.stir(slot >>> WAY_BITS);
    Atomics.store(this.#words, this.#memory.tagAt(slot), 0);
    if (this.#words[this.#memory.entryAt(slot) + BACKEND] !== 0) this.#count(slot, -1);
    this.#memory.stir(slot >>> WAY_BITS);
  }

  /** A version that beats the entry's own and all that this node saw on other entries. */
  nextVersion(entry: number): number {
    const version = Math.max(this.#words[entry + VERSION]! + 1, Atomics.load(this.#words, CLOCK));
    return Math.min(version, MAX_VERSION);
  }

  /** Lifts the Lamport clock to `version`. */
  raiseClock(version: number): void {
    let seen = Atomics.load(this.#words, CLOCK);
    while (version > seen) {
      const before = Atomics.compareExchange(this.#words, CLOCK, seen, version);
      if (before === seen) return;
      seen = before;
    }
  }

  #set(entry: number, backend: number, version: number, expiry: number): void {
    Atomics.store(this.#words, entry + BACKEND, backend);
    Atomics.store(this.#words, entry + VERSION, version);
    Atomics.store(this.#words, entry + EXPIRY, expiry);
    Atomics.store(this.#words, entry + SYNCED_EXPIRY, expiry);
  }

  #count(slot: number, by: number): void {
    if (by === 0) return;
    this.#words[this.#memory.bucketAt(slot >>> WAY_BITS) + LIVE]! += by;
    Atomics.add(this.#words, SIZE, by);
  }

  /** Sets `#free` to one of the bucket's free slots. @returns how many there are */
  #countFree(bucket: number): number {
    const tags = this.#memory.bucketAt(bucket) + TAGS;
    let count = 0;
    for (let way = 0; way < WAYS; way++) {
      if (this.#words[tags + way] !== 0) continue;
      this.#free = (bucket << WAY_BITS) | way;
      count++;
    }
    return count;
  }

  /** Sets `#oldest` to the bucket's slot that expires first, if before `#oldestLife`. */
  #seekOldest(bucket: number, now: number): void {
    for (let way = 0; way < WAYS; way++) {
      const slot = (bucket << WAY_BITS) | way;
      const entry = this.#memory.entryAt(slot);
      const life = (this.#words[entry + EXPIRY]! - now) | 0;
      // A lost tombstone costs less than a lost session.
      const rank = this.#words[entry + BACKEND] === 0 ? Math.min(life, 0) : life;
      if (rank >= this.#oldestLife) continue;
      this.#oldestLife = rank;
      this.#oldest = slot;
    }
  }
}

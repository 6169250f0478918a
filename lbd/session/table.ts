import type { SessionEntry } from './care.ts';
import { clearTable, listEntries, releaseWriter, sweepTable } from './care.ts';
import { ChangeRings } from './change-ring.ts';
import { SessionKey } from './key.ts';
import {
  BACKEND,
  CLOCK,
  CONTENDED,
  createTableBuffer,
  EVICTIONS,
  EXPIRY,
  KEY_WORDS,
  MAX_TTL_TICKS,
  MAX_VERSION,
  SEQUENCE,
  SIZE,
  SYNCED_EXPIRY,
  TICK_MS,
  VERSION,
} from './layout.ts';
import { monotonicMs, TableMemory } from './memory.ts';
import { TableSlots } from './slots.ts';

/** Reads that met a writer; after so many the entry is judged by its own tag and key. */
const READ_TRIES = 8;
/** The peer learns of a touch once an eighth of the life that it knows is over. */
const TOUCH_SYNC_SHARE = 8;

/**
 * An entry of the peer that finds no free place must live so much longer than the one that goes for it. Of two with about the
 * same life, each would else take the other's place with every comparison of tables: time on the way seems to be life.
 */
const LIFE_SLACK_TICKS = 100;

export interface SessionTableOptions {
  /**
   * Four words, on memory that all threads share: derived from the cluster's secret, so that both nodes agree; random where a
   * node is alone. See `adoptHashKey`.
   */
  readonly hashKey: Uint32Array;
  /** Monotonic milliseconds, the same clock in all threads. For tests; default CLOCK_MONOTONIC. */
  readonly nowMs?: () => number;
}

/**
 * Client → backend memory of one node, on memory that all its threads share. One instance per thread: the
 * key that the calls are about is a scratch of the instance, set by `keyOfSource` or `keyOfCookie`.
 *
 * **Placement.** Buckets of 8 ways; a key may live in either of two (two-choice hashing, Azar et al. 1994;
 * a new one goes to the emptier), so that a table filled to 80 % evicts next to nothing. When both are full,
 * the entry of the 16 that is closest to its expiry goes, tombstones and expired ones first. That is the
 * oldest of a random sample of 16 rather than of all, in the mean among the oldest 6 % of the table: the
 * price for no shared list, and so for no shared lock. The placing hash is keyed, so that a client cannot aim
 * its keys at one bucket.
 *
 * **Threads.** Readers take no lock: an entry's tag is 0 while the rest of it is written, and the bucket's
 * sequence number tells whether something moved (a seqlock with bounded retries, after which the tag and the
 * key, read again, decide). Writers take the locks of both buckets by compare-and-swap, with bounded spins,
 * then short sleeps, 20 ms at the very most; a store that fails even so is dropped and counted. A lock
 * holds the id of its writer, so that those of a dead worker can be freed.
 *
 * **Merging.** Each entry has a version from a Lamport clock. The higher one wins, between equals the higher
 * backend id; so both nodes end alike whatever the order. Versions of new entries start at the clock, so a
 * key that was evicted here and stored anew beats the peer's old copy.
 */
export class SessionTable {
  /** Memory for a table; see `createTableBuffer`. */
  static readonly create = createTableBuffer;

  readonly memory: TableMemory;
  /** Changes of all writers, for the main thread to drain. */
  readonly changes: ChangeRings;
  readonly #words: Int32Array;
  readonly #key: SessionKey;
  readonly #slots: TableSlots;
  #sweepAt = 0;

  /** @param writer 0 for the main thread, 1 to 64 for worker index + 1 */
  constructor(buffer: SharedArrayBuffer, writer: number, options: SessionTableOptions) {
    this.memory = new TableMemory(buffer, writer, options.nowMs ?? monotonicMs);
    this.#words = this.memory.words;
    this.changes = new ChangeRings(this.#words, this.memory.capacity, writer);
    this.#key = new SessionKey(options.hashKey);
    this.#slots = new TableSlots(this.memory, this.#key);
  }

  get capacity(): number {
    return this.memory.capacity;
  }

  /** Live entries. Expired ones count until `sweep` meets them. */
  get size(): number {
    return Atomics.load(this.#words, SIZE);
  }

  /** Live entries that had to go because their buckets were full, since the table was created. */
  get evictions(): number {
    return Atomics.load(this.#words, EVICTIONS);
  }

  /** Stores that were dropped because a lock could not be had in time. */
  get contended(): number {
    return Atomics.load(this.#words, CONTENDED);
  }

  /** Lamport clock: the highest version that this node has seen. */
  get clock(): number {
    return Atomics.load(this.#words, CLOCK);
  }

  /** Differs between nodes with different hash keys, whose cookies would not match. */
  get keyFingerprint(): number {
    return this.#key.fingerprint();
  }

  /** As four words. Secret. */
  get hashKey(): Int32Array {
    return this.#key.hashKey;
  }

  /** Whether there is nothing in it, and nothing has changed that was not drained. */
  get unused(): boolean {
    return this.size === 0 && this.changes.pending === 0;
  }

  /**
   * Takes over the peer's hash key, in all threads. Only for a table that is `unused`: sessions keep their places. What a
   * worker stores in the very microseconds of the change may lie where nobody finds it, until its life is over.
   *
   * @returns false where its fingerprint is another one; nothing is changed then
   */
  adoptHashKey(hashKey: Int32Array, fingerprint: number): boolean {
    if (new SessionKey(Uint32Array.from(hashKey)).fingerprint() !== fingerprint) return false;
    this.#key.adopt(hashKey);
    return true;
  }

  /**
   * Sets the key to a client's address in a pool.
   *
   * @param pool from `poolId`
   * @param prefix6 leading bits of an IPv6 address that count: whoever has one of a network mostly has all of it
   * @returns false where `ip` is not an address; then `lookup` misses and `store` does nothing
   */
  keyOfSource(pool: number, ip: string, prefix6 = 128): boolean {
    return this.#key.setSource(pool, ip, prefix6);
  }

  /** Sets the key to a cookie's value in a pool. Only a keyed 128-bit hash of it is kept. */
  keyOfCookie(pool: number, value: string): void {
    this.#key.setCookie(pool, value);
  }

  /**
   * Backend of the key, or 0. A hit starts its life anew.
   *
   * @param ttlMs life from now, up to 124 days
   */
  lookup(ttlMs: number): number {
    if (!this.#key.valid) return 0;
    const ttl = ticks(ttlMs);
    return this.#lookupIn(this.#slots.firstBucket(), ttl) || this.#lookupIn(this.#slots.secondBucket(), ttl);
  }

  /** Backend of the key, or 0, without touching its life. */
  peek(): number {
    if (!this.#key.valid) return 0;
    return this.#lookupIn(this.#slots.firstBucket(), 0) || this.#lookupIn(this.#slots.secondBucket(), 0);
  }

  /**
   * Sticks the key to a backend: inserts it, moves it or, where it is there already, starts its life anew.
   *
   * @param backendId from `backendId`, never 0
   * @returns false where it was dropped (see `contended`) or the key is not valid
   */
  store(backendId: number, ttlMs: number): boolean {
    if (!this.#key.valid) return false;
    const slots = this.#slots;
    const first = slots.firstBucket();
    const second = slots.secondBucket();
    if (!this.memory.lockPair(first, second)) return this.#drop();
    const now = this.memory.now();
    const expiry = (now + ticks(ttlMs)) | 0;
    const backend = backendId | 0;
    let slot = slots.find(first);
    if (slot < 0) slot = slots.find(second);
    let report = true;
    if (slot < 0) {
      slot = slots.place(first, second, now);
      slots.fill(slot, backend, this.clock, expiry);
    } else {
      const entry = this.memory.entryAt(slot);
      const ownExpiry = this.#words[entry + EXPIRY]!;
      if (this.#words[entry + BACKEND] === backend && ((ownExpiry - now) | 0) > 0)
        report = this.#prolong(entry, ownExpiry, expiry, now);
      else slots.change(slot, backend, slots.nextVersion(entry), expiry);
    }
    this.memory.unlock(first);
    this.memory.unlock(second);
    if (report) this.changes.push(slot);
    return true;
  }

  /** Removes the key; a tombstone keeps its place until its time is up. @returns whether it was there */
  remove(): boolean {
    if (!this.#key.valid) return false;
    const first = this.#slots.firstBucket();
    const second = this.#slots.secondBucket();
    if (!this.memory.lockPair(first, second)) return this.#drop();
    let slot = this.#slots.find(first);
    if (slot < 0) slot = this.#slots.find(second);
    const found = slot >= 0 && this.#slots.bury(slot, this.memory.now());
    this.memory.unlock(first);
    this.memory.unlock(second);
    if (found) this.changes.push(slot);
    return found;
  }

  /**
   * Main thread: takes in an entry of the peer. Reports no change: the peer has it.
   *
   * @param record key (4 words), pool, kind, backend, version, life in ticks; already checked
   * @param now in ticks, taken once for many entries
   * @returns whether it changed the table
   */
  merge(record: Int32Array, at: number, now = this.memory.now()): boolean {
    const slots = this.#slots;
    const words = this.#words;
    for (let i = 0; i < KEY_WORDS; i++) this.#key.words[i] = record[at + i]!;
    this.#key.place();
    const backend = record[at + BACKEND]!;
    const version = record[at + VERSION]!;
    const life = record[at + EXPIRY]!;
    const first = slots.firstBucket();
    const second = slots.secondBucket();
    if (!this.memory.lockPair(first, second)) return this.#drop();
    const expiry = (now + life) | 0;
    let slot = slots.find(first);
    if (slot < 0) slot = slots.find(second);
    let changed = true;
    if (slot < 0) {
      // What was removed takes no place of what lives: nobody can bring it back but the peer, which has it.
      slot = slots.place(first, second, now, backend === 0 ? 0 : Math.max(life - LIFE_SLACK_TICKS, 1));
      if (slot >= 0) slots.fill(slot, backend, version, expiry);
      else changed = false;
    } else {
      const entry = this.memory.entryAt(slot);
      const ownExpiry = words[entry + EXPIRY]!;
      const rank = compare(version, backend, words[entry + VERSION]!, words[entry + BACKEND]!);
      if (rank > 0 || ((ownExpiry - now) | 0) <= 0) slots.change(slot, backend, version, expiry);
      else if (rank === 0 && ((expiry - ownExpiry) | 0) > 0) {
        Atomics.store(words, entry + EXPIRY, expiry);
        Atomics.store(words, entry + SYNCED_EXPIRY, expiry);
      } else changed = false;
    }
    this.memory.unlock(first);
    this.memory.unlock(second);
    slots.raiseClock(version);
    return changed;
  }

  /** Lifts the Lamport clock to what the peer has seen. */
  raiseClock(version: number): void {
    this.#slots.raiseClock(version);
  }

  /** Main thread, about once a second: moves the clock on, so that a new entry beats what expired long ago. */
  tickClock(): void {
    this.#slots.raiseClock(Math.min(this.clock + 1, MAX_VERSION));
  }

  /**
   * Main thread: frees expired entries in the next `buckets` buckets (8 entries each), going round. About
   * 50 ns a bucket.
   *
   * @returns how many were freed
   */
  sweep(buckets: number): number {
    const freed = sweepTable(this.memory, this.#slots, this.#sweepAt, buckets);
    this.#sweepAt = (this.#sweepAt + buckets) % this.memory.buckets;
    return freed;
  }

  /** Main thread: removes everything; blocks for about 130 ms per million entries. @returns how many */
  clear(): number {
    return clearTable(this.memory, this.#slots, this.changes);
  }

  /**
   * Main thread: frees the locks that a dead worker held, and what it left half-written.
   *
   * @param writer as given to its constructor
   * @returns how many locks it held
   */
  releaseWriter(writer: number): number {
    return releaseWriter(this.memory, writer);
  }

  /** Up to `limit` live entries, in no order. */
  entries(limit: number): SessionEntry[] {
    return listEntries(this.memory, limit);
  }

  #lookupIn(bucket: number, ttl: number): number {
    const words = this.#words;
    const sequence = this.memory.bucketAt(bucket) + SEQUENCE;
    for (let attempt = 1; ; attempt++) {
      const before = Atomics.load(words, sequence);
      const slot = this.#slots.find(bucket);
      const entry = slot < 0 ? 0 : this.memory.entryAt(slot);
      const backend = slot < 0 ? 0 : Atomics.load(words, entry + BACKEND);
      const expiry = slot < 0 ? 0 : Atomics.load(words, entry + EXPIRY);
      const calm = (before & 1) === 0 && Atomics.load(words, sequence) === before;
      if (!calm && attempt < READ_TRIES) continue;
      if (backend === 0 || (!calm && !this.#slots.matches(slot))) return 0;
      const now = this.memory.now();
      if (((expiry - now) | 0) <= 0) return 0;
      if (this.#prolong(entry, expiry, (now + ttl) | 0, now)) this.changes.push(slot);
      return backend >>> 0;
    }
  }

  /**
   * By compare-and-swap, because a reader has no lock: where the entry changed meanwhile, so did its expiry.
   *
   * @returns whether the peer should hear of it
   */
  #prolong(entry: number, expiry: number, wanted: number, now: number): boolean {
    if (((wanted - expiry) | 0) <= 0) return false;
    if (Atomics.compareExchange(this.#words, entry + EXPIRY, expiry, wanted) !== expiry) return false;
    const synced = Atomics.load(this.#words, entry + SYNCED_EXPIRY);
    if (((wanted - synced) | 0) * TOUCH_SYNC_SHARE < ((wanted - now) | 0)) return false;
    return Atomics.compareExchange(this.#words, entry + SYNCED_EXPIRY, synced, wanted) === synced;
  }

  #drop(): false {
    Atomics.add(this.#words, CONTENDED, 1);
    return false;
  }
}

function ticks(ms: number): number {
  return Math.min(Math.max(Math.ceil(ms / TICK_MS), 1), MAX_TTL_TICKS);
}

/** Above 0 where the first state of an entry beats the second; equal on both nodes. */
function compare(version: number, backend: number, otherVersion: number, otherBackend: number): number {
  if (version !== otherVersion) return version - otherVersion;
  return (backend >>> 0) - (otherBackend >>> 0);
}

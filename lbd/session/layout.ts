/**
 * How the session table lies in its SharedArrayBuffer, in 32-bit words:
 *
 *   header (64 words) | buckets (96 words each) | change rings (one per writer)
 *
 * A bucket is 6 cache lines: one with its lock, its sequence number and the tags of its 8 ways, so that a
 * miss costs one line, then 8 entries of 10 words. That is 48 bytes an entry; with the rings and the header
 * it stays below 64 for every capacity.
 */
export const HEADER_WORDS = 64;
/** Cells of the header. */
export const CAPACITY = 0;
export const SIZE = 1;
export const EVICTIONS = 2;
/** Stores that were dropped because a lock could not be had in time. */
export const CONTENDED = 3;
/** Lamport clock: the highest version seen. */
export const CLOCK = 16;
/** 1: the main thread sleeps until an entry changes. On a cache line of its own: every change looks at it. */
export const ASLEEP = 32;

export const WAYS = 8;
export const WAY_BITS = 3;
export const BUCKET_WORDS = 96;
/** Cells of a bucket. Lock: 0, or 1 + the writer that holds it. */
export const LOCK = 0;
/** Odd while a writer changes an entry. */
export const SEQUENCE = 1;
/** Live entries of this bucket as counted in SIZE, so that a dead writer's half step can be put right. */
export const LIVE = 2;
/** Tag of each way: hash of its key, 0 where the way is free. */
export const TAGS = 8;
export const ENTRIES = 16;

export const ENTRY_WORDS = 10;
/** Cells of an entry; the key is at 0 to 3. */
export const POOL = 4;
export const KIND = 5;
/** 0 marks a tombstone: a removed entry that is kept so that the peer's copy cannot bring it back. */
export const BACKEND = 6;
export const VERSION = 7;
/** In ticks of TICK_MS on the monotonic clock; wraps, so compare by difference. */
export const EXPIRY = 8;
/** The expiry that the peer knows. */
export const SYNCED_EXPIRY = 9;

/** Words of a key with its scope: 128 bits, pool, kind. */
export const KEY_WORDS = 6;
export const KIND_SOURCE = 1;
export const KIND_COOKIE = 2;

/** 10 ms: 2^32 ticks wrap after 497 days, so that a life of up to 248 days compares well. */
export const TICK_MS = 10;
export const MAX_TTL_TICKS = 0x3fffffff;
/** Versions are positive 32-bit integers; at one a second and one more a move that is decades. */
export const MAX_VERSION = 0x7fffffff;

/** Parts of the key space that digests are compared by. */
export const PARTITION_BITS = 10;
export const PARTITIONS = 1 << PARTITION_BITS;
/** Fewer buckets in a region would fill unevenly: a region must hold its share of keys at 80 % load. */
export const MIN_REGION_BUCKETS = 128;

/** Main thread, then up to 64 workers. */
export const WRITERS = 65;
/** Cells of a ring; producer and consumer on cache lines of their own would double the smallest table. */
export const RING_HEAD = 0;
export const RING_TAIL = 1;
export const RING_OVERFLOW = 2;
export const RING_SLOTS = 16;
const MAX_RING_SLOTS = 32768;

export const MIN_CAPACITY = 1024;
export const MAX_CAPACITY = 1 << 24;

/** Changes that a writer's ring holds. A power of two. */
export function ringSlots(capacity: number): number {
  return Math.min(MAX_RING_SLOTS, capacity / 32);
}

/** Word at which the rings begin. */
export function ringsStart(capacity: number): number {
  return HEADER_WORDS + (capacity / WAYS) * BUCKET_WORDS;
}

/**
 * Memory for a table.
 *
 * @param capacity entries, a power of two from 1024 to 16 Mi
 * @throws RangeError
 */
export function createTableBuffer(capacity: number): SharedArrayBuffer {
  const powerOfTwo = Number.isInteger(capacity) && (capacity & (capacity - 1)) === 0;
  if (!powerOfTwo || capacity < MIN_CAPACITY || capacity > MAX_CAPACITY)
    throw new RangeError(
      `session table capacity must be a power of two from ${MIN_CAPACITY} to ${MAX_CAPACITY}: it is ${capacity}`,
    );
  const words = ringsStart(capacity) + WRITERS * (RING_SLOTS + ringSlots(capacity));
  const buffer = new SharedArrayBuffer(words * 4);
  const header = new Int32Array(buffer, 0, HEADER_WORDS);
  header[CAPACITY] = capacity;
  header[CLOCK] = 1;
  return buffer;
}

import type { ChangeRings } from './change-ring.ts';
import { keyText } from './key.ts';
import {
  BACKEND,
  EXPIRY,
  KEY_WORDS,
  KIND,
  KIND_SOURCE,
  LIVE,
  LOCK,
  POOL,
  SEQUENCE,
  SIZE,
  TAGS,
  TICK_MS,
  WAY_BITS,
  WAYS,
} from './layout.ts';
import type { TableMemory } from './memory.ts';
import type { TableSlots } from './slots.ts';

/** One row of `lbctl sessions list`, with ids where the control plane knows names. */
export interface SessionEntry {
  readonly pool: number;
  readonly kind: 'source' | 'cookie';
  /** Address, or the first 64 bits of the cookie's hash. */
  readonly key: string;
  readonly backend: number;
  readonly expiresInMs: number;
}

/** Frees expired entries of `count` buckets from `from` on, going round. A locked bucket waits for next time. */
export function sweepTable(memory: TableMemory, slots: TableSlots, from: number, count: number): number {
  const words = memory.words;
  const now = memory.now();
  let freed = 0;
  for (let i = 0; i < Math.min(count, memory.buckets); i++) {
    const bucket = (from + i) % memory.buckets;
    if (!hasExpired(memory, bucket, now) || !memory.tryLock(bucket)) continue;
    for (let slot = bucket << WAY_BITS; slot < (bucket + 1) << WAY_BITS; slot++) {
      if (words[memory.tagAt(slot)] === 0) continue;
      if (((words[memory.entryAt(slot) + EXPIRY]! - now) | 0) > 0) continue;
      slots.free(slot);
      freed++;
    }
    memory.unlock(bucket);
  }
  return freed;
}

function hasExpired(memory: TableMemory, bucket: number, now: number): boolean {
  const tags = memory.bucketAt(bucket) + TAGS;
  for (let way = 0; way < WAYS; way++) {
    if (memory.words[tags + way] === 0) continue;
    if (((memory.words[memory.entryAt((bucket << WAY_BITS) | way) + EXPIRY]! - now) | 0) <= 0) return true;
  }
  return false;
}

/** Turns every live entry into a tombstone, so that the peer removes it too. */
export function clearTable(memory: TableMemory, slots: TableSlots, changes: ChangeRings): number {
  const now = memory.now();
  let removed = 0;
  for (let bucket = 0; bucket < memory.buckets; bucket++) {
    if (Atomics.load(memory.words, memory.bucketAt(bucket) + LIVE) === 0 || !memory.lock(bucket)) continue;
    for (let slot = bucket << WAY_BITS; slot < (bucket + 1) << WAY_BITS; slot++) {
      if (memory.words[memory.tagAt(slot)] === 0 || !slots.bury(slot, now)) continue;
      changes.push(slot);
      removed++;
    }
    memory.unlock(bucket);
  }
  return removed;
}

/** Frees the locks of a dead writer. What it was writing has tag 0 and so is free; its count is put right. */
export function releaseWriter(memory: TableMemory, writer: number): number {
  const words = memory.words;
  let freed = 0;
  for (let bucket = 0; bucket < memory.buckets; bucket++) {
    const at = memory.bucketAt(bucket);
    if (Atomics.load(words, at + LOCK) !== writer + 1) continue;
    let live = 0;
    for (let slot = bucket << WAY_BITS; slot < (bucket + 1) << WAY_BITS; slot++)
      if (words[memory.tagAt(slot)] !== 0 && words[memory.entryAt(slot) + BACKEND] !== 0) live++;
    Atomics.add(words, SIZE, live - words[at + LIVE]!);
    words[at + LIVE] = live;
    if ((words[at + SEQUENCE]! & 1) === 1) memory.stir(bucket);
    memory.unlock(bucket);
    freed++;
  }
  return freed;
}

/** Up to `limit` live entries. Read without locks: an entry that changes meanwhile may be left out. */
export function listEntries(memory: TableMemory, limit: number): SessionEntry[] {
  const words = memory.words;
  const now = memory.now();
  const rows: SessionEntry[] = [];
  for (let slot = 0; slot < memory.capacity && rows.length < limit; slot++) {
    const tag = Atomics.load(words, memory.tagAt(slot));
    if (tag === 0) continue;
    const at = memory.entryAt(slot);
    const key = words.slice(at, at + KEY_WORDS);
    const backend = words[at + BACKEND]! >>> 0;
    const life = (words[at + EXPIRY]! - now) | 0;
    if (backend === 0 || life <= 0 || Atomics.load(words, memory.tagAt(slot)) !== tag) continue;
    rows.push({
      pool: key[POOL]! >>> 0,
      kind: key[KIND] === KIND_SOURCE ? 'source' : 'cookie',
      key: keyText(key),
      backend,
      expiresInMs: life * TICK_MS,
    });
  }
  return rows;
}

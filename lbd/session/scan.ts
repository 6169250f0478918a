import { mix32 } from '../../common/hash.ts';
import {
  BACKEND,
  EXPIRY,
  KEY_WORDS,
  PARTITION_BITS,
  SEQUENCE,
  TAGS,
  VERSION,
  WAY_BITS,
  WAYS,
} from './layout.ts';
import type { TableMemory } from './memory.ts';

/** Words of an entry as it travels: key (4), pool, kind, backend, version, life in ticks. */
export const RECORD_WORDS = 9;
const READ_TRIES = 8;

/** The part of the key space that a tag belongs to. */
export function partitionOf(tag: number): number {
  return tag >>> (32 - PARTITION_BITS);
}

/**
 * Copies the entry in a slot, without a lock unless a writer keeps at its bucket.
 *
 * @param now in ticks, taken once for many entries
 * @returns 'busy' where the lock could not be had; 'empty' where there is no live entry
 */
export function readRecord(
  memory: TableMemory,
  slot: number,
  out: Int32Array,
  at: number,
  now = memory.now(),
): 'found' | 'empty' | 'busy' {
  const words = memory.words;
  const bucket = slot >>> WAY_BITS;
  const sequence = memory.bucketAt(bucket) + SEQUENCE;
  for (let attempt = 0; attempt < READ_TRIES; attempt++) {
    const before = Atomics.load(words, sequence);
    const found = copy(memory, slot, out, at, now);
    if ((before & 1) === 0 && Atomics.load(words, sequence) === before) return found ? 'found' : 'empty';
  }
  if (!memory.lock(bucket)) return 'busy';
  const found = copy(memory, slot, out, at, now);
  memory.unlock(bucket);
  return found ? 'found' : 'empty';
}

function copy(memory: TableMemory, slot: number, out: Int32Array, at: number, now: number): boolean {
  const words = memory.words;
  if (Atomics.load(words, memory.tagAt(slot)) === 0) return false;
  const entry = memory.entryAt(slot);
  for (let i = 0; i < KEY_WORDS; i++) out[at + i] = Atomics.load(words, entry + i);
  out[at + BACKEND] = Atomics.load(words, entry + BACKEND);
  out[at + VERSION] = Atomics.load(words, entry + VERSION);
  const life = (Atomics.load(words, entry + EXPIRY) - now) | 0;
  out[at + EXPIRY] = life;
  return life > 0;
}

/**
 * Digests of `count` partitions from `first` on: two words each, the XOR over their live entries of a mix of
 * key, backend and version. Expiry is left out, because touches move it on one node only. A change during
 * the scan gives a digest that fits neither state; the next comparison mends that.
 */
export function digestPartitions(memory: TableMemory, first: number, count: number, out: Int32Array): void {
  const words = memory.words;
  const now = memory.now();
  out.fill(0, 0, count * 2);
  const shift = 32 - PARTITION_BITS;
  const start = memory.regionStart(first << shift);
  const end = memory.regionStart((first + count - 1) << shift) + memory.regionBuckets;
  for (let bucket = start; bucket < end; bucket++) {
    const tags = memory.bucketAt(bucket) + TAGS;
    for (let way = 0; way < WAYS; way++) {
      const tag = Atomics.load(words, tags + way);
      const partition = partitionOf(tag) - first;
      if (tag === 0 || partition < 0 || partition >= count) continue;
      const entry = memory.entryAt((bucket << WAY_BITS) | way);
      if (((words[entry + EXPIRY]! - now) | 0) <= 0) continue;
      const backend = words[entry + BACKEND]!;
      const version = words[entry + VERSION]!;
      const key =
        Math.imul(words[entry]!, 0x9e3779b1) ^
        Math.imul(words[entry + 1]!, 0x85ebca77) ^
        Math.imul(words[entry + 2]!, 0xc2b2ae3d) ^
        Math.imul(words[entry + 3]!, 0x27d4eb2f);
      out[partition * 2]! ^= mix32(tag ^ Math.imul(backend, 0x165667b1) ^ Math.imul(version, 0x2c1b3c6d));
      out[partition * 2 + 1]! ^= mix32(key + Math.imul(version ^ (backend << 16), 0x297a2d39) + backend);
    }
  }
}

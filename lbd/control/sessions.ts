import { createHmac, randomBytes } from 'node:crypto';
import type { SessionRow } from '../../common/control.ts';
import { backendId, poolId } from '../../common/hash.ts';
import type { Config } from '../../common/model.ts';
import type { SessionTable } from '../session/table.ts';

/** A round over the whole table takes this long, so an expired entry holds its place no longer. */
const SWEEP_ROUND_MS = 30_000;
/** Between two slices; a large table is swept in more of them, so that none takes long. */
const SLOW_TICK_MS = 1000;
const FAST_TICK_MS = 100;
const MAX_SLICE = 1024;
/** Entries that share a bucket, see `SessionTable.sweep`. */
const ENTRIES_PER_BUCKET = 8;

/**
 * Key of the session table's hashes. Both nodes of a cluster derive the same one, a node that runs alone takes
 * any. While the secret is replaced they may differ: then the node that has no sessions takes over the peer's.
 *
 * @param syncKey from `deriveKey(…, 'sync', …)`; undefined without a cluster
 * @returns four words, on memory that threads share
 */
export function sessionHashKey(syncKey: Buffer | undefined): Uint32Array {
  const bytes =
    syncKey === undefined ? randomBytes(16) : createHmac('sha256', syncKey).update('session keys').digest();
  const words = new Uint32Array(new SharedArrayBuffer(16));
  for (const at of words.keys()) words[at] = bytes.readUInt32LE(at * 4);
  return words;
}

/** Frees expired entries slice by slice, a few microseconds at a time. @returns a function that stops it */
export function sweepSessions(table: SessionTable): () => void {
  const buckets = table.capacity / ENTRIES_PER_BUCKET;
  const tickMs = (buckets * SLOW_TICK_MS) / SWEEP_ROUND_MS <= MAX_SLICE ? SLOW_TICK_MS : FAST_TICK_MS;
  const slice = Math.ceil((buckets * tickMs) / SWEEP_ROUND_MS);
  let tick = 0;
  const timer = setInterval(() => {
    table.sweep(slice);
    if (++tick % (SLOW_TICK_MS / tickMs) === 0) table.tickClock();
  }, tickMs).unref();
  return () => clearInterval(timer);
}

/** Entries of the table with names instead of ids; what the config does not know any more keeps its number. */
export function sessionRows(table: SessionTable, config: Config, limit: number): SessionRow[] {
  const pools = new Map(config.pools.map((pool) => [poolId(pool.name), pool]));
  const hex = (id: number) => `#${(id >>> 0).toString(16)}`;
  return table.entries(limit).map((entry) => {
    const pool = pools.get(entry.pool >>> 0);
    const backend = pool?.backends.find((it) => backendId(pool.name, it.name) === entry.backend >>> 0);
    return {
      pool: pool?.name ?? hex(entry.pool),
      kind: entry.kind,
      key: entry.key,
      backend: backend?.name ?? hex(entry.backend),
      expires_in_ms: entry.expiresInMs,
    };
  });
}

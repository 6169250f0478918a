import { SessionKey } from '../../lbd/session/key.ts';
import { BACKEND, EXPIRY, TICK_MS, VERSION, WAY_BITS } from '../../lbd/session/layout.ts';
import { Registers } from '../../lbd/session/registers.ts';
import { RECORD_WORDS, readRecord } from '../../lbd/session/scan.ts';
import { TableSlots } from '../../lbd/session/slots.ts';
import { SyncProtocol } from '../../lbd/session/sync-protocol.ts';
import { SessionTable } from '../../lbd/session/table.ts';

const HASH_KEY = Uint32Array.of(1, 2, 3, 4);
const POOL = 7;

export interface SessionNodeOptions {
  readonly name: string;
  readonly peer: string;
  /** Different for each start. */
  readonly boot: number;
  readonly capacity: number;
  /** Life of an entry from its last use. */
  readonly ttlMs: number;
  /** Its monotonic clock. */
  nowMs(): number;
}

/** What a table says of a key. */
export interface EntryState {
  readonly backend: number;
  readonly version: number;
  readonly lifeMs: number;
}

/** A node's share of the session sync: a table with a control plane and a worker on it, registers, and the protocol. */
export class SessionNode {
  readonly name: string;
  readonly table: SessionTable;
  readonly worker: SessionTable;
  readonly registers: Registers;
  readonly protocol: SyncProtocol;
  readonly #ttlMs: number;
  readonly #key = new SessionKey(HASH_KEY);
  readonly #slots: TableSlots;

  constructor({ name, peer, boot, capacity, ttlMs, nowMs }: SessionNodeOptions) {
    const buffer = SessionTable.create(capacity);
    this.name = name;
    this.table = new SessionTable(buffer, 0, { hashKey: HASH_KEY, nowMs });
    this.worker = new SessionTable(buffer, 1, { hashKey: HASH_KEY, nowMs });
    this.registers = new Registers(name, (key) => (key.startsWith('admin/') ? 'ours' : 'unknown'));
    this.protocol = new SyncProtocol({
      table: this.table,
      registers: this.registers,
      cluster: 'sim',
      node: name,
      peer,
      boot: boot.toString(16).padStart(16, '0'),
    });
    this.#ttlMs = ttlMs;
    this.#slots = new TableSlots(this.table.memory, this.#key);
  }

  /** @returns whether it was taken */
  store(key: number, backend: number): boolean {
    this.worker.keyOfSource(POOL, addressOf(key));
    return this.worker.store(backend, this.#ttlMs);
  }

  /** @returns whether it was there */
  remove(key: number): boolean {
    this.worker.keyOfSource(POOL, addressOf(key));
    return this.worker.remove();
  }

  /** Backend of the key, whose life begins anew; 0 where there is none. */
  lookup(key: number): number {
    this.worker.keyOfSource(POOL, addressOf(key));
    return this.worker.lookup(this.#ttlMs);
  }

  /** What is there of a key, also of one that was removed; undefined where there is nothing, or nothing that lives. */
  state(key: number): EntryState | undefined {
    this.#key.setSource(POOL, addressOf(key), 128);
    let slot = this.#slots.find(this.#slots.firstBucket());
    if (slot < 0) slot = this.#slots.find(this.#slots.secondBucket());
    if (slot < 0) return undefined;
    const { memory } = this.table;
    const entry = memory.entryAt(slot);
    const lifeMs = ((memory.words[entry + EXPIRY]! - memory.now()) | 0) * TICK_MS;
    if (lifeMs <= 0) return undefined;
    return { backend: memory.words[entry + BACKEND]!, version: memory.words[entry + VERSION]!, lifeMs };
  }

  /** Least life among the entries whose place the key could take, in milliseconds; 0 where one is free or was removed. */
  leastLifeMs(key: number): number {
    this.#key.setSource(POOL, addressOf(key), 128);
    const { memory } = this.table;
    const { words } = memory;
    let least = Number.POSITIVE_INFINITY;
    for (const bucket of [this.#slots.firstBucket(), this.#slots.secondBucket()])
      for (let slot = bucket << WAY_BITS; slot < (bucket + 1) << WAY_BITS; slot++) {
        const entry = memory.entryAt(slot);
        const isTaken = words[memory.tagAt(slot)] !== 0 && words[entry + BACKEND] !== 0;
        const lifeMs = isTaken ? ((words[entry + EXPIRY]! - memory.now()) | 0) * TICK_MS : 0;
        least = Math.min(least, Math.max(0, lifeMs));
      }
    return least;
  }

  /** All entries but their expiry, tombstones too, in an order of their own. */
  content(): string[] {
    const record = new Int32Array(RECORD_WORDS);
    const rows: string[] = [];
    for (let slot = 0; slot < this.table.capacity; slot++)
      if (readRecord(this.table.memory, slot, record, 0) === 'found')
        rows.push(record.subarray(0, EXPIRY).join(' '));
    return rows.sort();
  }

  registerLines(): string[] {
    return this.registers
      .entries()
      .map((register) => JSON.stringify(register))
      .sort();
  }
}

function addressOf(key: number): string {
  return `10.${key >> 16}.${(key >> 8) & 255}.${key & 255}`;
}

/** Keys that may live in a few buckets of the smallest table only, so that these are soon full. */
export function crowdedKeys(count: number): number[] {
  const key = new SessionKey(HASH_KEY);
  const { memory } = new SessionTable(SessionTable.create(1024), 0, { hashKey: HASH_KEY });
  const slots = new TableSlots(memory, key);
  const keys: number[] = [];
  for (let n = 0; keys.length < count; n++) {
    key.setSource(POOL, addressOf(n), 128);
    if (slots.firstBucket() % 8 === 0 && slots.secondBucket() % 8 === 0) keys.push(n);
  }
  return keys;
}

import { pino } from 'pino';
import { PARTITIONS } from '../../lbd/session/layout.ts';
import { Registers } from '../../lbd/session/registers.ts';
import { digestPartitions } from '../../lbd/session/scan.ts';
import { SessionSync } from '../../lbd/session/sync-link.ts';
import { SessionTable } from '../../lbd/session/table.ts';

/** Twice the entries of the benchmark, so that nothing is evicted. */
export const CAPACITY = 1 << 21;
export const HASH_KEY = Uint32Array.of(1, 2, 3, 4);
export const TTL_MS = 3_600_000;
export const POOL = 7;

/** What the receiving process says to the measuring one. */
export type ReceiverMessage =
  | { readonly type: 'listening' }
  | { readonly type: 'synced'; readonly ms: number; readonly cpuMs: number; readonly stallMs: number }
  | {
      readonly type: 'report';
      readonly entries: number;
      readonly digest: string;
      readonly rssMiB: number;
      readonly stallMs: number;
    };

/** Address of the client with this number. */
export function clientAddress(client: number): string {
  return `10.${(client >> 16) & 255}.${(client >> 8) & 255}.${client & 255}`;
}

/** A node of the pair `a` and `b`; `b` listens. */
export class BenchNode {
  readonly buffer = SessionTable.create(CAPACITY);
  readonly table = new SessionTable(this.buffer, 0, { hashKey: HASH_KEY });
  readonly sync: SessionSync;

  constructor(name: 'a' | 'b', port: number) {
    const node = (it: string) => ({ name: it, address: '127.0.0.1' });
    this.sync = new SessionSync({
      table: this.table,
      registers: new Registers(name),
      self: node(name),
      peer: node(name === 'a' ? 'b' : 'a'),
      port,
      keys: [Buffer.alloc(32, 7)],
      cluster: 'bench',
      log: pino({ level: 'silent' }),
    });
  }

  digest(): string {
    const words = new Int32Array(PARTITIONS * 2);
    digestPartitions(this.table.memory, 0, PARTITIONS, words);
    return Buffer.from(words.buffer).toString('base64');
  }
}

export function rssMiB(): number {
  return Math.round(process.memoryUsage().rss / 2 ** 20);
}

/** CPU time of this process, all threads. */
export function cpuMs(since?: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since);
  return Math.round((user + system) / 1000);
}

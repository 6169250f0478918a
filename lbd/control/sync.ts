import type { HeartbeatCarriage, SyncStatus } from '../../common/control.ts';
import type { Logger } from '../../common/logger.ts';
import type { ClusterConfig } from '../../common/model.ts';
import type { Keys } from '../../common/secret.ts';
import type { Registers } from '../session/registers.ts';
import type { SyncCompanion } from '../session/sync-companion.ts';
import { SessionSync, type SessionSyncOptions } from '../session/sync-link.ts';
import type { SessionTable } from '../session/table.ts';

export interface SyncEnd {
  start(): Promise<void>;
  status(): SyncStatus;
  /** What was refused or dropped lately, one line each. */
  warnings(): string[];
  /** How the agents' heartbeats travel; undefined where they do not. */
  readonly carriage: HeartbeatCarriage | undefined;
  /** Carries a heartbeat to the peer, at once or not at all. @returns whether it is on its way */
  carry(datagram: Uint8Array): boolean;
  /** The secrets of session tickets are others now: tells the peer. */
  ticketsChanged(): void;
  /** Other keys, such as after the secret was replaced. The link that is there stays. */
  rekey(keys: Keys): void;
  /** Whether the peer has all of this node's changes. */
  flush(timeoutMs: number): Promise<boolean>;
  close(): Promise<void>;
}

/** The session sync of a pair, or its stand-in where there is no cluster. */
export function createSync(options: {
  readonly table: SessionTable;
  readonly registers: Registers;
  readonly cluster: ClusterConfig | undefined;
  /** From `clusterKeys(…, 'sync')`; there exactly when the cluster is. */
  readonly keys: Keys | undefined;
  readonly port: number;
  readonly log: Logger;
  /** What travels on the same link. */
  readonly companion?: SyncCompanion | undefined;
  readonly tickets: SessionSyncOptions['tickets'];
  readonly heartbeats?: SessionSyncOptions['heartbeats'];
  onStatus(): void;
}): SyncEnd {
  const { table, cluster, keys } = options;
  if (cluster === undefined || keys === undefined) return alone(table);
  return new SessionSync({
    table,
    registers: options.registers,
    self: cluster.self,
    peer: cluster.peer,
    port: options.port,
    keys,
    cluster: cluster.name,
    log: options.log,
    companion: options.companion,
    tickets: options.tickets,
    heartbeats: options.heartbeats,
    onStatus: options.onStatus,
  });
}

function alone(table: SessionTable): SyncEnd {
  return {
    start: async () => {},
    status: () => ({
      state: 'off',
      entries: table.size,
      capacity: table.capacity,
      lag_ms: 0,
      why: '',
      digest_equal: undefined,
    }),
    warnings: () => [],
    carriage: undefined,
    carry: () => false,
    ticketsChanged: () => {},
    rekey: () => {},
    flush: async () => true,
    close: async () => {},
  };
}

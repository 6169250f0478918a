import type { ExplainQuery } from '../../common/control.ts';
import type { Holdings } from '../../common/holdings.ts';
import type { BackendConfig, Config } from '../../common/model.ts';
import type { TlsMaterial } from '../tls/material.ts';
import type { SharedBuffers } from './shared.ts';
import type { WorkerExplanation } from './worker-explanation.ts';

/** IP addresses, by `addressKey`, of the backends whose host is a name. One that is not listed keeps what it has. */
export type Addresses = Readonly<Record<string, readonly string[]>>;

/** Tells a backend from one of the same name that a reload puts in its place, and that has another host or port. */
export function addressKey(pool: string, { name, address }: BackendConfig): string {
  return `${pool}/${name} ${address.host}:${address.port}`;
}

/** What a worker needs to serve: the config, and which row of the shared memory each backend and frontend has. */
export interface Plan {
  readonly config: Config;
  /** Slot by `pool/backend`. */
  readonly slots: Readonly<Record<string, number>>;
  /** Row of the frontend counters by frontend name. */
  readonly frontendRows: Readonly<Record<string, number>>;
  /** Certificates and keys; undefined where nothing speaks TLS. */
  readonly tls?: TlsMaterial | undefined;
  /** undefined: no backend has a host name. */
  readonly addresses?: Addresses | undefined;
}

/** A worker shows so often that its event loop turns, see `SharedState.beat`. */
export const BEAT_MS = 50;

export interface WorkerData {
  readonly index: number;
  readonly shared: SharedBuffers;
  /** Memory of the session table, see `lbd/session/table.ts`. */
  readonly sessions: SharedArrayBuffer;
  /** Key of the session table's hashes, four words; equal on both nodes. */
  readonly hashKey: Uint32Array;
  /** The first plan. Answered by `planned` with serial 0 as soon as all listeners listen. */
  readonly plan: Plan;
  readonly logLevel: string;
  readonly node: string;
  /** As lbd was started: a worker that takes the place of another one does as that did. */
  readonly directIo: boolean;
}

/**
 * What becomes of the connections to the VIPs of a group whose active role leaves this node, by group. `close`: each ends
 * with its next answer. `cut`: end all of them now. Those of groups that are not listed go on as usual.
 */
export type Retirement = Readonly<Record<string, 'close' | 'cut'>>;

/** Client connections to the VIPs of each group that retires. */
export type OpenByGroup = Readonly<Record<string, number>>;

/** From the main thread to a worker. */
export type ToWorker =
  /** Apply what changed; connections of frontends that stay are not touched. Answered by `planned`. */
  | { readonly type: 'plan'; readonly plan: Plan; readonly serial: number }
  /** Close the listeners, let requests finish, then exit with 0; after `graceMs` cut what is left. */
  | { readonly type: 'stop'; readonly graceMs: number }
  /** Finish the connections to VIPs; answered by `open`, again and again until no group is listed. */
  | { readonly type: 'retire'; readonly groups: Retirement }
  /** Say what would become of a request. Answered by `explained`. */
  | {
      readonly type: 'explain';
      readonly serial: number;
      readonly frontend: string;
      readonly query: ExplainQuery;
    }
  /** The addresses of backends have changed. */
  | { readonly type: 'addresses'; readonly addresses: Addresses }
  /** Close connections that are still open to a backend whose `drain_timeout` is over. */
  | { readonly type: 'cut'; readonly slot: number };

/** From a worker to the main thread. */
export type FromWorker =
  | { readonly type: 'planned'; readonly serial: number; readonly errors: readonly string[] }
  /** Lines for an access log; an empty path is standard output. */
  | { readonly type: 'access'; readonly path: string; readonly lines: Uint8Array }
  /** `explanation` is undefined for a frontend that the worker does not know. */
  | {
      readonly type: 'explained';
      readonly serial: number;
      readonly explanation: WorkerExplanation | undefined;
    }
  | { readonly type: 'open'; readonly connections: OpenByGroup }
  /** It serves, but reads and writes in a way that costs more CPU; the cause is as `beginDirectIo` tells it. */
  | { readonly type: 'indirect'; readonly cause: string }
  /** Once, at its start. When the worker is gone, it is the main thread's to give back. */
  | { readonly type: 'holdings'; readonly holdings: Holdings }
  | {
      readonly type: 'log';
      readonly level: 'info' | 'warn' | 'error';
      readonly text: string;
      readonly data: object;
    };

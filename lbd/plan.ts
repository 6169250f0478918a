import type { Config } from '../common/model.ts';
import type { SharedBuffers } from './shared.ts';

/** What a worker needs to serve: the config, and which row of the shared memory each backend and frontend has. */
export interface Plan {
  readonly config: Config;
  /** Slot by `pool/backend`. */
  readonly slots: Readonly<Record<string, number>>;
  /** Row of the frontend counters by frontend name. */
  readonly frontendRows: Readonly<Record<string, number>>;
}

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
}

/** `keep`: all as usual. `close`: each connection ends with its next answer. `cut`: end all of them now. */
export type RetireMode = 'keep' | 'close' | 'cut';

/** From the main thread to a worker. */
export type ToWorker =
  /** Apply what changed; connections of frontends that stay are not touched. Answered by `planned`. */
  | { readonly type: 'plan'; readonly plan: Plan; readonly serial: number }
  /** Close the listeners, let requests finish, then exit with 0; after `graceMs` cut what is left. */
  | { readonly type: 'stop'; readonly graceMs: number }
  /** Finish the connections to the VIPs; answered by `open`, again and again until the mode is `keep`. */
  | { readonly type: 'retire'; readonly mode: RetireMode }
  /** Close connections that are still open to a backend whose `drain_timeout` is over. */
  | { readonly type: 'cut'; readonly slot: number };

/** From a worker to the main thread. */
export type FromWorker =
  | { readonly type: 'planned'; readonly serial: number; readonly errors: readonly string[] }
  /** Client connections to the VIPs. */
  | { readonly type: 'open'; readonly connections: number }
  | {
      readonly type: 'log';
      readonly level: 'info' | 'warn' | 'error';
      readonly text: string;
      readonly data: object;
    };

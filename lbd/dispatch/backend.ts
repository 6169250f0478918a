import { formatEndpoint } from '../../common/address.ts';
import { backendId } from '../../common/hash.ts';
import type { BackendConfig } from '../../common/model.ts';
import { GATE_CLOSED, type SharedState, UNLIMITED } from '../shared/shared.ts';
import { CONNECTIONS, PENDING } from '../shared/vitals.ts';
import type { BackendTls } from '../tls/backend-tls.ts';
import type { Upstream, UpstreamBackend } from './upstream.ts';

/** Idle connections that a worker keeps to one backend; more are closed when their request is over. */
const MAX_IDLE = 256;

/** One server of a pool, as a worker sees it: its row in the shared memory and its idle connections. */
export class Backend implements UpstreamBackend {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** Host and port, as in a Host field. */
  readonly authority: string;
  readonly slot: number;
  /** Identity in the session table. */
  readonly id: number;
  /** Requests or connections that it may have in flight; `UNLIMITED`: any number. A reload may change it. */
  maxConnections = UNLIMITED;
  /** How long what is open to it may go on once it is in no config any more. */
  drainTimeoutMs = 0;
  readonly tls: BackendTls | undefined;
  readonly #shared: SharedState;
  readonly #idle: Upstream[] = [];
  #retired = false;

  constructor(pool: string, config: BackendConfig, slot: number, shared: SharedState, tls?: BackendTls) {
    this.name = config.name;
    this.host = config.address.host;
    this.port = config.address.port;
    this.authority = formatEndpoint(config.address);
    this.slot = slot;
    this.id = backendId(pool, config.name);
    this.#shared = shared;
    this.tls = tls;
  }

  connecting(): void {
    this.#shared.vitals.begin(PENDING, this.slot);
    this.#shared.vitals.begin(CONNECTIONS, this.slot);
  }

  connected(): void {
    this.#shared.vitals.end(PENDING, this.slot);
  }

  disconnected(had: boolean): void {
    if (!had) this.#shared.vitals.end(PENDING, this.slot);
    this.#shared.vitals.end(CONNECTIONS, this.slot);
  }

  get idleCount(): number {
    return this.#idle.length;
  }

  /**
   * The idle connection used last, because it is the least likely to have been closed by the backend.
   *
   * @param usedAfterMs only one that was used after this coarse time
   */
  takeIdle(usedAfterMs: number): Upstream | undefined {
    const last = this.#idle.at(-1);
    if (last === undefined || last.idleSinceMs < usedAfterMs) return undefined;
    return this.#idle.pop();
  }

  keepIdle(upstream: Upstream): boolean {
    if (this.#retired || this.#idle.length >= MAX_IDLE || this.#shared.gate(this.slot) === GATE_CLOSED)
      return false;
    this.#idle.push(upstream);
    return true;
  }

  dropIdle(upstream: Upstream): void {
    const at = this.#idle.lastIndexOf(upstream);
    if (at >= 0) this.#idle.splice(at, 1);
  }

  /** Closes the idle connection that was not used for the longest time. @returns false: there is none */
  dropOldest(): boolean {
    const oldest = this.#idle[0];
    oldest?.destroy();
    return oldest !== undefined;
  }

  /** Closes the idle connections, and from now on each one whose request is over. */
  retire(): void {
    this.#retired = true;
    for (const upstream of this.#idle.splice(0)) upstream.destroy();
  }
}

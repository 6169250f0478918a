import { backendId } from '../common/hash.ts';
import type { BackendConfig } from '../common/model.ts';
import { GATE_CLOSED, type SharedState } from './shared.ts';
import type { Upstream } from './upstream.ts';

/** Idle connections that a worker keeps to one backend; more are closed when their request is over. */
const MAX_IDLE = 256;

/** One server of a pool, as a worker sees it: its row in the shared memory and its idle connections. */
export class Backend {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly slot: number;
  /** Identity in the session table. */
  readonly id: number;
  readonly #shared: SharedState;
  readonly #idle: Upstream[] = [];
  #retired = false;

  constructor(pool: string, config: BackendConfig, slot: number, shared: SharedState) {
    this.name = config.name;
    this.host = config.address.host;
    this.port = config.address.port;
    this.slot = slot;
    this.id = backendId(pool, config.name);
    this.#shared = shared;
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

  /** @returns whether it was kept; if not, the caller closes it */
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

  /** Closes the idle connections, and from now on each one whose request is over. */
  retire(): void {
    this.#retired = true;
    for (const upstream of this.#idle.splice(0)) upstream.destroy();
  }
}

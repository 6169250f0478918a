import type { OpenByGroup } from '../shared/plan.ts';
import type { TlsControl } from '../tls/tls-control.ts';
import type { Backends } from './care/backends.ts';
import type { LiveServer } from './live.ts';
import type { Supervisor } from './supervisor.ts';
import type { SyncEnd } from './sync.ts';

export interface OwnStateOptions {
  readonly live: Pick<LiveServer, 'setState'>;
  readonly backends: Pick<Backends, 'usable'>;
  readonly supervisor: Pick<Supervisor, 'serving'>;
  readonly sync: Pick<SyncEnd, 'status' | 'carriage'>;
  readonly tls: Pick<TlsControl, 'leftOut'>;
}

/** What this `lbd` tells the agent of itself: whether it can serve, and how well. */
export class OwnState {
  readonly #options: OwnStateOptions;
  #phase: 'starting' | 'ready' | 'stopping' = 'starting';
  /** Client connections to the VIPs of groups that finish them. */
  #connections: OpenByGroup | undefined;

  constructor(options: OwnStateOptions) {
    this.#options = options;
  }

  get phase(): 'starting' | 'ready' | 'stopping' {
    return this.#phase;
  }

  /** The agent hears of it at the next `refresh`. */
  enter(phase: 'ready' | 'stopping'): void {
    this.#phase = phase;
  }

  /** Those of groups that finish their connections. */
  opened(connections: OpenByGroup): void {
    this.#connections = connections;
    this.refresh();
  }

  /** A group finishes its connections no more. @param others whether another one does */
  finished(group: string, others: boolean): void {
    if (this.#connections === undefined) return;
    const { [group]: _gone, ...rest } = this.#connections;
    this.#connections = others ? rest : undefined;
    this.refresh();
  }

  /** Something of it may have changed. */
  refresh(): void {
    const { live, supervisor, sync } = this.#options;
    const usable = this.#usable();
    const { serving } = supervisor;
    const ready = this.#phase === 'ready';
    live.setState({
      ready,
      healthy: usable.healthy,
      sync: sync.status().state,
      why: !serving ? 'no worker answers' : ready ? usable.why : this.#phase,
      serving: serving ? undefined : false,
      stopping: this.#phase === 'stopping' || undefined,
      connections: this.#connections,
      heartbeats: sync.carriage,
    });
  }

  /** Whether this node is of as much use as it could be. */
  #usable(): { healthy: boolean; why: string } {
    const { tls, backends } = this.#options;
    if (tls.leftOut.length === 0) return backends.usable();
    return {
      healthy: false,
      why: `certificates cannot be used, nothing is served: ${tls.leftOut.join(', ')}`,
    };
  }
}

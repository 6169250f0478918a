import { isDeepStrictEqual } from 'node:util';
import { BackendCheck, type BackendCheckOptions } from './backend-check.ts';
import type { BackendTarget } from './probe.ts';
import type { HealthReport } from './target-check.ts';

export type { BackendTarget } from './probe.ts';
export type { HealthReport } from './target-check.ts';

const NOT_CHECKED: HealthReport = {
  state: 'unknown',
  drainRequested: false,
  why: 'it is not checked',
  sinceMs: 0,
  checks: [],
  failingChecks: [],
};

export interface HealthMonitorOptions extends Pick<BackendCheckOptions, 'log'> {
  /**
   * Called when the state, the wish to drain or the set of failing checks changed. Also during `apply`, for a
   * target whose checks are off.
   */
  onChange(id: string, report: HealthReport): void;
  /** The addresses that `usable` says have changed. Called before `onChange`, also during `apply`. */
  onUsable?(id: string): void;
}

/** The health checks of all backends. For the control plane: it shares no thread with the data path. */
export class HealthMonitor {
  readonly #options: BackendCheckOptions;
  #checks = new Map<string, BackendCheck>();

  constructor({ log, onChange, onUsable }: HealthMonitorOptions) {
    this.#options = { log, onChange, onUsable: onUsable ?? (() => {}) };
  }

  /**
   * Checks these targets from now on, new ones at once. An unchanged one goes on as it was; one with the same
   * address but other settings keeps its state until its next result, which comes at once and decides alone.
   */
  apply(targets: readonly BackendTarget[]): void {
    const before = this.#checks;
    const changed: [BackendCheck, BackendTarget][] = [];
    this.#checks = new Map();
    for (const target of targets) {
      const old = before.get(target.id);
      const check = old ?? new BackendCheck(target, this.#options);
      this.#checks.set(target.id, check);
      before.delete(target.id);
      if (old === undefined || !isDeepStrictEqual(old.target, target)) changed.push([check, target]);
    }
    for (const gone of before.values()) gone.close();
    for (const [check, target] of changed) check.update(target);
  }

  /** Goes on with these targets, as `apply` does; all others are left as they are. */
  update(targets: readonly BackendTarget[]): void {
    for (const target of targets) {
      const check = this.#checks.get(target.id);
      if (check !== undefined && !isDeepStrictEqual(check.target, target)) check.update(target);
    }
  }

  /**
   * What the peer found out about a target, to go by until the first own result; ignored after that.
   *
   * @param why in words, such as `lb2 says: connection refused`
   */
  seed(id: string, healthy: boolean, why: string): void {
    this.#checks.get(id)?.seed(healthy, why);
  }

  report(id: string): HealthReport {
    return this.#checks.get(id)?.report ?? NOT_CHECKED;
  }

  /** Addresses of a backend that clients may be sent to: those that pass their checks, or all where none does. */
  usable(id: string): readonly string[] {
    return this.#checks.get(id)?.usable ?? [];
  }

  /** When every target of now has its first result, which its time-out bounds, or is gone. */
  async settled(): Promise<void> {
    await Promise.all([...this.#checks.values()].map((check) => check.settled));
  }

  /** Ends all checks, also those under way. */
  close(): void {
    for (const check of this.#checks.values()) check.close();
    this.#checks.clear();
  }
}

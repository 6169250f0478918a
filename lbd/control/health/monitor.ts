import { isDeepStrictEqual } from 'node:util';
import type { Logger } from '../../../common/logger.ts';
import { BackendCheck } from './backend-check.ts';
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

export interface HealthMonitorOptions {
  readonly log: Logger;
  /**
   * Called when the state, the wish to drain or the set of failing checks changed. Also during `apply`, for a
   * target whose checks are off or that has moved.
   */
  onChange(id: string, report: HealthReport): void;
  /** The addresses that `usable` says have changed. Called before `onChange`, also during `apply`. */
  onUsable?(id: string): void;
}

const NOBODY: ReadonlySet<string> = new Set();

/** The health checks of all backends. For the control plane: it shares no thread with the data path. */
export class HealthMonitor {
  readonly #options: HealthMonitorOptions;
  #checks = new Map<string, BackendCheck>();
  /** Of places that backends will have, beside the checks of those that they have now. */
  readonly #coming = new Map<string, BackendCheck>();

  constructor(options: HealthMonitorOptions) {
    this.#options = options;
  }

  /**
   * Checks these targets from now on, new ones at once. An unchanged one goes on as it was; one with the same
   * address but other settings keeps its state until its next result, which comes at once and decides alone. What
   * `prepare` began goes on where it is wanted, and ends where it is not.
   *
   * @param staying ids of others that are checked on, as they were
   */
  apply(targets: readonly BackendTarget[], staying = NOBODY): void {
    const before = this.#checks;
    const changed: [BackendCheck, BackendTarget][] = [];
    const moved: BackendCheck[] = [];
    this.#checks = new Map();
    for (const target of targets) {
      const { id } = target;
      const coming = this.#coming.get(id);
      const isThere = coming !== undefined && isSamePlace(coming.target, target);
      const old = isThere ? coming : before.get(id);
      const check = old ?? this.#begin(target);
      this.#checks.set(id, check);
      if (isThere) {
        this.#coming.delete(id);
        if (before.has(id)) moved.push(check);
      } else before.delete(id);
      if (old === undefined || !isDeepStrictEqual(old.target, target)) changed.push([check, target]);
    }
    for (const [id, check] of before)
      if (staying.has(id) && !this.#checks.has(id)) this.#checks.set(id, check);
      else check.close();
    for (const unwanted of this.#coming.values()) unwanted.close();
    this.#coming.clear();
    for (const check of moved) this.#tell(check);
    for (const [check, target] of changed) check.update(target);
  }

  /**
   * Begins to check targets that `apply` will be told. Where a backend is elsewhere than it will be, it is checked at both
   * places, and is what it is at the old one; where it stays, only its settings change, at once.
   */
  prepare(targets: readonly BackendTarget[]): void {
    for (const target of targets) {
      const { id } = target;
      const now = this.#checks.get(id);
      const stays = now !== undefined && isSamePlace(now.target, target);
      const known = stays ? now : this.#coming.get(id);
      const check = known ?? this.#begin(target);
      if (!stays) this.#coming.set(id, check);
      if (known === undefined || !isDeepStrictEqual(known.target, target)) check.update(target);
    }
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
    (this.#checks.get(id) ?? this.#coming.get(id))?.seed(healthy, why);
  }

  report(id: string): HealthReport {
    return this.#checks.get(id)?.report ?? NOT_CHECKED;
  }

  /** Addresses of a backend that clients may be sent to: those that pass their checks, or all where none does. */
  usable(id: string): readonly string[] {
    return this.#checks.get(id)?.usable ?? [];
  }

  /** When every target of now, and of what was prepared, has its first result, which its time-out bounds, or is gone. */
  async settled(): Promise<void> {
    const all = [...this.#checks.values(), ...this.#coming.values()];
    await Promise.all(all.map((check) => check.settled));
  }

  /** Ends all checks, also those under way. */
  close(): void {
    for (const checks of [this.#checks, this.#coming]) {
      for (const check of checks.values()) check.close();
      checks.clear();
    }
  }

  /** Nobody is told of the place that a backend will have while it has another one. */
  #begin(target: BackendTarget): BackendCheck {
    const { log, onChange, onUsable } = this.#options;
    const counts = (id: string) => (this.#checks.get(id) ?? this.#coming.get(id)) === check;
    const check: BackendCheck = new BackendCheck(target, {
      log,
      onChange: (id, report) => {
        if (counts(id)) onChange(id, report);
      },
      onUsable: (id) => {
        if (counts(id)) onUsable?.(id);
      },
    });
    return check;
  }

  /** What was found of a place before it counted. */
  #tell({ target: { id }, report, usable }: BackendCheck): void {
    if (usable.length > 0) this.#options.onUsable?.(id);
    if (report.state !== 'unknown') this.#options.onChange(id, report);
  }
}

function isSamePlace(one: BackendTarget, other: BackendTarget): boolean {
  return one.host === other.host && one.port === other.port;
}

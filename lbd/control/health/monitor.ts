import { isDeepStrictEqual } from 'node:util';
import type { Logger } from '../../../common/logger.ts';
import type { HealthTarget } from './probe.ts';
import { type HealthReport, TargetCheck } from './target-check.ts';

export type { HealthTarget } from './probe.ts';
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
   * target whose checks are off.
   */
  onChange(id: string, report: HealthReport): void;
}

/** The health checks of all backends. For the control plane: it shares no thread with the data path. */
export class HealthMonitor {
  readonly #options: HealthMonitorOptions;
  #checks = new Map<string, TargetCheck>();

  constructor(options: HealthMonitorOptions) {
    this.#options = options;
  }

  /**
   * Checks these targets from now on, new ones at once. An unchanged one goes on as it was; one with the same
   * address but other settings keeps its state until its next result, which comes at once and decides alone.
   */
  apply(targets: readonly HealthTarget[]): void {
    const before = this.#checks;
    const added: TargetCheck[] = [];
    this.#checks = new Map();
    for (const target of targets) {
      const old = before.get(target.id);
      if (old !== undefined && isDeepStrictEqual(old.target, target)) {
        this.#checks.set(target.id, old);
        before.delete(target.id);
        continue;
      }
      const sameServer = old?.target.host === target.host && old.target.port === target.port;
      const { log, onChange } = this.#options;
      const check = new TargetCheck(target, log, onChange, sameServer ? old.report : undefined);
      this.#checks.set(target.id, check);
      added.push(check);
    }
    for (const gone of before.values()) gone.close();
    for (const check of added) check.start();
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

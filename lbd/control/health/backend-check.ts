import { isDeepStrictEqual } from 'node:util';
import type { Logger } from '../../../common/logger.ts';
import { joined, sameReport } from './joined-report.ts';
import type { BackendTarget, HealthTarget } from './probe.ts';
import { type HealthReport, TargetCheck } from './target-check.ts';

export interface BackendCheckOptions {
  readonly log: Logger;
  /** See `HealthMonitorOptions`. */
  onChange(id: string, report: HealthReport): void;
  onUsable(id: string): void;
}

/** The checks of one backend: of each address that its host has now. */
export class BackendCheck {
  readonly #options: BackendCheckOptions;
  #target: BackendTarget;
  /** By address, in the order of the target. */
  #checks = new Map<string, TargetCheck>();
  /** Those with a result of their own. */
  readonly #done = new WeakSet<TargetCheck>();
  #report: HealthReport;
  #usable: readonly string[] = [];
  #settled = Promise.withResolvers<void>();
  #isSettled = false;

  /** Nothing runs before `update`. */
  constructor(target: BackendTarget, options: BackendCheckOptions) {
    this.#options = options;
    this.#target = target;
    this.#report = joined([], performance.now(), undefined);
  }

  get report(): HealthReport {
    return this.#join(this.#report.sinceMs);
  }

  /** Addresses that passed their checks, or all where none did: a pool in a panic uses them. */
  get usable(): readonly string[] {
    return this.#usable;
  }

  /** When it is known whether the backend is healthy, by its own checks, or when it is gone. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  /**
   * Goes on with this target. Checks of addresses that stay go on as they were; with other settings they keep their state
   * until their next result, which comes at once and decides alone. Where all addresses are new, the backend is for now
   * what it was.
   */
  update(target: BackendTarget): void {
    const before = this.#checks;
    const added: TargetCheck[] = [];
    const { addresses, nowhere: _nowhere, leadsBack: _leadsBack, ...rest } = target;
    const samePort = this.#target.port === target.port && this.#target.host === target.host;
    const stays = addresses.some((address) => before.has(address));
    const was = samePort && !stays && before.size > 0 ? this.report : undefined;
    this.#target = target;
    this.#checks = new Map();
    for (const address of addresses) {
      const one: HealthTarget = { ...rest, address };
      const old = before.get(address);
      if (old !== undefined && isDeepStrictEqual(old.target, one)) {
        this.#checks.set(address, old);
        before.delete(address);
        continue;
      }
      const known = old?.target.port === one.port ? old.report : was;
      const check = new TargetCheck(one, this.#options.log, () => this.#look(), known);
      this.#checks.set(address, check);
      added.push(check);
    }
    for (const gone of before.values()) gone.close();
    if (added.length > 0 && this.#isSettled) {
      this.#settled = Promise.withResolvers();
      this.#isSettled = false;
    }
    this.#look();
    for (const check of added) {
      check.start();
      void check.settled.then(() => {
        this.#done.add(check);
        this.#judge();
      });
    }
    this.#judge();
  }

  get target(): BackendTarget {
    return this.#target;
  }

  /** What the peer found, to go by until the first own result. */
  seed(healthy: boolean, why: string): void {
    for (const check of this.#checks.values()) check.seed(healthy, why);
  }

  close(): void {
    for (const check of this.#checks.values()) check.close();
    this.#settle();
  }

  /** Tells what is new, the addresses before what their checks say. */
  #look(): void {
    const usable = this.#usableNow();
    if (!isDeepStrictEqual(usable, this.#usable)) {
      this.#usable = usable;
      this.#options.onUsable(this.#target.id);
    }
    const before = this.#report;
    const now = this.#join(performance.now());
    if (sameReport(before, now)) return;
    const turned = before.state !== now.state || before.drainRequested !== now.drainRequested;
    this.#report = turned ? now : { ...now, sinceMs: before.sinceMs };
    // A check that has only begun is no reason to take a backend out that serves.
    if (now.state !== 'unknown') this.#options.onChange(this.#target.id, this.#report);
  }

  #usableNow(): readonly string[] {
    const all = [...this.#checks];
    const healthy = all.filter(([, { report }]) => report.state === 'healthy');
    return (healthy.length > 0 ? healthy : all).map(([address]) => address);
  }

  #join(sinceMs: number): HealthReport {
    const { nowhere, leadsBack } = this.#target;
    const reports = [...this.#checks].map(([address, { report }]) => ({ address, report }));
    return { ...joined(reports, sinceMs, nowhere), ...(leadsBack && { leadsBack }) };
  }

  #judge(): void {
    const checks = [...this.#checks.values()];
    const isOver =
      checks.length === 0
        ? this.#target.nowhere !== undefined
        : checks.every((check) => this.#done.has(check)) ||
          checks.some((check) => this.#done.has(check) && check.report.state === 'healthy');
    if (isOver) this.#settle();
  }

  #settle(): void {
    this.#isSettled = true;
    this.#settled.resolve();
  }
}

import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import { messageOf } from '../../common/errors.ts';
import type { Config } from '../../common/model.ts';
import type { Keys } from '../../common/secret.ts';
import type { KernelEngine } from '../kernel/kernel-engine.ts';
import type { AccessFiles } from '../log/access-files.ts';
import type { Plan } from '../shared/plan.ts';
import type { TlsControl } from '../tls/tls-control.ts';
import type { Backends } from './care/backends.ts';
import type { Departures } from './care/departures.ts';
import type { LearntHealth } from './care/learnt-health.ts';
import type { GroupRoles } from './group-roles.ts';
import type { HealthMonitor } from './health/monitor.ts';
import type { MetricsServer } from './metrics-server.ts';
import type { OwnState } from './own-state.ts';
import { backendIds, type Planner } from './planner.ts';
import type { Supervisor } from './supervisor.ts';
import type { SyncEnd } from './sync.ts';
import type { Whereabouts } from './whereabouts.ts';

/** A dead backend must not hold up the start: its pool serves with the others meanwhile. */
const FIRST_CHECKS_MS = 5_000;

/** Who must know of a config. */
export interface InForceOptions {
  readonly planner: Planner;
  readonly backends: Backends;
  readonly departures: Departures;
  readonly monitor: HealthMonitor;
  readonly whereabouts: Whereabouts;
  readonly learnt: LearntHealth;
  readonly tls: TlsControl;
  readonly access: AccessFiles;
  readonly supervisor: Supervisor;
  readonly kernel: KernelEngine;
  readonly metrics: MetricsServer;
  readonly sync: Pick<SyncEnd, 'rekey'>;
  readonly roles: GroupRoles;
  readonly ownState: OwnState;
}

/** Puts configs in force: each part gets its share of the plan, in the order in which none is without what it needs. */
export class InForce {
  readonly #options: InForceOptions;
  /** As last given to the workers, without what TLS needs. */
  #plan: Plan | undefined;
  /** Of the latest config. */
  #applied: Promise<unknown> = Promise.resolve();

  constructor(options: InForceOptions) {
    this.#options = options;
  }

  /**
   * The first config, up to the plan that the workers start with.
   *
   * @throws OperatorError `TOO_MANY` when it does not fit
   */
  async begin(config: Config): Promise<Plan> {
    const { planner, tls, access, backends, whereabouts } = this.#options;
    const plan = planner.plan(config);
    this.#plan = plan;
    backends.apply(config, plan.slots);
    await nextTurn();
    whereabouts.follow(config, (pool) => tls.pool(pool));
    await this.#checked(config);
    backends.evaluate();
    access.apply(config);
    return this.#withTls(plan);
  }

  /**
   * Another config.
   *
   * @returns what of it could not be done, one line each
   * @throws OperatorError when it cannot serve; nothing is changed then
   */
  apply(next: Config, keys: Keys | undefined): Promise<string[]> {
    const applied = this.#apply(next, keys);
    this.#applied = applied.catch(() => {});
    return applied;
  }

  /** New certificates: for the workers, and for the health checks. @returns what could not be done, one line each */
  async tlsChanged(): Promise<readonly string[]> {
    // Else the checks of a config that is being put in force were those of the former one again.
    await this.#applied;
    const plan = this.#plan;
    if (plan === undefined) return [];
    const { whereabouts, tls, ownState, supervisor } = this.#options;
    whereabouts.check((pool) => tls.pool(pool));
    ownState.refresh();
    return supervisor.update(this.#withTls(plan));
  }

  /** In turns of a few milliseconds each, however large the config is. */
  async #apply(next: Config, keys: Keys | undefined): Promise<string[]> {
    const { planner, departures, access, supervisor, kernel, metrics, sync, roles, tls } = this.#options;
    const { backends, whereabouts } = this.#options;
    planner.checkRoom(next);
    await nextTurn();
    const prepared = await tls.prepare(next);
    await nextTurn();
    // What serves is judged as before until it does not serve any more.
    const tlsOf = (pool: string) => prepared.pools.get(pool);
    whereabouts.prepare(next, tlsOf);
    await this.#checked(next);
    departures.look();
    const before = this.#plan!;
    const plan = planner.plan(next);
    departures.given(plan);
    whereabouts.follow(next, tlsOf);
    backends.apply(next, plan.slots);
    access.apply(next);
    // Both in one turn: whatever changes for the workers gives them these two together.
    tls.take(prepared);
    this.#plan = plan;
    if (keys !== undefined) sync.rekey(keys);
    await nextTurn();
    const problems = await supervisor.update(this.#withTls(plan));
    departures.take(before, plan);
    whereabouts.release(departures.checked);
    // The workers have it: what fails from here on is told and does not take it back.
    await kernel.apply(next).catch((error: unknown) => problems.push(`kernel engine: ${messageOf(error)}`));
    roles.assignFlows(next);
    await metrics.apply(next.admin.metrics);
    return problems;
  }

  /** Waits, not for long, until it is known how the backends of a config are. */
  async #checked(config: Config): Promise<void> {
    const { learnt, monitor } = this.#options;
    for (const id of backendIds(config)) learnt.seed(id);
    const patience = new AbortController();
    await Promise.race([
      monitor.settled(),
      delay(FIRST_CHECKS_MS, undefined, { signal: patience.signal }).catch(() => {}),
    ]);
    patience.abort();
    await nextTurn();
  }

  /** With the certificates and addresses of now: they may change between two plans. */
  #withTls(plan: Plan): Plan {
    const { tls, whereabouts } = this.#options;
    return { ...plan, tls: tls.material, addresses: whereabouts.addresses };
  }
}

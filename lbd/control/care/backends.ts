import type { BackendState, BackendStatus, PoolStrain } from '../../../common/control.ts';
import type { Algorithm, Config, PoolConfig } from '../../../common/model.ts';
import type { Registers } from '../../session/registers.ts';
import { GATE_OPEN, type SharedState } from '../../shared/shared.ts';
import { FULL_SHARE } from '../../shared/vitals.ts';
import type { HealthReport } from '../health/monitor.ts';
import { type AdminEntry, adminKey, adminValue, parseAdmin } from '../replicated.ts';
import { type BackendFacts, type BackendLife, drainedLife, nextLife } from './backend-life.ts';
import { newPatient, type Patient, PoolCare } from './pool-care.ts';
import { limitsReached, poolStrain } from './pool-status.ts';

/** How often is looked at what changes without an event: drains, slow starts, what workers saw of outliers. */
const TICK_MS = 50;
/** Backends or pools that a line names; more only make it unreadable. */
const MAX_NAMED = 6;

export interface BackendsOptions {
  readonly shared: SharedState;
  readonly registers: Pick<Registers, 'get' | 'set'>;
  /** Latest health of `pool/backend`. */
  health(id: string): HealthReport;
  /** Flows to `pool/backend` in the kernel, which no worker sees; undefined: there is no kernel engine. */
  flows?(id: string): number;
  /** Whether its drain was over before this process began; see `AdminStates`. */
  wasDrained?(id: string): boolean;
  /** Monotonic milliseconds. */
  now(): number;
  /** A transition, once per change. */
  tell(level: 'info' | 'warn', kind: 'backend' | 'pool', text: string): void;
  /** Connections that are still open to this slot, of `pool/backend`, must go. */
  cut(slot: number, id: string): void;
  /** Some backend or pool changed. */
  changed(): void;
}

/** What changes all the time about a backend, without words. */
export interface BackendFigures {
  /** `pool/backend` */
  readonly id: string;
  readonly pool: string;
  readonly name: string;
  readonly slot: number;
  readonly state: BackendState;
  /** Its health checks succeed. */
  readonly healthy: boolean;
  readonly weight: number;
  /** Requests or connections in flight. */
  readonly active: number;
  readonly ejections: number;
  /** Slow start: percent of its clients that it gets. */
  readonly share: number;
}

interface Entry {
  readonly id: string;
  readonly pool: string;
  readonly name: string;
  readonly slot: number;
  readonly address: string;
  readonly configWeight: number;
  readonly sticky: boolean;
  readonly drainTimeoutMs: number;
  readonly patient: Patient;
  weight: number;
  life: BackendLife | undefined;
  healthy: boolean;
}

interface PoolEntry {
  state: PoolState;
  /** When it began to take clients. */
  takingSinceMs: number;
  readonly entries: readonly Entry[];
  readonly care: PoolCare;
  readonly config: PoolConfig;
}

/** Whether a pool takes clients; `starting` until its first checks are done. */
type PoolState = 'starting' | 'taking' | 'empty';

/**
 * All backends of the config with what they are now. Brings together health, the operator's wishes and what is in
 * flight (`nextLife` decides), and writes the outcome to the gates in shared memory, where the workers see it.
 */
export class Backends {
  readonly #options: BackendsOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #pools = new Map<string, PoolEntry>();
  #tick: NodeJS.Timeout | undefined;

  constructor(options: BackendsOptions) {
    this.#options = options;
  }

  /**
   * Takes over the backends of a config. Who was there before keeps its state.
   *
   * @param slots slot by `pool/backend`
   */
  apply(config: Config, slots: Readonly<Record<string, number>>): void {
    const before = new Map(this.#entries);
    const poolsBefore = new Map(this.#pools);
    const nowMs = this.#options.now();
    this.#entries.clear();
    this.#pools.clear();
    for (const pool of config.pools) {
      const entries: Entry[] = [];
      for (const backend of pool.backends) {
        const id = `${pool.name}/${backend.name}`;
        const entry: Entry = {
          id,
          pool: pool.name,
          name: backend.name,
          slot: slots[id]!,
          address: addressText(backend.address),
          configWeight: backend.weight,
          sticky: pool.stick !== undefined,
          drainTimeoutMs: pool.drainTimeoutMs,
          patient: patientOf(before.get(id), slots[id]!),
          weight: this.#admin(id).weight ?? backend.weight,
          life: before.get(id)?.life ?? this.#lifeBefore(id, nowMs),
          healthy: before.get(id)?.healthy ?? false,
        };
        entries.push(entry);
        this.#entries.set(id, entry);
      }
      const was = poolsBefore.get(pool.name);
      const patients = entries.map(({ patient }) => patient);
      const care = new PoolCare(pool, patients, this.#options.shared, nowMs);
      care.panic = was?.care.panic ?? false;
      this.#pools.set(pool.name, {
        state: was?.state ?? 'starting',
        takingSinceMs: was?.takingSinceMs ?? nowMs,
        entries,
        care,
        config: pool,
      });
    }
    this.evaluate();
  }

  /** Looks at one backend again, or at all. Cheap; call it after whatever may matter. */
  evaluate(id?: string): void {
    const only = id === undefined ? undefined : this.#entries.get(id);
    const pools = only === undefined ? this.#pools : [[only.pool, this.#pools.get(only.pool)!] as const];
    if (id !== undefined && only === undefined) return;
    let changed = false;
    for (const [name, pool] of pools)
      changed = this.#evaluatePool(name, pool, only === undefined ? pool.entries : [only]) || changed;
    if (changed) this.#options.changed();
    this.#watch();
  }

  /** Sets what the operator wants, on both nodes. `weight: null` goes back to the weight of the config. */
  set(
    id: string,
    change: { admin?: AdminEntry['admin'] | undefined; weight?: number | null | undefined },
  ): void {
    const now = this.#admin(id);
    const weight = change.weight === undefined ? now.weight : (change.weight ?? undefined);
    this.#options.registers.set(
      adminKey(id),
      adminValue({ admin: change.admin ?? now.admin, weight, atMs: Date.now() }),
    );
    this.evaluate(id);
  }

  has(id: string): boolean {
    return this.#entries.has(id);
  }

  ids(): string[] {
    return [...this.#entries.keys()];
  }

  /** Of the pool of a backend; undefined for an id that `has` denies. */
  algorithm(id: string): Algorithm | undefined {
    const entry = this.#entries.get(id);
    return entry && this.#pools.get(entry.pool)?.config.algorithm;
  }

  /** @throws Error for an id that `has` denies */
  status(id: string): BackendStatus {
    const entry = this.#entries.get(id);
    if (entry?.life === undefined) throw new Error(`no such backend: ${id}`);
    const { shared } = this.#options;
    const report = this.#options.health(id);
    const admin = this.#admin(id);
    const share = shared.vitals.share(entry.slot);
    const inForce = admin.admin !== 'ready' || admin.weight !== undefined;
    return {
      address: entry.address,
      state: entry.life.state,
      health: report.state,
      admin: admin.admin,
      ...(inForce && admin.atMs !== undefined && { admin_at: new Date(admin.atMs).toISOString() }),
      active: this.#active(entry),
      weight: entry.weight,
      why: this.#why(entry, entry.life),
      since_ms: Math.round(this.#options.now() - entry.life.sinceMs),
      requests: shared.backendCounter(entry.slot, 'requests'),
      errors: shared.backendCounter(entry.slot, 'errors'),
      retries: shared.backendCounter(entry.slot, 'retries'),
      ejections: entry.patient.ejections,
      share: share === FULL_SHARE ? undefined : percent(share),
      latency_ms: Math.round(shared.latencyMs(entry.slot) * 1000) / 1000,
      failing_checks: report.failingChecks,
      checks: report.checks,
    };
  }

  /** Of all, in the order of the config, without those that leave it meanwhile. A `status` of each would cost far more. */
  *figures(): Generator<BackendFigures, void> {
    const { vitals } = this.#options.shared;
    for (const id of this.ids()) {
      const entry = this.#entries.get(id);
      if (entry === undefined) continue;
      const { pool, name, slot, weight, healthy, patient, life } = entry;
      const share = vitals.share(slot);
      yield {
        ...{ id, pool, name, slot, weight, healthy, state: life?.state ?? 'starting' },
        active: this.#active(entry),
        ejections: patient.ejections,
        share: percent(share),
      };
    }
  }

  /** How a pool bears up; undefined: there is none of this name. */
  strain(name: string): PoolStrain | undefined {
    const pool = this.#pools.get(name);
    const slots = pool?.entries.map(({ slot }) => slot);
    return pool && poolStrain(pool.config, slots!, this.#options.shared, pool.care.panic);
  }

  #why(entry: Entry, life: BackendLife): string {
    const { pool, patient } = entry;
    const { state, why } = life;
    if (this.#isForced(entry, life, this.#pools.get(pool)!))
      return `used all the same, the pool panics; ${why}`;
    if (state !== 'ready') return why;
    const share = this.#options.shared.vitals.share(patient.slot);
    if (share < FULL_SHARE) return `slow start: gets ${percent(share)}% of its clients; ${why}`;
    return patient.spared === ''
      ? why
      : `would be left out if the pool could spare it: ${patient.spared}; ${why}`;
  }

  state(id: string): BackendState | undefined {
    return this.#entries.get(id)?.life?.state;
  }

  /** Whether this node is of use: a pool takes clients, or there is no pool at all. */
  usable(): { healthy: boolean; why: string } {
    const pools = [...this.#pools];
    if (pools.length === 0 || pools.some(([, pool]) => pool.state === 'taking'))
      return { healthy: true, why: '' };
    const names = pools.map(([name]) => name);
    return { healthy: false, why: `no pool has a backend that takes clients: ${someOf(names)}` };
  }

  /** Pools that take no clients, that panic, or that refuse some, one line each. */
  warnings(): string[] {
    return [...this.#pools].flatMap(([name, pool]) => [
      ...(pool.state === 'empty' ? [emptyText(name, pool.entries)] : []),
      ...limitsReached(
        pool.config,
        pool.entries.map(({ slot }) => slot),
        this.#options.shared,
      ).map((limit) => `pool ${name} refuses what is more: ${limit}`),
      ...(pool.care.panic
        ? [`pool ${name} panics: too few backends are healthy, ${this.#usedIn(pool)}`]
        : []),
    ]);
  }

  close(): void {
    clearInterval(this.#tick);
    this.#tick = undefined;
  }

  /** Of a backend that is new to this process. */
  #lifeBefore(id: string, nowMs: number): BackendLife | undefined {
    return this.#options.wasDrained?.(id) ? drainedLife(nowMs) : undefined;
  }

  #active({ slot, id }: Entry): number {
    return this.#options.shared.active(slot) + (this.#options.flows?.(id) ?? 0);
  }

  #admin(id: string): AdminEntry {
    return parseAdmin(this.#options.registers.get(adminKey(id)));
  }

  /** @returns whether something changed that the outside should know */
  #evaluatePool(name: string, pool: PoolEntry, entries: readonly Entry[]): boolean {
    const { shared, cut } = this.#options;
    let changed = false;
    const overdue: Entry[] = [];
    for (const entry of entries) changed = this.#evaluateOne(entry, pool, overdue) || changed;
    const panicked = pool.care.judge(pool.entries.map((entry) => entry.life?.state));
    if (panicked) this.#tellPanic(name, pool);
    for (const entry of panicked ? pool.entries : entries) {
      const { slot, life, weight } = entry;
      if (life === undefined) continue;
      shared.setGate(slot, this.#isForced(entry, life, pool) ? GATE_OPEN : life.gate, weight);
    }
    // Only now does nobody new come to them.
    for (const { slot, id } of overdue) cut(slot, id);
    if (changed) this.#judgePool(name, pool);
    return changed;
  }

  /** Whether the panic of its pool alone opens its gate. */
  #isForced({ id }: Entry, { state }: BackendLife, { care }: PoolEntry): boolean {
    if (!care.panic || (state !== 'down' && state !== 'ejected')) return false;
    return this.#options.health(id).leadsBack !== true;
  }

  #evaluateOne(entry: Entry, pool: PoolEntry, overdue: Entry[]): boolean {
    const { now, health, tell } = this.#options;
    const nowMs = now();
    const { admin, weight: wanted } = this.#admin(entry.id);
    const weight = wanted ?? entry.configWeight;
    const report = health(entry.id);
    const { care } = pool;
    const facts: Omit<BackendFacts, 'health'> = {
      nowMs,
      admin,
      healthWhy: report.why,
      drainRequested: report.drainRequested,
      ejected: care.ejected(entry.patient, entry.life?.state, () => takingOf(pool).length, nowMs),
      active: this.#active(entry),
      weight,
      sticky: entry.sticky,
      drainTimeoutMs: entry.drainTimeoutMs,
    };
    // What its first check found is news, also where that was before it came here.
    const before = entry.life ?? nextLife(undefined, { ...facts, health: 'unknown' }).life;
    const { life, cut: mustCut } = nextLife(before, { ...facts, health: report.state });
    if (weight !== entry.weight) tell('info', 'backend', `${entry.id}: weight ${entry.weight} → ${weight}`);
    if (before.state !== life.state) {
      const level = life.state === 'down' || life.state === 'ejected' ? 'warn' : 'info';
      tell(level, 'backend', `${entry.id}: ${before.state} → ${life.state}: ${life.why}`);
      const settledMs = pool.state === 'taking' ? nowMs - pool.takingSinceMs : 0;
      care.turned(entry.patient, before.state, life.state, settledMs, nowMs);
    }
    care.warm(entry.patient, nowMs);
    if (mustCut) {
      tell('warn', 'backend', `${entry.id}: drain_timeout is over, connections that are still open are cut`);
      overdue.push(entry);
    }
    const { life: was } = entry;
    const changed = was?.state !== life.state || was.gate !== life.gate || weight !== entry.weight;
    entry.life = life;
    entry.weight = weight;
    entry.healthy = report.state === 'healthy';
    return changed;
  }

  #tellPanic(name: string, pool: PoolEntry): void {
    const healthy = pool.entries.filter(({ life }) => life?.state === 'ready').length;
    const share = Math.round(pool.config.panicShare * 100);
    const text = `${healthy} of ${pool.entries.length} backends healthy`;
    if (pool.care.panic)
      this.#options.tell(
        'warn',
        'pool',
        `pool ${name} panics: ${text}, below ${share}%: ${this.#usedIn(pool)}`,
      );
    else this.#options.tell('info', 'pool', `pool ${name} panics no more: ${text}`);
  }

  /** What a panic comes to: what leads back to the frontend is no use in any case. */
  #usedIn(pool: PoolEntry): string {
    const isDown = ({ life }: Entry) => life?.state === 'down' || life?.state === 'ejected';
    const out = pool.entries.filter(isDown);
    const back = out.filter((entry) => !this.#isForced(entry, entry.life!, pool));
    if (back.length === 0) return 'all are used';
    const names = someOf(back.map(({ name }) => name));
    const leads = `${back.length === 1 ? 'leads' : 'lead'} back to the frontend`;
    const used = takingOf(pool).length + out.length - back.length;
    return used > 0 ? `all are used but ${names}, which ${leads}` : `none is used: ${names} ${leads}`;
  }

  #judgePool(name: string, pool: PoolEntry): void {
    const taking = takingOf(pool);
    const starting = pool.entries.some((e) => e.life?.state === 'starting');
    const before = pool.state;
    if (taking.length > 0) pool.state = 'taking';
    else if (!starting || before !== 'starting') pool.state = 'empty';
    if (pool.state === before) return;
    if (pool.state === 'taking') pool.takingSinceMs = this.#options.now();
    if (pool.state === 'empty') this.#options.tell('warn', 'pool', emptyText(name, pool.entries));
    else if (before === 'empty')
      this.#options.tell(
        'info',
        'pool',
        `pool ${name} takes clients again: ${someOf(taking.map((e) => e.name))}`,
      );
  }

  /** Looks at what changes without an event, as long as there is such a thing. */
  #watch(): void {
    const draining = [...this.#entries.values()].some((e) => e.life?.state === 'draining');
    const restless = draining || [...this.#pools.values()].some(({ care }) => care.restless);
    if (!restless) this.close();
    else this.#tick ??= setInterval(() => this.tick(), TICK_MS).unref();
  }

  /** Looks at the backends that drain, fare badly, are left out or warm up. */
  tick(): void {
    const nowMs = this.#options.now();
    let changed = false;
    for (const [name, pool] of this.#pools) {
      pool.care.look(nowMs);
      const moving = pool.entries.filter(
        ({ life, patient }) => life?.state === 'draining' || pool.care.concerns(patient),
      );
      if (moving.length > 0) changed = this.#evaluatePool(name, pool, moving) || changed;
    }
    if (changed) this.#options.changed();
    this.#watch();
  }
}

function percent(share: number): number {
  return Math.round((share * 100) / FULL_SHARE);
}

function patientOf(before: Entry | undefined, slot: number): Patient {
  return before?.slot === slot ? before.patient : newPatient(slot);
}

/** Backends that get new clients by their own merit, not because the pool panics. */
function takingOf({ entries }: PoolEntry): readonly Entry[] {
  return entries.filter((e) => e.life?.gate === GATE_OPEN && e.weight > 0);
}

function emptyText(pool: string, entries: readonly Entry[]): string {
  if (entries.length === 0) return `pool ${pool} has no backends`;
  const texts = entries.map((e) => {
    const state = e.life?.state ?? 'starting';
    return state === 'ready' ? `${e.name} has weight 0` : `${e.name} is ${state} (${e.life?.why ?? ''})`;
  });
  return `pool ${pool} has no backend that takes clients: ${someOf(texts)}`;
}

/** The first few, and how many more there are. */
function someOf(texts: readonly string[]): string {
  const more = texts.length - MAX_NAMED;
  return `${texts.slice(0, MAX_NAMED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

/** `host:port`, an IPv6 address in brackets. */
export function addressText(address: { readonly host: string; readonly port: number }): string {
  return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
}

import type { BackendState, BackendStatus } from '../common/control.ts';
import type { Config } from '../common/model.ts';
import { type BackendLife, nextLife } from './backend-life.ts';
import type { HealthReport } from './health/monitor.ts';
import { type AdminEntry, adminKey, adminValue, parseAdmin } from './replicated.ts';
import type { Registers } from './session/registers.ts';
import { GATE_OPEN, type SharedState } from './shared.ts';

/** How often a drain is looked at; only while one is under way. */
const DRAIN_TICK_MS = 50;
/** Backends that a line about a pool names; more only make it unreadable. */
const MAX_NAMED = 6;

export interface BackendsOptions {
  readonly shared: SharedState;
  readonly registers: Pick<Registers, 'get' | 'set'>;
  /** Latest health of `pool/backend`. */
  health(id: string): HealthReport;
  /** Monotonic milliseconds. */
  now(): number;
  /** A transition, once per change. */
  tell(level: 'info' | 'warn', kind: 'backend' | 'pool', text: string): void;
  /** Connections that are still open to this slot must go. */
  cut(slot: number): void;
  /** Some backend or pool changed. */
  changed(): void;
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
  weight: number;
  life: BackendLife | undefined;
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
  readonly #pools = new Map<string, { state: PoolState; entries: Entry[] }>();
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
    const poolStates = new Map([...this.#pools].map(([name, pool]) => [name, pool.state]));
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
          weight: before.get(id)?.weight ?? this.#admin(id).weight ?? backend.weight,
          life: before.get(id)?.life,
        };
        entries.push(entry);
        this.#entries.set(id, entry);
      }
      this.#pools.set(pool.name, { state: poolStates.get(pool.name) ?? 'starting', entries });
    }
    this.evaluate();
  }

  /** Looks at one backend again, or at all. Cheap; call it after whatever may matter. */
  evaluate(id?: string): void {
    const entries = id === undefined ? this.#entries.values() : [this.#entries.get(id)];
    let changed = false;
    for (const entry of entries) if (entry !== undefined) changed = this.#evaluateOne(entry) || changed;
    if (changed) {
      for (const [name, pool] of this.#pools) this.#evaluatePool(name, pool);
      this.#options.changed();
    }
    this.#watchDrains();
  }

  /** Sets what the operator wants, on both nodes. `weight: null` goes back to the weight of the config. */
  set(
    id: string,
    change: { admin?: AdminEntry['admin'] | undefined; weight?: number | null | undefined },
  ): void {
    const now = this.#admin(id);
    const weight = change.weight === undefined ? now.weight : (change.weight ?? undefined);
    this.#options.registers.set(adminKey(id), adminValue({ admin: change.admin ?? now.admin, weight }));
    this.evaluate(id);
  }

  has(id: string): boolean {
    return this.#entries.has(id);
  }

  ids(): string[] {
    return [...this.#entries.keys()];
  }

  /** @throws Error for an id that `has` denies */
  status(id: string): BackendStatus {
    const entry = this.#entries.get(id);
    if (entry?.life === undefined) throw new Error(`no such backend: ${id}`);
    const { shared } = this.#options;
    const report = this.#options.health(id);
    return {
      address: entry.address,
      state: entry.life.state,
      health: report.state,
      admin: this.#admin(id).admin,
      active: shared.active(entry.slot),
      weight: entry.weight,
      why: entry.life.why,
      since_ms: Math.round(this.#options.now() - entry.life.sinceMs),
      requests: shared.backendCounter(entry.slot, 'requests'),
      errors: shared.backendCounter(entry.slot, 'errors'),
      latency_ms: Math.round(shared.latencyMs(entry.slot) * 1000) / 1000,
      failing_checks: report.failingChecks,
      checks: report.checks,
    };
  }

  state(id: string): BackendState | undefined {
    return this.#entries.get(id)?.life?.state;
  }

  /** Whether this node is of use: a pool takes clients, or there is no pool at all. */
  usable(): { healthy: boolean; why: string } {
    const pools = [...this.#pools];
    if (pools.length === 0 || pools.some(([, pool]) => pool.state === 'taking'))
      return { healthy: true, why: '' };
    return {
      healthy: false,
      why: `no pool has a backend that takes clients: ${pools.map(([n]) => n).join(', ')}`,
    };
  }

  /** Pools that take no clients, one line each. */
  warnings(): string[] {
    return [...this.#pools].flatMap(([name, pool]) =>
      pool.state === 'empty' ? [emptyText(name, pool.entries)] : [],
    );
  }

  close(): void {
    clearInterval(this.#tick);
    this.#tick = undefined;
  }

  #admin(id: string): AdminEntry {
    return parseAdmin(this.#options.registers.get(adminKey(id)));
  }

  #evaluateOne(entry: Entry): boolean {
    const { shared, now, health, tell, cut } = this.#options;
    const { admin, weight: wanted } = this.#admin(entry.id);
    const weight = wanted ?? entry.configWeight;
    const report = health(entry.id);
    const before = entry.life;
    const { life, cut: mustCut } = nextLife(before, {
      nowMs: now(),
      admin,
      health: report.state,
      healthWhy: report.why,
      drainRequested: report.drainRequested,
      active: shared.active(entry.slot),
      weight,
      sticky: entry.sticky,
      drainTimeoutMs: entry.drainTimeoutMs,
    });
    shared.setGate(entry.slot, life.gate, weight);
    if (weight !== entry.weight) tell('info', 'backend', `${entry.id}: weight ${entry.weight} → ${weight}`);
    if (before !== undefined && before.state !== life.state) {
      const level = life.state === 'down' ? 'warn' : 'info';
      tell(level, 'backend', `${entry.id}: ${before.state} → ${life.state}: ${life.why}`);
    }
    if (mustCut) {
      tell('warn', 'backend', `${entry.id}: drain_timeout is over, connections that are still open are cut`);
      cut(entry.slot);
    }
    const changed = before?.state !== life.state || before.gate !== life.gate || weight !== entry.weight;
    entry.life = life;
    entry.weight = weight;
    return changed;
  }

  #evaluatePool(name: string, pool: { state: PoolState; entries: Entry[] }): void {
    const taking = pool.entries.filter((e) => e.life?.gate === GATE_OPEN && e.weight > 0);
    const starting = pool.entries.some((e) => e.life?.state === 'starting');
    const before = pool.state;
    if (taking.length > 0) pool.state = 'taking';
    else if (!starting || before !== 'starting') pool.state = 'empty';
    if (pool.state === before) return;
    if (pool.state === 'empty') this.#options.tell('warn', 'pool', emptyText(name, pool.entries));
    else if (before === 'empty')
      this.#options.tell(
        'info',
        'pool',
        `pool ${name} takes clients again: ${taking.map((e) => e.name).join(', ')}`,
      );
  }

  #watchDrains(): void {
    const draining = [...this.#entries.values()].some((e) => e.life?.state === 'draining');
    if (!draining) this.close();
    else this.#tick ??= setInterval(() => this.evaluate(), DRAIN_TICK_MS).unref();
  }
}

function emptyText(pool: string, entries: readonly Entry[]): string {
  if (entries.length === 0) return `pool ${pool} has no backends`;
  const named = entries.slice(0, MAX_NAMED).map((e) => {
    const state = e.life?.state ?? 'starting';
    return state === 'ready' ? `${e.name} has weight 0` : `${e.name} is ${state} (${e.life?.why ?? ''})`;
  });
  const more = entries.length > MAX_NAMED ? [`and ${entries.length - MAX_NAMED} more`] : [];
  return `pool ${pool} has no backend that takes clients: ${[...named, ...more].join(', ')}`;
}

/** `host:port`, an IPv6 address in brackets. */
export function addressText(address: { readonly host: string; readonly port: number }): string {
  return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
}

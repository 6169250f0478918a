import type { LeavingStatus } from '../../../common/control.ts';
import { formatDuration } from '../../../common/duration.ts';
import { departureMs } from '../../shared/departure.ts';
import type { Plan } from '../../shared/plan.ts';
import { GATE_CLOSED, type Gate, type SharedState } from '../../shared/shared.ts';
import type { HealthReport } from '../health/monitor.ts';

/** How often is looked whether something that leaves is gone. */
const LOOK_MS = 250;

export interface DeparturesOptions {
  readonly shared: Pick<SharedState, 'frontendCounter' | 'active' | 'gate' | 'weight' | 'setGate'>;
  /** Latest health of `pool/backend`. */
  health(id: string): HealthReport;
  /** Monotonic milliseconds. */
  now(): number;
  tell(level: 'info' | 'warn', text: string): void;
  /** Some of `checked` need no check any more. */
  released(): void;
}

interface Leaver {
  /** Such as `frontend web`. */
  readonly name: string;
  /** undefined: it is a frontend. */
  readonly backend: FormerBackend | undefined;
  /** Which reload took it out. */
  readonly round: number;
  readonly untilMs: number;
  open(): number;
  overdue: boolean;
}

/** A backend that is in no config any more, but gets what its clients of before still ask. */
interface FormerBackend {
  readonly id: string;
  readonly slot: number;
  readonly round: number;
  /** As it left, for while it is healthy. */
  readonly gate: Gate;
  readonly weight: number;
  state: HealthReport['state'];
}

/**
 * Frontends and backends that a reload has taken out while something of them was open. The workers let it finish and cut the
 * rest (`lbd/plane/leavers.ts`); this knows of what is left, so that the operator does. Rows and slots are given away only
 * when nothing is open on them, and a leaver is forgotten at that moment, so that its number is nobody else's. Backends are
 * checked meanwhile, and closed while they fail: tries and clients of a frontend that leaves would find them dead.
 */
export class Departures {
  readonly #options: DeparturesOptions;
  #leavers: Leaver[] = [];
  #backends: FormerBackend[] = [];
  #round = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: DeparturesOptions) {
    this.#options = options;
  }

  /** `pool/backend` of all that are to be checked though no config has them. */
  get checked(): ReadonlySet<string> {
    return new Set(this.#backends.map(({ id }) => id));
  }

  /** The workers have a new plan. */
  take(before: Plan, after: Plan): void {
    this.look();
    const { shared, now, tell, health } = this.#options;
    const nowMs = now();
    const round = ++this.#round;
    const add = (name: string, drainMs: number, open: () => number, backend?: FormerBackend) => {
      const count = open();
      if (count === 0) return;
      this.#leavers.push({ name, backend, round, untilMs: nowMs + drainMs, open, overdue: false });
      tell('info', `${name} is gone; ${count} still open, for ${formatDuration(drainMs)} at most`);
    };
    for (const frontend of before.config.frontends) {
      const row = before.frontendRows[frontend.name]!;
      if (after.frontendRows[frontend.name] === row) continue;
      const open = () => shared.frontendCounter(row, 'connections');
      add(`frontend ${frontend.name}`, departureMs(frontend, before.config), open);
    }
    for (const pool of before.config.pools)
      for (const { name } of pool.backends) {
        const id = `${pool.name}/${name}`;
        const slot = before.slots[id]!;
        if (after.slots[id] === slot) continue;
        const { state } = health(id);
        const former = { id, slot, round, gate: shared.gate(slot), weight: shared.weight(slot), state };
        this.#backends.push(former);
        add(`backend ${id}`, pool.drainTimeoutMs, () => shared.active(slot), former);
      }
    this.#forget();
    if (this.#leavers.length > 0) this.#timer ??= setInterval(() => this.look(), LOOK_MS).unref();
  }

  /** To be called before rows and slots are given away. */
  look(): void {
    const { now, tell } = this.#options;
    const nowMs = now();
    this.#leavers = this.#leavers.filter((leaver) => {
      const open = leaver.open();
      if (open === 0) tell('info', `${leaver.name}: nothing is open any more`);
      else if (nowMs >= leaver.untilMs && !leaver.overdue) {
        leaver.overdue = true;
        tell('warn', `${leaver.name}: drain_timeout is over, connections that are still open are cut`);
      }
      return open > 0;
    });
    if (this.#forget()) this.#options.released();
    if (this.#leavers.length === 0) this.close();
  }

  /** Slots were given away, and names: who has them now is no concern of this. */
  given({ slots }: Pick<Plan, 'slots'>): void {
    const owned = new Set(Object.values(slots));
    this.#backends = this.#backends.filter(({ id, slot }) => !(id in slots) && !owned.has(slot));
  }

  /** The health of a backend has changed. */
  healthChanged(id: string): void {
    const { shared, health, tell } = this.#options;
    const backend = this.#backends.find((it) => it.id === id);
    if (backend === undefined) return;
    const { state, why } = health(id);
    if (state === 'unknown' || state === backend.state) return;
    backend.state = state;
    const isHealthy = state === 'healthy';
    shared.setGate(backend.slot, isHealthy ? backend.gate : GATE_CLOSED, backend.weight);
    tell(isHealthy ? 'info' : 'warn', `backend ${id}, which is leaving, is ${state}: ${why}`);
  }

  status(): LeavingStatus[] {
    const { now, health } = this.#options;
    const nowMs = now();
    return this.#leavers.map(({ name, untilMs, open, backend }) => {
      const isChecked = backend !== undefined && this.#backends.includes(backend);
      const { state, why } = isChecked ? health(backend.id) : {};
      return {
        name,
        connections: open(),
        left_ms: Math.max(0, Math.round(untilMs - nowMs)),
        ...(isChecked && { health: state, why }),
      };
    });
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /**
   * A backend is checked while something is open to it, or clients of a frontend that left with it may ask for it.
   *
   * @returns whether there are fewer of them now
   */
  #forget(): boolean {
    const before = this.#backends.length;
    if (before === 0) return false;
    const withFrontends = new Set<number>();
    const open = new Set<FormerBackend>();
    for (const { round, backend } of this.#leavers)
      if (backend === undefined) withFrontends.add(round);
      else open.add(backend);
    this.#backends = this.#backends.filter((it) => open.has(it) || withFrontends.has(it.round));
    return this.#backends.length < before;
  }
}

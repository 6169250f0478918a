import type { LeavingStatus } from '../../../common/control.ts';
import { formatDuration } from '../../../common/duration.ts';
import { departureMs } from '../../shared/departure.ts';
import type { Plan } from '../../shared/plan.ts';

/** How often is looked whether something that leaves is gone. */
const LOOK_MS = 250;

export interface DeparturesOptions {
  /** Client connections of a row of the frontends, over all workers. */
  connections(row: number): number;
  /** Requests or connections in flight at a slot of the backends, over all workers. */
  active(slot: number): number;
  /** Monotonic milliseconds. */
  now(): number;
  tell(level: 'info' | 'warn', text: string): void;
}

interface Leaver {
  /** Such as `frontend web`. */
  readonly name: string;
  readonly untilMs: number;
  open(): number;
  overdue: boolean;
}

/**
 * Frontends and backends that a reload has taken out while something of them was open. The workers let it finish and cut the
 * rest (`lbd/plane/leavers.ts`); this knows of what is left, so that the operator does. Rows and slots are given away only
 * when nothing is open on them, and a leaver is forgotten at that moment, so that its number is nobody else's.
 */
export class Departures {
  readonly #options: DeparturesOptions;
  #leavers: Leaver[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(options: DeparturesOptions) {
    this.#options = options;
  }

  /** The workers have a new plan. */
  take(before: Plan, after: Plan): void {
    this.look();
    const { connections, active, now, tell } = this.#options;
    const nowMs = now();
    const add = (name: string, drainMs: number, open: () => number) => {
      const count = open();
      if (count === 0) return;
      this.#leavers.push({ name, untilMs: nowMs + drainMs, open, overdue: false });
      tell('info', `${name} is gone; ${count} still open, for ${formatDuration(drainMs)} at most`);
    };
    for (const frontend of before.config.frontends) {
      const row = before.frontendRows[frontend.name]!;
      if (after.frontendRows[frontend.name] === row) continue;
      add(`frontend ${frontend.name}`, departureMs(frontend, before.config), () => connections(row));
    }
    for (const pool of before.config.pools)
      for (const { name } of pool.backends) {
        const id = `${pool.name}/${name}`;
        const slot = before.slots[id]!;
        if (after.slots[id] !== slot) add(`backend ${id}`, pool.drainTimeoutMs, () => active(slot));
      }
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
    if (this.#leavers.length === 0) this.close();
  }

  status(): LeavingStatus[] {
    const nowMs = this.#options.now();
    return this.#leavers.map(({ name, untilMs, open }) => ({
      name,
      connections: open(),
      left_ms: Math.max(0, Math.round(untilMs - nowMs)),
    }));
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

import type { OutlierConfig } from '../../../common/resilience-config.ts';
import type { SharedState } from '../../shared/shared.ts';
import { TRIPPED_5XX } from '../../shared/vitals.ts';
import { type Pace, slowCause } from './outlier.ts';

const STATUSES = ['status_2xx', 'status_3xx', 'status_4xx', 'status_5xx'] as const;

interface Sample {
  readonly answers: number;
  readonly ms: number;
}

/** Reads what the workers saw of the backends of one pool, and names those that fare badly. */
export class OutlierWatch {
  readonly #shared: SharedState;
  readonly #config: OutlierConfig;
  readonly #slots: readonly number[];
  #samples: ReadonlyMap<number, Sample>;
  #causes: ReadonlyMap<number, string> = new Map();
  #dueMs: number;

  /** @param slots of the pool's backends */
  constructor(shared: SharedState, config: OutlierConfig, slots: readonly number[], nowMs: number) {
    this.#shared = shared;
    this.#config = config;
    this.#slots = slots;
    this.#samples = this.#take();
    this.#dueMs = nowMs + config.intervalMs;
  }

  /** At the end of an interval, compares how fast the backends were. @returns whether one was too slow */
  look(nowMs: number): boolean {
    if (this.#config.latencyFactor === 0 || nowMs < this.#dueMs) return false;
    this.#dueMs = nowMs + this.#config.intervalMs;
    const before = this.#samples;
    this.#samples = this.#take();
    const paces = new Map(
      this.#slots.map((slot) => [slot, paceOf(before.get(slot), this.#samples.get(slot))]),
    );
    const causes = new Map<number, string>();
    for (const [slot, pace] of paces) {
      const others = [...paces].filter(([other]) => other !== slot).map(([, it]) => it);
      const cause = slowCause(pace, others, this.#config.latencyFactor);
      if (cause !== undefined) causes.set(slot, cause);
    }
    this.#causes = causes;
    return causes.size > 0;
  }

  /** Why a backend should be left out now, in words; undefined: it should not. */
  cause(slot: number): string | undefined {
    const tripped = this.#shared.vitals.tripped(slot);
    if (tripped === 0) return this.#causes.get(slot);
    const { consecutive5xx, consecutiveFailures } = this.#config;
    return tripped === TRIPPED_5XX
      ? `${consecutive5xx} answers of 500 and above in a row`
      : `${consecutiveFailures} failed connects, resets or time-outs in a row`;
  }

  /** The cause was acted on. */
  clear(slot: number): void {
    this.#shared.vitals.clearStreaks(slot);
    if (this.#causes.has(slot)) this.#causes = new Map([...this.#causes].filter(([other]) => other !== slot));
  }

  #take(): ReadonlyMap<number, Sample> {
    const count = (slot: number) => {
      let answers = 0;
      for (const status of STATUSES) answers += this.#shared.backendCounter(slot, status);
      return { answers, ms: this.#shared.backendCounter(slot, 'response_ms') };
    };
    return new Map(this.#slots.map((slot) => [slot, count(slot)]));
  }
}

function paceOf(before: Sample | undefined, now: Sample | undefined): Pace {
  const answers = (now?.answers ?? 0) - (before?.answers ?? 0);
  const ms = (now?.ms ?? 0) - (before?.ms ?? 0);
  return { answers, meanMs: answers > 0 ? ms / answers : 0 };
}

import type { BackendState } from '../../../common/control.ts';
import type { PoolConfig } from '../../../common/model.ts';
import type { SharedState } from '../../shared/shared.ts';
import { FULL_SHARE } from '../../shared/vitals.ts';
import { INLIER, mayEject, nextOutlier, type OutlierLife } from './outlier.ts';
import { OutlierWatch } from './outlier-watch.ts';
import { panics } from './panic.ts';
import { slowStartShare } from './slow-start.ts';

/** What a pool's care knows of one backend; outlives a reload. */
export interface Patient {
  readonly slot: number;
  outlier: OutlierLife;
  /** How often it was left out since it is in the config. */
  ejections: number;
  /** Why it would be left out if the pool could spare it; empty: nothing. */
  spared: string;
  /** Since when it gets a growing share of its clients; undefined: it gets all. */
  slowSinceMs: number | undefined;
}

export function newPatient(slot: number): Patient {
  return { slot, outlier: INLIER, ejections: 0, spared: '', slowSinceMs: undefined };
}

/** States that make a backend one of those that are meant to serve. */
const WANTED: ReadonlySet<BackendState | undefined> = new Set(['ready', 'ejected', 'down', 'starting']);
/** After these a backend may be cold. */
const COLD: ReadonlySet<BackendState> = new Set(['down', 'ejected', 'drained', 'maint']);

/** Leaves out the backends of a pool that fare badly, warms up those that come back, and knows when to panic. */
export class PoolCare {
  readonly #config: PoolConfig;
  readonly #shared: SharedState;
  readonly #watch: OutlierWatch | undefined;
  readonly #patients: readonly Patient[];
  /** So few backends are healthy that all of them are used. */
  panic = false;

  constructor(config: PoolConfig, patients: readonly Patient[], shared: SharedState, nowMs: number) {
    const { outlier } = config;
    this.#config = config;
    this.#shared = shared;
    this.#patients = patients;
    this.#watch =
      outlier &&
      new OutlierWatch(
        shared,
        outlier,
        patients.map(({ slot }) => slot),
        nowMs,
      );
  }

  /** It must be looked at again and again, not only when something happens. */
  get restless(): boolean {
    return this.#watch !== undefined || this.#patients.some(({ slowSinceMs }) => slowSinceMs !== undefined);
  }

  /** Once a tick, before the backends are looked at. */
  look(nowMs: number): void {
    this.#watch?.look(nowMs);
  }

  /** Whether a tick may change something for this backend. */
  concerns({ slot, outlier, slowSinceMs }: Patient): boolean {
    return (
      outlier.untilMs !== undefined || slowSinceMs !== undefined || this.#watch?.cause(slot) !== undefined
    );
  }

  /**
   * @param taking backends of the pool that get new clients now
   * @returns why it is left out; undefined: it is not
   */
  ejected(
    patient: Patient,
    state: BackendState | undefined,
    taking: () => number,
    nowMs: number,
  ): string | undefined {
    const { outlier } = this.#config;
    const watch = this.#watch;
    if (outlier === undefined || watch === undefined) {
      patient.outlier = INLIER;
      return undefined;
    }
    const cause = watch.cause(patient.slot);
    // Whoever gets no clients has nothing to be left out of.
    const concerned = state === 'ready' ? cause : undefined;
    const ejected = this.#patients.filter((it) => it.outlier.untilMs !== undefined).length;
    const room =
      concerned !== undefined &&
      taking() > 1 &&
      mayEject(this.#patients.length, ejected, outlier.maxEjectedShare);
    const before = patient.outlier;
    patient.outlier = nextOutlier(before, { nowMs, config: outlier, cause: concerned, room });
    const out = patient.outlier.untilMs !== undefined;
    if (out && before.untilMs === undefined) patient.ejections++;
    patient.spared = out || concerned === undefined || room ? '' : concerned;
    if (patient.outlier.untilMs !== before.untilMs || (cause !== undefined && concerned === undefined))
      watch.clear(patient.slot);
    return out ? patient.outlier.why : undefined;
  }

  /** A backend came into another state. @param settledMs so long the pool has had backends that take clients */
  turned(patient: Patient, from: BackendState, to: BackendState, settledMs: number, nowMs: number): void {
    const { slowStartMs } = this.#config;
    const cold = COLD.has(from) || (from === 'starting' && settledMs > slowStartMs);
    patient.slowSinceMs = to === 'ready' && cold && slowStartMs > 0 ? nowMs : undefined;
  }

  /** Puts the share of a backend in force. @returns it, 1 to FULL_SHARE */
  warm(patient: Patient, nowMs: number): number {
    const { slowSinceMs } = patient;
    const share =
      slowSinceMs === undefined ? FULL_SHARE : slowStartShare(nowMs - slowSinceMs, this.#config.slowStartMs);
    if (share === FULL_SHARE) patient.slowSinceMs = undefined;
    this.#shared.vitals.setShare(patient.slot, share);
    return share;
  }

  /** @param states of all backends of the pool. @returns whether `panic` changed */
  judge(states: readonly (BackendState | undefined)[]): boolean {
    const wanted = states.filter((state) => WANTED.has(state)).length;
    const healthy = states.filter((state) => state === 'ready').length;
    // Before the first checks are done nobody knows.
    const known = !states.includes('starting');
    const panic = known && panics({ wanted, healthy }, this.#config.panicShare);
    const changed = panic !== this.panic;
    this.panic = panic;
    return changed;
  }
}

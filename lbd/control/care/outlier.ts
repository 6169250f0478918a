import { formatDuration } from '../../../common/duration.ts';
import type { OutlierConfig } from '../../../common/resilience-config.ts';

/** Fewer answers in an interval tell nothing about a backend's speed. */
export const LEAST_ANSWERS = 20;
/** Below this a factor means nothing: 2 ms instead of 0.5 ms is no reason to leave a backend out. */
export const LEAST_SLOW_MS = 50;

/** Whether a backend is left out because clients fared badly with it. A value: `nextOutlier` makes the next one. */
export interface OutlierLife {
  /** Left out until then; undefined: it is not. */
  readonly untilMs: number | undefined;
  /** How often it was left out in a row; the time grows with it. */
  readonly times: number;
  /** When it came back last, or `times` was lowered. */
  readonly calmSinceMs: number;
  readonly why: string;
}

/** What is known of a backend at one moment. */
export interface OutlierFacts {
  readonly nowMs: number;
  readonly config: OutlierConfig;
  /** Why it should be left out, in words; undefined: it should not. */
  readonly cause: string | undefined;
  /** Whether the cap on backends that are left out allows one more. */
  readonly room: boolean;
}

export const INLIER: OutlierLife = { untilMs: undefined, times: 0, calmSinceMs: 0, why: '' };

/**
 * Leaves a backend out for `baseEjectionMs` times the number of times in a row, at most `maxEjectionMs`; each interval
 * in which it behaves takes one time off again (Envoy: outlier detection).
 */
export function nextOutlier(before: OutlierLife, facts: OutlierFacts): OutlierLife {
  const { nowMs, config, cause, room } = facts;
  if (before.untilMs !== undefined) {
    if (nowMs < before.untilMs) return before;
    return { untilMs: undefined, times: before.times, calmSinceMs: nowMs, why: '' };
  }
  const calm = Math.floor((nowMs - before.calmSinceMs) / config.intervalMs);
  const times = Math.max(0, before.times - calm);
  if (cause === undefined || !room) {
    if (times === before.times) return before;
    return { ...before, times, calmSinceMs: before.calmSinceMs + calm * config.intervalMs };
  }
  const forMs = Math.min(config.baseEjectionMs * (times + 1), config.maxEjectionMs);
  return {
    untilMs: nowMs + forMs,
    times: times + 1,
    calmSinceMs: nowMs,
    why: `${cause}; left out for ${formatDuration(forMs)}`,
  };
}

/**
 * Whether one more backend may be left out: at least one always may, but never the last one.
 *
 * @param size backends of the pool
 * @param ejected of them left out already
 * @param share part of the pool that may be, 0 to 1
 */
export function mayEject(size: number, ejected: number, share: number): boolean {
  return ejected + 1 < size && ejected < Math.max(1, Math.floor(size * share));
}

/** Answers of one interval. */
export interface Pace {
  readonly answers: number;
  readonly meanMs: number;
}

/**
 * Whether a backend is slower than the others by more than a factor.
 *
 * @param others of the same pool
 * @returns the cause in words; undefined: it is not
 */
export function slowCause(own: Pace, others: readonly Pace[], factor: number): string | undefined {
  if (factor === 0 || own.answers < LEAST_ANSWERS || own.meanMs < LEAST_SLOW_MS) return undefined;
  const means = others.filter((pace) => pace.answers >= LEAST_ANSWERS).map((pace) => pace.meanMs);
  if (means.length === 0) return undefined;
  const median = means.toSorted((a, b) => a - b)[means.length >> 1]!;
  if (own.meanMs <= factor * median) return undefined;
  return `answers took ${Math.round(own.meanMs)} ms, those of the others ${Math.round(median)} ms`;
}

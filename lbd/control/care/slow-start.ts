import { FULL_SHARE } from '../../shared/vitals.ts';

/** The first clients tell whether it works at all; with less than this they would take too long to come. */
const LEAST_SHARE = 0.1;

/**
 * Share of its clients that a backend gets while it warms up: from a tenth to all of them, linearly.
 *
 * @param sinceMs time since it came back
 * @param slowStartMs 0: no slow start
 * @returns 1 to FULL_SHARE
 */
export function slowStartShare(sinceMs: number, slowStartMs: number): number {
  if (sinceMs >= slowStartMs) return FULL_SHARE;
  return Math.round(FULL_SHARE * Math.max(LEAST_SHARE, sinceMs / slowStartMs));
}

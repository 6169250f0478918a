import type { HealthState } from '../../../common/control.ts';

/** What the results of a backend's checks add up to. */
export interface RiseFall {
  readonly state: HealthState;
  /** Latest results in a row that speak against `state`. */
  readonly against: number;
  /** The state was not found out here but learnt from the peer or taken over at a reload. */
  readonly provisional: boolean;
}

/** No result yet. */
export const UNTESTED: RiseFall = { state: 'unknown', against: 0, provisional: true };

/** A state to go by until the first own result. */
export function provisional(state: HealthState): RiseFall {
  return { state, against: 0, provisional: true };
}

/**
 * The first own result decides at once; after that it takes `fall` failures in a row to become unhealthy and
 * `rise` successes in a row to become healthy.
 */
export function afterResult(
  before: RiseFall,
  ok: boolean,
  thresholds: { readonly rise: number; readonly fall: number },
): RiseFall {
  const says: HealthState = ok ? 'healthy' : 'unhealthy';
  if (before.provisional || before.state === says) return { state: says, against: 0, provisional: false };
  const against = before.against + 1;
  const needed = ok ? thresholds.rise : thresholds.fall;
  return against >= needed
    ? { state: says, against: 0, provisional: false }
    : { state: before.state, against, provisional: false };
}

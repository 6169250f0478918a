import type { BreakerConfig } from '../../common/resilience-config.ts';

/** What all workers together have open towards a pool. */
export interface PoolLoad {
  readonly connections: number;
  readonly pending: number;
  readonly requests: number;
}

export type Breaker = keyof PoolLoad;
export const BREAKERS: readonly Breaker[] = ['requests', 'pending', 'connections'];

/**
 * Which limit one more request would break. Two workers that ask at the same time may both get the last place.
 *
 * @param wants what the request is about to add to
 */
export function brokenBy(
  limits: BreakerConfig,
  load: PoolLoad,
  wants: readonly Breaker[],
): Breaker | undefined {
  return wants.find((what) => limits[what] > 0 && load[what] >= limits[what]);
}

/** The limits that are reached, in words for the status: `requests: 100 of 100`. */
export function brokenText(limits: BreakerConfig, load: PoolLoad): string[] {
  return BREAKERS.filter((what) => limits[what] > 0 && load[what] >= limits[what]).map(
    (what) => `${what}: ${load[what]} of ${limits[what]}`,
  );
}

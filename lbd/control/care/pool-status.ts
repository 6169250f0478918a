import type { PoolStrain } from '../../../common/control.ts';
import type { PoolConfig } from '../../../common/model.ts';
import { brokenText } from '../../shared/circuit.ts';
import { PoolLoads } from '../../shared/pool-load.ts';
import type { BackendCounter, SharedState } from '../../shared/shared.ts';

/** What a pool refused, as the status and the metrics name it, and its counter. */
const REFUSED: readonly (readonly [cause: string, counter: BackendCounter])[] = [
  ['requests', 'broken_requests'],
  ['pending', 'broken_pending'],
  ['connections', 'broken_connections'],
  ['retry_budget', 'retries_refused'],
];

/** The limits of its circuit breaker that a pool has reached, in words. @param slots as for `poolStrain` */
export function limitsReached(
  { limits }: PoolConfig,
  slots: readonly number[],
  shared: SharedState,
): readonly string[] {
  return brokenText(limits, new PoolLoads(shared, slots));
}

/**
 * How a pool bears up.
 *
 * @param slots of its backends, in the order of the config
 */
export function poolStrain(
  { limits }: PoolConfig,
  slots: readonly number[],
  shared: SharedState,
  panic: boolean,
): PoolStrain {
  const load = new PoolLoads(shared, slots);
  const { requests, pending, connections, retrying } = load;
  return {
    panic,
    open: { requests, pending, connections, retrying },
    at_limit: brokenText(limits, load),
    refused: Object.fromEntries(
      REFUSED.map(([cause, counter]) => [
        cause,
        slots.reduce((sum, slot) => sum + shared.backendCounter(slot, counter), 0),
      ]),
    ),
  };
}

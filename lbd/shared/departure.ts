import { poolsOf } from '../../common/doors.ts';
import type { Config, FrontendConfig } from '../../common/model.ts';

/**
 * How long what is open of a frontend may go on once it is in no config any more: as long as the most patient of the pools
 * that it sends clients to; of all pools, where it only redirects.
 *
 * @param config the last one that has it
 * @returns milliseconds
 */
export function departureMs(frontend: FrontendConfig, { pools }: Config): number {
  const names = poolsOf(frontend);
  const own = pools.filter(({ name }) => names.has(name));
  return Math.max(0, ...(own.length > 0 ? own : pools).map(({ drainTimeoutMs }) => drainTimeoutMs));
}

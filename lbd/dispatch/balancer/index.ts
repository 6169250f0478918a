import type { Algorithm } from '../../../common/model.ts';
import { ConsistentHash } from './consistent-hash.ts';
import { IpHash } from './ip-hash.ts';
import { LeastConnections } from './least-connections.ts';
import { LeastResponseTime } from './least-response-time.ts';
import { Random } from './random.ts';
import { RoundRobin } from './round-robin.ts';
import type { Balancer, PoolView } from './types.ts';
import { WeightedLeastConnections } from './weighted-least-connections.ts';
import { WeightedRoundRobin } from './weighted-round-robin.ts';

export interface BalancerOptions {
  /** Unsigned integer, different for each worker: sets their turns apart. The hashing algorithms ignore it. */
  readonly seed: number;
  /** `consistent-hash` only: 0 is off, else 1.01 to 10, see `PoolConfig`. */
  readonly loadFactor: number;
}

/**
 * A balancer for one pool and one worker. It belongs to the set of backends that `view` has now: make a new
 * one when a reload adds, removes or renames some. Health, weights and loads are read at each pick.
 */
export function createBalancer(algorithm: Algorithm, view: PoolView, options: BalancerOptions): Balancer {
  switch (algorithm) {
    case 'round-robin':
      return new RoundRobin(view, options.seed);
    case 'weighted-round-robin':
      return new WeightedRoundRobin(view, options.seed);
    case 'least-connections':
      return new LeastConnections(view, options.seed);
    case 'weighted-least-connections':
      return new WeightedLeastConnections(view, options.seed);
    case 'ip-hash':
      return new IpHash(view);
    case 'consistent-hash':
      return new ConsistentHash(view, options.loadFactor);
    case 'least-response-time':
      return new LeastResponseTime(view, options.seed);
    case 'random':
      return new Random(view, options.seed);
  }
}

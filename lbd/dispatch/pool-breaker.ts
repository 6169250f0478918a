import type { BreakerConfig } from '../../common/resilience-config.ts';
import { type Breaker, brokenBy, type PoolLoad } from '../shared/circuit.ts';
import { COUNTER, type SharedState } from '../shared/shared.ts';
import type { Backend } from './backend.ts';

const REQUEST: readonly Breaker[] = ['requests'];
const CONNECTION: readonly Breaker[] = ['pending', 'connections'];

/** The circuit breaker of one pool, as a worker asks it; counts what it refuses. */
export class PoolBreaker {
  readonly #limits: BreakerConfig;
  readonly #load: PoolLoad;
  readonly #backends: readonly Backend[];
  readonly #shared: SharedState;

  constructor(limits: BreakerConfig, load: PoolLoad, backends: readonly Backend[], shared: SharedState) {
    this.#limits = limits;
    this.#load = load;
    this.#backends = backends;
    this.#shared = shared;
  }

  /** There is no place for one more request. */
  refusesRequest(): boolean {
    if (this.#limits.requests === 0 || brokenBy(this.#limits, this.#load, REQUEST) === undefined)
      return false;
    this.#count('requests');
    return true;
  }

  /** There is no place for one more connection to a backend. */
  refusesConnection(): boolean {
    const { pending, connections } = this.#limits;
    if (pending === 0 && connections === 0) return false;
    const broken = brokenBy(this.#limits, this.#load, CONNECTION);
    // Of connections, those that nobody uses go first.
    if (broken === undefined || (broken === 'connections' && this.#makesRoom())) return false;
    this.#count(broken);
    return true;
  }

  #makesRoom(): boolean {
    return this.#backends.some((backend) => backend.dropOldest());
  }

  #count(broken: Breaker): void {
    const row = this.#backends[0];
    if (row !== undefined) this.#shared.countBackend(row.slot, COUNTER[`broken_${broken}`], 1);
  }
}

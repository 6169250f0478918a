/**
 * What a balancer sees of its pool. Backends are numbered 0 to `size - 1` in config order. In the data plane
 * it reads shared memory, so a value may change between two calls; a balancer must stay correct then.
 */
export interface PoolView {
  readonly size: number;
  /** Stable name of a backend; hashing algorithms must use it, never the index. */
  name(index: number): string;
  /** Takes new clients: healthy, ready, weight above 0, and not tried before by this request. */
  available(index: number): boolean;
  /** 0 to 256. */
  weight(index: number): number;
  /** Requests or connections in flight, over all workers. */
  active(index: number): number;
  /** Decaying average response time in milliseconds; 0 before the first response. */
  latencyMs(index: number): number;
  /** Grows whenever availability, a weight or the set of backends changed: a hint to rebuild what is cached. */
  readonly generation: number;
}

/**
 * One algorithm over one pool. Holds what it remembers between picks (a cursor, a ring); each worker has its
 * own. `pick` is on the hot path: no allocation, no exception.
 */
export interface Balancer {
  /**
   * @param key unsigned 32-bit hash of what the pool hashes (client address, path, …); 0 where the algorithm
   *   does not use one
   * @returns index of an available backend, or -1 where there is none
   */
  pick(key: number): number;
  /** What `pick` would return at this moment. Moves no turn, so that an operator may ask at any time. */
  peek(key: number): number;
}

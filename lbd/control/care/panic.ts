/** How many backends of a pool are meant to serve, and how many of them can. */
export interface PoolHealth {
  /** Not taken out by an operator, not draining. */
  readonly wanted: number;
  readonly healthy: number;
}

/**
 * Whether so few backends are left that sending all clients to them would bring them down as well, or that the fault
 * lies more likely with the checks than with the backends: then all are used (Envoy: panic threshold).
 *
 * @param share of healthy backends below which it is so; 0: never
 */
export function panics({ wanted, healthy }: PoolHealth, share: number): boolean {
  return wanted > 0 && healthy < wanted * share;
}

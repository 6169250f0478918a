import { ipFamily } from './address.ts';

/** Pools to which a frontend leads, each once. */
export function poolsOf({
  pool,
  routes,
}: {
  readonly pool?: string | undefined;
  readonly routes: readonly { readonly pool: string }[];
}): ReadonlySet<string> {
  const names = new Set(routes.map((route) => route.pool));
  return pool === undefined ? names : names.add(pool);
}

/**
 * Those who take a connection to an address, of all that listen at its port: as in the kernel, whoever listens on that one
 * address goes before whoever listens on all.
 *
 * @param address in its one spelling, IPv4 as IPv4
 * @param own it is one of the machine on which they listen
 */
export function takersOf<T extends { readonly host: string }>(
  listeners: readonly T[],
  address: string,
  own: boolean,
): readonly T[] {
  const exact = listeners.filter(({ host }) => host === address);
  if (exact.length > 0 || !own) return exact;
  // `[::]` listens on IPv4 too, see `checkListeners`.
  return listeners.filter(
    ({ host }) => host === '*' || host === '::' || (host === '0.0.0.0' && ipFamily(address) === 4),
  );
}

/** Whether there is a way from one to the other. */
export function reaches<T>(start: T, end: T, next: (at: T) => Iterable<T>): boolean {
  const seen = new Set([start]);
  for (const at of seen) {
    if (at === end) return true;
    for (const to of next(at)) seen.add(to);
  }
  return false;
}

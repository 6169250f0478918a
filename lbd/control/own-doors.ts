import { networkInterfaces } from 'node:os';
import { ipFamily } from '../../common/address.ts';
import type { Config } from '../../common/model.ts';

/** Says which frontend a pool would send its own clients back to, at this address and port; undefined: to none. */
export type Doors = (pool: string, address: string, port: number) => string | undefined;

/**
 * Where the clients of a pool come in. A name of a backend that leads there is looked for only once it is resolved: in modes
 * tcp and udp nothing in the bytes tells that they have come round, and one client would go round for ever.
 *
 * @param hostAddresses IP addresses of this host; others only in tests
 */
export function doorsOf(config: Config, hostAddresses: ReadonlySet<string> = ownAddresses()): Doors {
  const vips = config.ha?.vips.map(({ address }) => address) ?? [];
  const isOwn = (address: string) =>
    address.startsWith('127.') || hostAddresses.has(address) || vips.includes(address);
  const users = new Map<string, Config['frontends'][number][]>();
  for (const frontend of config.frontends)
    for (const pool of new Set([frontend.pool, ...frontend.routes.map((route) => route.pool)]))
      if (pool !== undefined) users.set(pool, [...(users.get(pool) ?? []), frontend]);
  return (pool, address, port) =>
    users
      .get(pool)
      ?.find(({ bind }) =>
        bind.some(
          (at) => at.port === port && (at.host === address || (takes(at.host, address) && isOwn(address))),
        ),
      )?.name;
}

/** `[::]` listens on IPv4 too. */
function takes(host: string, address: string): boolean {
  return host === '*' || host === '::' || (host === '0.0.0.0' && ipFamily(address) === 4);
}

function ownAddresses(): ReadonlySet<string> {
  return new Set(
    Object.values(networkInterfaces()).flatMap((addresses = []) => addresses.map(({ address }) => address)),
  );
}

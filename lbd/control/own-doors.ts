import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { unmapped } from '../../common/address.ts';
import { poolsOf, reaches, takersOf } from '../../common/doors.ts';
import type { Config, FrontendConfig } from '../../common/model.ts';

/** Says at which frontend what a pool sends to this address and port begins to come round; undefined: it does not. */
export type Doors = (pool: string, address: string, port: number) => string | undefined;

/** A frontend that listens at a port. */
interface Listener {
  readonly frontend: FrontendConfig;
  readonly host: string;
}

/**
 * Where what the pools send comes in again, straight or over other frontends: what `checkLoops` cannot see, because only this
 * host knows its addresses, and where names lead. In modes tcp and udp nothing in the bytes tells that they have come round,
 * and one client would go round for ever. On the way over other frontends only backends that are addresses count, so that
 * what becomes of a name depends on that name and the config alone.
 *
 * @param hostAddresses IP addresses of this host; those of others only in tests, and where they are known already
 */
export function doorsOf(config: Config, hostAddresses: ReadonlySet<string> = ownAddresses()): Doors {
  const vips = config.ha?.vips.map(({ address }) => address) ?? [];
  const isOwn = (address: string) =>
    address.startsWith('127.') || hostAddresses.has(address) || vips.includes(address);
  const listeners = listenersOf(config);
  const pools = new Map(config.pools.map((pool) => [pool.name, pool]));
  const users = usersOf(config);

  const frontendAt = (protocol: string, address: string, port: number): FrontendConfig | undefined => {
    const there = listeners.get(`${protocol} ${port}`);
    if (there === undefined) return undefined;
    const plain = unmapped(address);
    return takersOf(there, plain, isOwn(plain))[0]?.frontend;
  };
  const next = (from: FrontendConfig): FrontendConfig[] =>
    [...poolsOf(from)]
      .flatMap((pool) => pools.get(pool)?.backends ?? [])
      .filter(({ address }) => isIP(address.host) !== 0)
      .flatMap(({ address }) => frontendAt(protocolOf(from), address.host, address.port) ?? []);
  return (pool, address, port) => {
    for (const protocol of ['tcp', 'udp'] as const) {
      const door = frontendAt(protocol, address, port);
      const comesBack = (user: FrontendConfig) => protocolOf(user) === protocol && reaches(door!, user, next);
      if (door !== undefined && users.get(pool)?.some(comesBack)) return door.name;
    }
    return undefined;
  };
}

/** What is wrong with a backend at the door of a frontend, for the end of a sentence. */
export function goesRound(frontend: string): string {
  return `where frontends.${frontend} listens: what it gets would go round for ever`;
}

/** By protocol and port: there may be hundreds of frontends, and thousands of backends. */
function listenersOf({ frontends }: Config): ReadonlyMap<string, readonly Listener[]> {
  const listeners = new Map<string, Listener[]>();
  for (const frontend of frontends)
    for (const { host, port } of frontend.bind) {
      const key = `${protocolOf(frontend)} ${port}`;
      const there = listeners.get(key);
      if (there === undefined) listeners.set(key, [{ frontend, host }]);
      else there.push({ frontend, host });
    }
  return listeners;
}

function usersOf({ frontends }: Config): ReadonlyMap<string, readonly FrontendConfig[]> {
  const users = new Map<string, FrontendConfig[]>();
  for (const frontend of frontends)
    for (const pool of poolsOf(frontend)) users.set(pool, [...(users.get(pool) ?? []), frontend]);
  return users;
}

function protocolOf({ mode }: FrontendConfig): 'tcp' | 'udp' {
  return mode === 'udp' ? 'udp' : 'tcp';
}

/** IP addresses of this host, as the kernel has them now. */
export function ownAddresses(): ReadonlySet<string> {
  return new Set(
    Object.values(networkInterfaces()).flatMap((addresses = []) => addresses.map(({ address }) => address)),
  );
}

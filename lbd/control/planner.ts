import { isIP } from 'node:net';
import { formatEndpoint, type SocketAddress } from '../../common/address.ts';
import type { Config } from '../../common/model.ts';
import { type Addresses, addressKey, type Plan } from '../shared/plan.ts';
import { MAX_FRONTENDS, MAX_SLOTS, type SharedState } from '../shared/shared.ts';
import type { PoolTls } from '../tls/backend-tls.ts';
import type { BackendTarget } from './health/monitor.ts';
import type { Resolution } from './names/names.ts';
import { type Doors, doorsOf, goesRound } from './own-doors.ts';
import { SlotMap } from './slots.ts';

/** What is to be secret is never said in the clear. */
const NO_TLS = 'the files of its TLS cannot be used, see the warnings';

/** Turns a config into the plan of the workers: gives its backends and frontends their rows of shared memory. */
export class Planner {
  readonly #shared: SharedState;
  readonly #backends: SlotMap;
  readonly #frontends: SlotMap;

  constructor(shared: SharedState) {
    this.#shared = shared;
    this.#backends = new SlotMap('backends', MAX_SLOTS, (slot) => shared.active(slot));
    this.#frontends = new SlotMap('frontends', MAX_FRONTENDS, (row) =>
      shared.frontendCounter(row, 'connections'),
    );
  }

  /** @throws OperatorError `TOO_MANY` when there are more backends or frontends than rows */
  checkRoom(config: Config): void {
    this.#frontends.checkRoom(frontendNames(config));
    this.#backends.checkRoom(backendIds(config));
  }

  /** @throws OperatorError like `checkRoom`; nothing is changed then */
  plan(config: Config): Plan {
    // Both or none: a refused config must not move the rows of the one that runs.
    this.checkRoom(config);
    const frontends = this.#frontends.assign(frontendNames(config));
    const backends = this.#backends.assign(backendIds(config));
    for (const name of frontends.added) this.#shared.resetFrontend(frontends.rows[name]!);
    for (const id of backends.added) this.#shared.resetSlot(backends.rows[id]!);
    return { config, slots: backends.rows, frontendRows: frontends.rows };
  }

  /** Slot of `pool/backend`. */
  slot(id: string): number | undefined {
    return this.#backends.get(id);
  }

  /** Slots of all backends of the plan. */
  slotsInUse(): Iterable<number> {
    return this.#backends.rows();
  }

  /** Row of a frontend. */
  frontendRow(name: string): number | undefined {
    return this.#frontends.get(name);
  }
}

function frontendNames(config: Config): string[] {
  return config.frontends.map((frontend) => frontend.name);
}

/** `pool/backend` of every backend, in the order of the config. */
export function backendIds(config: Config): string[] {
  return config.pools.flatMap((pool) => pool.backends.map((backend) => `${pool.name}/${backend.name}`));
}

/** Hosts of all backends: names and IP addresses. */
export function hostsOf(config: Config): string[] {
  return config.pools.flatMap(({ backends }) => backends.map(({ address }) => address.host));
}

/**
 * Where the workers find the backends whose hosts are names.
 *
 * @param usable addresses of `pool/backend` that clients may be sent to
 * @returns undefined: there is no such backend
 */
export function addressesOf(
  config: Config,
  usable: (id: string) => readonly string[],
): Addresses | undefined {
  const named = config.pools.flatMap((pool) =>
    pool.backends
      .filter(({ address }) => isIP(address.host) === 0)
      .map((backend) => [addressKey(pool.name, backend), usable(`${pool.name}/${backend.name}`)] as const),
  );
  return named.length === 0
    ? undefined
    : Object.fromEntries(named.filter(([, addresses]) => addresses.length > 0));
}

/**
 * What the health monitor has to check.
 *
 * @param resolve where the host name of a backend leads; undefined: it is an IP address
 * @param doors others only in tests
 */
export function targetsOf(
  config: Config,
  tlsOf: (pool: string) => PoolTls | undefined = () => undefined,
  resolve: (host: string) => Resolution | undefined = () => undefined,
  doors: Doors = doorsOf(config),
): BackendTarget[] {
  return config.pools.flatMap((pool) => {
    const poolTls = tlsOf(pool.name);
    const tls = pool.health.tls === false ? undefined : poolTls;
    const isMute = pool.tls !== undefined && poolTls === undefined;
    return pool.backends.map((backend) => ({
      id: `${pool.name}/${backend.name}`,
      host: backend.address.host,
      port: backend.address.port,
      ...(isMute
        ? { addresses: [], nowhere: NO_TLS }
        : whereabouts(pool.name, backend.address, resolve(backend.address.host), doors)),
      config: pool.health,
      ...(tls && { tls }),
      // A port of its own for checks is not the one that clients come to.
      ...(pool.sendProxy !== undefined && pool.health.port === undefined && { sendProxy: pool.sendProxy }),
      ...(pool.protocol === 'h2' && pool.health.port === undefined && { http2: true }),
    }));
  });
}

function whereabouts(
  pool: string,
  { host, port }: SocketAddress,
  resolution: Resolution | undefined,
  doors: Doors,
): Pick<BackendTarget, 'addresses' | 'nowhere' | 'leadsBack'> {
  if (resolution === undefined) {
    const door = doors(pool, host, port);
    return door === undefined
      ? { addresses: [host] }
      : { addresses: [], nowhere: `its address is one ${goesRound(door)}`, leadsBack: true };
  }
  const addresses = resolution.addresses.filter((address) => doors(pool, address, port) === undefined);
  if (addresses.length > 0 || resolution.pending) return { addresses };
  const [back] = resolution.addresses;
  if (back === undefined) return { addresses, nowhere: `host name ${host}: ${resolution.trouble}` };
  const at = formatEndpoint({ host: back, port });
  const nowhere = `host name ${host} leads to ${at}, ${goesRound(doors(pool, back, port)!)}`;
  return { addresses, nowhere, leadsBack: true };
}

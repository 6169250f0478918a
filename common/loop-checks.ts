import { BlockList } from 'node:net';
import { canonicalIp, formatEndpoint, ipFamily, type SocketAddress, unmapped } from './address.ts';
import { poolsOf, reaches, takersOf } from './doors.ts';
import type { Report } from './report.ts';
import type { Shape } from './schema.ts';
import type { Path } from './source.ts';

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** One step of what a client sends: to a backend that is a frontend of this config. */
interface Step {
  readonly from: string;
  readonly to: string;
  readonly path: Path;
  readonly address: SocketAddress;
}

/**
 * Refuses backends by which a request comes back to the frontend that sent it there, straight or over other frontends.
 * What other addresses of the host and names lead back is found on the host, see `doorsOf` in `lbd/control/own-doors.ts`; what
 * other machines lead back by HTTP, at run time, see `LoopEndPolicy`.
 */
export function checkLoops(shape: Shape, report: Report): void {
  const steps = stepsOf(shape);
  const next = Map.groupBy(steps, ({ from }) => from);
  const told = new Set<string>();
  for (const { from, to, path, address } of steps) {
    const key = path.join();
    if (told.has(key) || !reaches(to, from, (at) => next.get(at)?.map((step) => step.to) ?? [])) continue;
    told.add(key);
    const back = to === from ? '' : `, which leads back to frontends.${from}`;
    report(
      path,
      `found ${formatEndpoint(address)}, where frontends.${to} listens${back}: what it gets would go round for ever`,
    );
  }
}

/** Backends of a pool that are frontends. */
interface Door {
  readonly to: string;
  readonly path: Path;
  readonly address: SocketAddress;
}

function stepsOf(shape: Shape): Step[] {
  const doors = new Map(Object.keys(shape.pools).map((pool) => [pool, doorsOf(pool, shape)]));
  return Object.entries(shape.frontends).flatMap(([from, frontend]) =>
    [...poolsOf(frontend)]
      .flatMap((name) => doors.get(name) ?? [])
      .filter(({ to }) => (shape.frontends[to]!.mode === 'udp') === (frontend.mode === 'udp'))
      .map((door) => ({ from, ...door })),
  );
}

/** Looked at once for each pool: there may be hundreds of frontends, and thousands of backends. */
function doorsOf(pool: string, shape: Shape): Door[] {
  return Object.entries(shape.pools[pool]!.backends).flatMap(([backend, { address }]) => {
    const host = plain(address.host);
    const own = isOwn(host, shape);
    const path = ['pools', pool, 'backends', backend, 'address'];
    return ['tcp', 'udp'].flatMap((protocol) => {
      const there = listenersAt(address.port, protocol === 'udp', shape);
      return [...new Set(takersOf(there, host, own).map(({ to }) => to))].map((to) => ({
        to,
        address,
        path,
      }));
    });
  });
}

function listenersAt(port: number, udp: boolean, { frontends }: Shape): { host: string; to: string }[] {
  return Object.entries(frontends).flatMap(([to, { mode, bind }]) =>
    (mode === 'udp') !== udp
      ? []
      : bind.filter((one) => port >= one.port && port <= one.lastPort).map(({ host }) => ({ host, to })),
  );
}

/** An address as connections to it have it. */
function plain(host: string): string {
  const name = host.toLowerCase().replace(/\.$/, '');
  return name === 'localhost' ? '127.0.0.1' : unmapped(name);
}

/** Of this machine, or of the other node, which has the same config. VIPs are refused as backends anyway. */
function isOwn(address: string, { cluster }: Shape): boolean {
  if (canonicalIp(address) === undefined) return false;
  if (LOOPBACK.check(address, ipFamily(address) === 4 ? 'ipv4' : 'ipv6')) return true;
  return Object.values(cluster?.nodes ?? {}).some((node) => node.address === address);
}

import { BlockList } from 'node:net';
import { canonicalIp, formatEndpoint, ipFamily, type SocketAddress } from './address.ts';
import type { BindRange } from './fields.ts';
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
  const told = new Set<string>();
  for (const { from, to, path, address } of steps) {
    const key = path.join();
    if (told.has(key) || !leads(to, from, steps)) continue;
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
  return Object.entries(shape.frontends).flatMap(([from, { mode, pool, routes }]) => {
    const pools = new Set([...routes.map((route) => route.pool), ...(pool === undefined ? [] : [pool])]);
    return [...pools]
      .flatMap((name) => doors.get(name) ?? [])
      .filter(({ to }) => (shape.frontends[to]!.mode === 'udp') === (mode === 'udp'))
      .map((door) => ({ from, ...door }));
  });
}

/** Looked at once for each pool: there may be hundreds of frontends, and thousands of backends. */
function doorsOf(pool: string, shape: Shape): Door[] {
  return Object.entries(shape.pools[pool]!.backends).flatMap(([backend, { address }]) => {
    const host = plain(address.host);
    const own = isOwn(host, shape);
    return Object.entries(shape.frontends)
      .filter(([, { bind }]) => bind.some((one) => isAt(one, host, address.port, own)))
      .map(([to]) => ({ to, address, path: ['pools', pool, 'backends', backend, 'address'] }));
  });
}

/** Whether what is at one frontend can come to another one. */
function leads(start: string, end: string, steps: readonly Step[]): boolean {
  const seen = new Set([start]);
  for (const at of seen) {
    if (at === end) return true;
    for (const { from, to } of steps) if (from === at) seen.add(to);
  }
  return false;
}

/** @param own the address is of this machine, see `isOwn` */
function isAt(bind: BindRange, address: string, port: number, own: boolean): boolean {
  if (port < bind.port || port > bind.lastPort) return false;
  return bind.host === address || (own && takes(bind.host, address));
}

/** An address as connections to it have it. */
function plain(host: string): string {
  const name = host.toLowerCase().replace(/\.$/, '');
  return name === 'localhost' ? '127.0.0.1' : name.replace(/^::ffff:(?=[\d.]+$)/, '');
}

/** Of this machine, or of the other node, which has the same config. VIPs are refused as backends anyway. */
function isOwn(address: string, { cluster }: Shape): boolean {
  if (canonicalIp(address) === undefined) return false;
  if (LOOPBACK.check(address, ipFamily(address) === 4 ? 'ipv4' : 'ipv6')) return true;
  return Object.values(cluster?.nodes ?? {}).some((node) => node.address === address);
}

/** `[::]` listens on IPv4 too, see `checkListeners`. */
function takes(wildcard: string, address: string): boolean {
  return wildcard === '*' || wildcard === '::' || (wildcard === '0.0.0.0' && ipFamily(address) === 4);
}

import { ipFamily, isNetworkOrBroadcast, specialRange } from './address.ts';
import { vipInterfaces } from './complete.ts';
import { formatDuration } from './duration.ts';
import type { Report } from './report.ts';
import type { Shape } from './schema.ts';
import type { Path, Source } from './source.ts';

type HaShape = NonNullable<Shape['ha']>;
type VipShape = NonNullable<HaShape['vips']>[number];
type RouteShape = HaShape['routes'][number];

/** In `lbctl switchover --group`. */
const ALL = 'all';
/** Each group costs a datagram an interval and path; nobody has more pairs of sites than this. */
const MAX_GROUPS = 16;
/** Over all groups: the guardian removes them one by one. */
const MAX_VIPS = 64;

/**
 * A witness never grants a longer lease. The same in every release: one that starts waits for so long before it grants,
 * because an earlier one may have granted it.
 */
export const LONGEST_LEASE_MS = 5_000;

/** Checks of `ha` that depend on two places at once. */
export function checkHa(ha: HaShape, { cluster, pools }: Shape, source: Source, report: Report): void {
  checkGroups(ha, source, report);
  const vips = placesOf(ha, 'vips') as readonly (readonly [Path, VipShape])[];
  if (vips.length > MAX_VIPS)
    report(['ha'], `found ${vips.length} virtual addresses, expected at most ${MAX_VIPS}`, 'key');
  const seen = new Map<string, Path>();
  for (const [path, vip] of vips) {
    checkVip(path, vip, cluster, seen, report);
    checkProvider(path, vip, source, report);
  }
  for (const [path, route] of placesOf(ha, 'routes') as readonly (readonly [Path, RouteShape])[])
    checkRoute(path, route, report);
  checkPaths(ha, vips, source, report);
  checkWitness(ha, cluster, seen, source, report);
  checkBackends(pools, seen, report);
}

/** @param vips by address */
function checkBackends(pools: Shape['pools'], vips: ReadonlyMap<string, Path>, report: Report): void {
  for (const [pool, { backends }] of Object.entries(pools))
    for (const [name, { address }] of Object.entries(backends)) {
      const vip = vips.get(address.host);
      if (vip !== undefined)
        report(
          ['pools', pool, 'backends', name, 'address'],
          `found ${address.host}, which is a VIP (${vip.join('.')}): lbd would be its own backend; expected the address of a server`,
        );
    }
}

/** @param vips by address */
function checkWitness(
  { witness, heartbeat }: HaShape,
  cluster: Shape['cluster'],
  vips: ReadonlyMap<string, unknown>,
  source: Source,
  report: Report,
): void {
  if (witness === undefined) return;
  const { addresses, lease } = witness;
  const nodes = Object.entries(cluster?.nodes ?? {});
  const at = (key: string): Path => ['ha', 'witness', key];
  const checkThird = (path: Path, address: string) => {
    const node = nodes.find(([, { address: own }]) => own === address);
    if (node !== undefined) report(path, `${address} is node "${node[0]}"; a witness must be a third party`);
    if (vips.has(address)) report(path, `${address} is a VIP; a witness must be a third party`);
  };
  for (const [i, address] of (addresses ?? []).entries())
    checkThird([...(source.has(at('addresses')) ? at('addresses') : ['ha', 'witness']), i], address);
  if (addresses === undefined) {
    if (lease === undefined)
      report(['ha', 'witness'], 'has neither "addresses" nor "lease": who is the witness?', 'key');
    for (const key of ['interval', 'timeout'])
      if (source.has(at(key))) report(at(key), 'is for "addresses" only', 'key');
  }
  if (lease === undefined) return;
  checkThird(at('lease'), lease.host);
  const family = ipFamily(nodes[0]?.[1].address ?? lease.host);
  if (ipFamily(lease.host) !== family)
    report(at('lease'), `found ${lease.host}, expected the same IP version as the nodes have`);
  const deadTimeMs = heartbeat.interval * heartbeat.dead_after;
  if (deadTimeMs > LONGEST_LEASE_MS)
    report(
      at('lease'),
      `a lease would last nearly as long as the dead time, ${deadTimeMs / 1000} s; a witness grants at most ${LONGEST_LEASE_MS / 1000} s: make interval × dead_after ${formatDuration(LONGEST_LEASE_MS)} at most`,
    );
}

/** The entries of a list that is in `ha` or in each group, with their places. */
function placesOf(
  { groups, ...plain }: HaShape,
  key: 'vips' | 'routes',
): readonly (readonly [Path, VipShape | RouteShape])[] {
  const lists: [Path, readonly (VipShape | RouteShape)[]][] = [[['ha', key], plain[key] ?? []]];
  for (const [name, group] of Object.entries(groups ?? {}))
    lists.push([['ha', 'groups', name, key], group[key]]);
  return lists.flatMap(([path, list]) => list.map((entry, i) => [[...path, i], entry] as const));
}

function checkGroups({ groups, vips }: HaShape, source: Source, report: Report): void {
  if (groups === undefined) {
    if (vips === undefined) report(['ha'], 'has neither "vips" nor "groups": what should move?', 'key');
    return;
  }
  const count = Object.keys(groups).length;
  if (count === 0) report(['ha', 'groups'], 'found no group, expected at least one', 'key');
  if (ALL in groups)
    report(['ha', 'groups', ALL], 'no group can have this name: lbctl uses it for every group', 'key');
  if (count > MAX_GROUPS)
    report(['ha', 'groups'], `found ${count} groups, expected at most ${MAX_GROUPS}`, 'key');
  for (const key of ['vips', 'priority', 'routes'])
    if (source.has(['ha', key]))
      report(['ha', key], 'is for a config without "groups"; write it in a group', 'key');
}

function checkVip(
  path: Path,
  { address: vip }: VipShape,
  cluster: Shape['cluster'],
  seen: Map<string, Path>,
  report: Report,
): void {
  const at = [...path, 'address'];
  const other = seen.get(vip.address);
  const where = other?.[1] === 'groups' ? ` (${other.slice(0, 3).join('.')})` : '';
  if (other !== undefined) report(at, `${vip.address} is listed twice${where}`);
  seen.set(vip.address, path);
  for (const [name, node] of Object.entries(cluster?.nodes ?? {}))
    if (node.address === vip.address)
      report(
        at,
        `${vip.address} is the own address of node "${name}"; a VIP must be an address that no node has`,
      );
  const range = specialRange(vip.address);
  if (range !== undefined)
    report(at, `found ${vip.address}, ${range}; expected an address that other hosts can reach`);
  else if (isNetworkOrBroadcast(vip.address, vip.prefix))
    report(at, `${vip.address}/${vip.prefix} is the network or broadcast address, expected a host's address`);
}

function checkProvider(path: Path, vip: VipShape, source: Source, report: Report): void {
  const { provider, command, interface: device } = vip;
  if (provider === 'lo') {
    if (device !== undefined && device !== 'lo')
      report([...path, 'interface'], `found ${device}, but provider lo keeps the address on lo`);
    if (source.has([...path, 'prefix_route']))
      report([...path, 'prefix_route'], 'is for provider interface and exec only', 'key');
  } else if (device === undefined)
    report([...path, 'interface'], 'missing, expected the name of a network interface, such as eth1');
  if (provider !== 'exec') {
    if (command !== undefined) report([...path, 'command'], 'is for provider exec only', 'key');
  } else if (command === undefined)
    report([...path, 'command'], 'missing, expected a list: an executable and its arguments');
  else if (!/^\/[^\0]+$/.test(command[0]!))
    report([...path, 'command', 0], 'expected the absolute path of an executable');
  else if (command.some((argument) => argument.includes('\0')))
    report([...path, 'command'], 'an argument cannot contain a zero byte');
}

function checkRoute(path: Path, { to, via, src }: RouteShape, report: Report): void {
  for (const [key, address] of [['via', via] as const, ['src', src] as const])
    if (address !== undefined && ipFamily(address) !== to.family)
      report([...path, key], `found ${address}, expected the same IP version as ${to.to} has`);
}

function checkPaths(
  { paths }: HaShape,
  vips: readonly (readonly [Path, VipShape])[],
  source: Source,
  report: Report,
): void {
  const [device] = vipInterfaces(vips.map(([, vip]) => ({ interface: vip.interface ?? 'lo' })));
  const seen = new Set<string>();
  for (const [i, path] of paths.entries()) {
    if (
      path.type === 'multicast' &&
      path.interface === undefined &&
      device === undefined &&
      source.has(['ha', 'paths', i])
    )
      report(['ha', 'paths', i, 'interface'], 'missing, and no VIP is on an interface that could serve');
    const key = path.type === 'unicast' ? 'unicast' : `${path.group} ${path.interface}`;
    if (seen.has(key))
      report(['ha', 'paths', i], 'this path is listed twice; a second one must travel another way');
    seen.add(key);
    const other = paths.findIndex((p) => p.port === path.port && p.type !== path.type);
    if (other >= 0 && other < i)
      report(
        ['ha', 'paths', i, 'port'],
        `port ${path.port} is used by ha.paths.${other}, multicast and unicast need different ports`,
      );
  }
}

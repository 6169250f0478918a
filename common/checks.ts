import { formatEndpoint, ipFamily, isNetworkOrBroadcast } from './address.ts';
import { formatDuration } from './duration.ts';
import type { ConfigProblem } from './errors.ts';
import { backendId, poolId } from './hash.ts';
import type { SocketAddress } from './model.ts';
import { problem } from './problems.ts';
import type { Shape } from './schema.ts';
import type { Path, Source } from './source.ts';

/**
 * Half of the rows that the workers share (`MAX_SLOTS`, `MAX_FRONTENDS` in `lbd/shared.ts`), so that a reload
 * that renames everything still has rows for the new ones while the old ones drain.
 */
export const MAX_BACKENDS = 2048;
export const MAX_FRONTENDS = 128;

type Report = (path: Path, message: string, at?: 'key' | 'value') => void;

/** Checks what depends on two places at once. Entities that are broken in themselves are not in `shape`. */
export function checkTogether(shape: Shape, source: Source): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const report: Report = (path, message, at = 'value') => {
    problems.push(problem(source, path, message, at));
  };
  checkCluster(shape, source, report);
  if (shape.cluster !== undefined && shape.ha !== undefined) checkVips(shape.cluster, shape.ha, report);
  if (shape.ha !== undefined) checkPaths(shape.ha, report);
  checkFrontends(shape, source, report);
  checkListeners(shape, report);
  checkPools(shape, source, report);
  checkTcp(shape, source, report);
  checkIdentities(shape, report);
  return problems;
}

function checkCluster({ cluster }: Shape, source: Source, report: Report): void {
  if (source.has(['cluster']) !== source.has(['ha'])) {
    const [present, missing] = source.has(['cluster']) ? ['cluster', 'ha'] : ['ha', 'cluster'];
    report([present], `"${present}" needs "${missing}" beside it (a pair), or neither (a single lbd)`, 'key');
  }
  if (cluster === undefined) return;
  const nodes = Object.entries(cluster.nodes);
  if (nodes.length !== 2)
    report(['cluster', 'nodes'], `found ${nodes.length} nodes, expected exactly two`, 'key');
  const [first, second] = nodes;
  if (first === undefined || second === undefined) return;
  const path = ['cluster', 'nodes', second[0], 'address'];
  if (first[1].address === second[1].address)
    report(path, `found ${second[1].address}, which is the address of "${first[0]}" too`);
  else if (ipFamily(first[1].address) !== ipFamily(second[1].address))
    report(path, `found ${second[1].address}, expected the same IP version as "${first[0]}" has`);
}

function checkVips(
  cluster: NonNullable<Shape['cluster']>,
  { vips }: NonNullable<Shape['ha']>,
  report: Report,
): void {
  const seen = new Set<string>();
  for (const [i, { address: vip }] of vips.entries()) {
    const path = ['ha', 'vips', i, 'address'];
    if (seen.has(vip.address)) report(path, `${vip.address} is listed twice`);
    seen.add(vip.address);
    for (const [name, node] of Object.entries(cluster.nodes))
      if (node.address === vip.address)
        report(
          path,
          `${vip.address} is the own address of node "${name}"; a VIP must be an address that no node has`,
        );
    if (isNetworkOrBroadcast(vip.address, vip.prefix))
      report(
        path,
        `${vip.address}/${vip.prefix} is the network or broadcast address, expected a host's address`,
      );
  }
}

function checkPaths({ paths }: NonNullable<Shape['ha']>, report: Report): void {
  const seen = new Set<string>();
  for (const [i, path] of paths.entries()) {
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

function checkFrontends(shape: Shape, source: Source, report: Report): void {
  const section = (source.value as { frontends?: unknown }).frontends;
  if (typeof section !== 'object' || section === null || Array.isArray(section)) return;
  const written = Object.keys(section);
  if (written.length === 0) report(['frontends'], 'found no frontend, expected at least one', 'key');
  if (written.length > MAX_FRONTENDS)
    report(['frontends'], `found ${written.length} frontends, expected at most ${MAX_FRONTENDS}`, 'key');
  for (const [name, frontend] of Object.entries(shape.frontends))
    if (frontend.pool === undefined && frontend.routes.length === 0)
      report(['frontends', name], 'has neither "pool" nor "routes": where should its clients go?', 'key');
}

/** A TCP port that something of ours will listen on. */
interface Listener {
  readonly path: Path;
  readonly address: SocketAddress;
}

/**
 * Workers listen with SO_REUSEPORT: the kernel would not refuse a second frontend on the same address but deal
 * the connections out to both. A frontend on one address beside one on all of them is fine: the narrower wins.
 */
function checkListeners(shape: Shape, report: Report): void {
  const binds: Listener[] = [];
  for (const [name, frontend] of Object.entries(shape.frontends))
    for (const [i, address] of frontend.bind.entries())
      binds.push({ path: ['frontends', name, 'bind', i], address });

  for (const [i, { path, address }] of binds.entries()) {
    const other = binds.slice(0, i).find((b) => sameListener(b.address, address));
    if (other !== undefined)
      report(
        path,
        `${formatEndpoint(address)} is taken by ${other.path.slice(0, -1).join('.')} (${formatEndpoint(other.address)})`,
      );
  }

  const own: Listener[] = [];
  if (shape.admin.metrics !== false) own.push({ path: ['admin', 'metrics'], address: shape.admin.metrics });
  if (shape.cluster !== undefined)
    for (const { address } of Object.values(shape.cluster.nodes))
      own.push({ path: ['sync', 'port'], address: { host: address, port: shape.sync.port } });
  for (const [i, { path, address }] of own.entries()) {
    const taken = [...binds, ...own.slice(0, i)].find((b) => b.path !== path && overlap(b.address, address));
    if (taken !== undefined && taken.path.join() !== path.join())
      report(
        path,
        `${formatEndpoint(address)} is taken by ${taken.path.join('.')} (${formatEndpoint(taken.address)})`,
      );
  }
}

function sameListener(a: SocketAddress, b: SocketAddress): boolean {
  if (a.port !== b.port) return false;
  return a.host === b.host || (isWildcard(a.host) && isWildcard(b.host) && overlap(a, b));
}

function overlap(a: SocketAddress, b: SocketAddress): boolean {
  if (a.port !== b.port) return false;
  return a.host === b.host || covers(a.host, b.host) || covers(b.host, a.host);
}

function isWildcard(host: string): boolean {
  return host === '*' || host === '::' || host === '0.0.0.0';
}

/** `[::]` listens on IPv4 too unless it is told otherwise (RFC 3493 section 5.3). */
function covers(wildcard: string, host: string): boolean {
  return wildcard === '*' || wildcard === '::' || (wildcard === '0.0.0.0' && ipFamily(host) === 4);
}

function checkPools(shape: Shape, source: Source, report: Report): void {
  let backends = 0;
  for (const [name, pool] of Object.entries(shape.pools)) {
    const path = ['pools', name];
    const { health, stick } = pool;
    const count = Object.keys(pool.backends).length;
    backends += count;
    if (count === 0) report([...path, 'backends'], 'found no backend, expected at least one', 'key');
    if (source.has([...path, 'hash']) && pool.algorithm !== 'consistent-hash')
      report([...path, 'hash'], `is for algorithm consistent-hash only, found ${pool.algorithm}`, 'key');
    if (health.timeout !== undefined && health.timeout > health.interval) {
      const [timeout, interval] = [formatDuration(health.timeout), formatDuration(health.interval)];
      report(
        [...path, 'health', 'timeout'],
        `found ${timeout}, which must not exceed the interval (${interval})`,
      );
    }
    const asksHttp = health.type === 'http' || health.type === 'deep';
    for (const key of ['path', 'method', 'host', 'expect'])
      if (!asksHttp && source.has([...path, 'health', key]))
        report([...path, 'health', key], `is for type http and deep only, found type ${health.type}`, 'key');
    if (stick === undefined) continue;
    if ((stick.cookie === undefined) === (stick.source === undefined))
      report(
        [...path, 'stick'],
        'expected { cookie: NAME }, { cookie: NAME, learn: true } or { source: ip }',
        'key',
      );
    else if (stick.source !== undefined && stick.learn !== undefined)
      report([...path, 'stick', 'learn'], 'is for cookies only', 'key');
    else if (stick.expire !== undefined && stick.cookie !== undefined && stick.learn !== true)
      report(
        [...path, 'stick', 'expire'],
        'is for "learn: true" and "source: ip" only: an inserted cookie is not stored',
        'key',
      );
  }
  if (backends > MAX_BACKENDS)
    report(['pools'], `found ${backends} backends, expected at most ${MAX_BACKENDS}`, 'key');
}

/** What only HTTP can do, on a frontend that does not speak it. */
function checkTcp(shape: Shape, source: Source, report: Report): void {
  for (const [name, frontend] of Object.entries(shape.frontends)) {
    if (frontend.mode !== 'tcp') continue;
    const path = ['frontends', name];
    for (const key of [
      ['routes'],
      ['limits'],
      ['timeouts', 'head'],
      ['timeouts', 'body'],
      ['timeouts', 'keep_alive'],
    ])
      if (source.has([...path, ...key]))
        report([...path, ...key], 'is for mode http only, found mode tcp', 'key');
    const pool = frontend.pool === undefined ? undefined : shape.pools[frontend.pool];
    if (pool === undefined) continue;
    const because = `and frontend "${name}" uses this pool in mode tcp`;
    if (pool.stick?.cookie !== undefined)
      report(
        ['pools', frontend.pool!, 'stick', 'cookie'],
        `cookies are for mode http only, ${because}`,
        'key',
      );
    if (pool.hash.key.from !== 'source')
      report(
        ['pools', frontend.pool!, 'hash', 'key'],
        `"${pool.hash.key.from}" is for mode http only, ${because}`,
      );
  }
}

/** Session keys and the sync protocol name pools and backends by a 32-bit hash; two with the same would mix. */
function checkIdentities(shape: Shape, report: Report): void {
  const backends = new Map<number, string>();
  const pools = new Map<number, string>();
  const claim = (ids: Map<number, string>, id: number, name: string, path: Path) => {
    const other = ids.get(id);
    if (other === undefined) ids.set(id, name);
    else
      report(
        path,
        `"${name}" has the same internal number as "${other}"; give one of them another name`,
        'key',
      );
  };
  for (const [name, pool] of Object.entries(shape.pools)) {
    claim(pools, poolId(name), name, ['pools', name]);
    for (const backend of Object.keys(pool.backends))
      claim(backends, backendId(name, backend), `${name}/${backend}`, ['pools', name, 'backends', backend]);
  }
}

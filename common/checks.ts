import { formatEndpoint, ipFamily, type SocketAddress } from './address.ts';
import { count } from './count.ts';
import { poolsOf } from './doors.ts';
import { formatDuration } from './duration.ts';
import { checkEngines } from './engine-checks.ts';
import type { ConfigProblem } from './errors.ts';
import type { BindRange } from './fields.ts';
import { checkHa } from './ha-checks.ts';
import { backendId, poolId } from './hash.ts';
import { checkLoops } from './loop-checks.ts';
import { problem } from './problems.ts';
import type { Report } from './report.ts';
import { checkResolver } from './resolver-config.ts';
import type { Shape } from './schema.ts';
import type { Path, Source } from './source.ts';
import { checkTls } from './tls-checks.ts';

/**
 * Half of the rows that the workers share (`MAX_SLOTS`, `MAX_FRONTENDS` in `lbd/shared/shared.ts`), so that a reload
 * that renames everything still has rows for the new ones while the old ones drain.
 */
export const MAX_BACKENDS = 4096;
export const MAX_FRONTENDS = 512;

/** Checks what depends on two places at once. Entities that are broken in themselves are not in `shape`. */
export function checkTogether(shape: Shape, source: Source): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const report: Report = (path, message, at = 'value') => {
    problems.push(problem(source, path, message, at));
  };
  checkCluster(shape, source, report);
  if (shape.ha !== undefined) checkHa(shape.ha, shape, source, report);
  checkFrontends(shape, source, report);
  checkListeners(shape, report);
  checkLoops(shape, report);
  checkPools(shape, source, report);
  checkModes(shape, source, report);
  checkHttpPools(shape, source, report);
  checkTls(shape, report);
  checkResolver(shape, report);
  checkEngines(shape, source, report);
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
    report(['cluster', 'nodes'], `found ${count(nodes.length, 'node')}, expected exactly two`, 'key');
  const [first, second] = nodes;
  if (first === undefined || second === undefined) return;
  const path = ['cluster', 'nodes', second[0], 'address'];
  if (first[1].address === second[1].address)
    report(path, `found ${second[1].address}, which is the address of "${first[0]}" too`);
  else if (ipFamily(first[1].address) !== ipFamily(second[1].address))
    report(path, `found ${second[1].address}, expected the same IP version as "${first[0]}" has`);
}

function checkFrontends(shape: Shape, source: Source, report: Report): void {
  const section = (source.value as { frontends?: unknown }).frontends;
  if (typeof section !== 'object' || section === null || Array.isArray(section)) return;
  const written = Object.keys(section);
  if (written.length === 0) report(['frontends'], 'found no frontend, expected at least one', 'key');
  if (written.length > MAX_FRONTENDS)
    report(['frontends'], `found ${written.length} frontends, expected at most ${MAX_FRONTENDS}`, 'key');
  for (const [name, frontend] of Object.entries(shape.frontends)) {
    const path = ['frontends', name];
    if (frontend.pool === undefined && frontend.routes.length === 0 && frontend.redirect === undefined)
      report(path, 'has neither "pool" nor "routes": where should its clients go?', 'key');
    const believes = frontend.trusted_proxies !== undefined || frontend.mode !== 'http';
    if (!believes && source.has([...path, 'client_field']))
      report([...path, 'client_field'], 'needs "trusted_proxies": nobody else is believed', 'key');
  }
}

/** Ports that something of ours will listen on. */
interface Listener {
  readonly path: Path;
  readonly protocol: 'tcp' | 'udp';
  readonly address: BindRange;
}

/**
 * Workers listen with SO_REUSEPORT: the kernel would not refuse a second frontend on the same address but deal
 * the connections out to both. A frontend on one address beside one on all of them is fine: the narrower wins.
 */
function checkListeners(shape: Shape, report: Report): void {
  const binds: Listener[] = [];
  for (const [name, frontend] of Object.entries(shape.frontends))
    for (const [i, address] of frontend.bind.entries())
      binds.push({
        path: ['frontends', name, 'bind', i],
        protocol: frontend.mode === 'udp' ? 'udp' : 'tcp',
        address,
      });

  for (const [i, bind] of binds.entries()) {
    const other = binds.slice(0, i).find((b) => sameListener(b, bind));
    if (other !== undefined)
      report(
        bind.path,
        `${formatBind(bind.address)} is taken by ${other.path.slice(0, -1).join('.')} (${formatBind(other.address)})`,
      );
  }

  const own: Listener[] = [];
  const add = (path: Path, protocol: Listener['protocol'], { host, port }: SocketAddress) =>
    own.push({ path, protocol, address: { host, port, lastPort: port } });
  if (shape.admin.metrics !== false) add(['admin', 'metrics'], 'tcp', shape.admin.metrics);
  if (shape.cluster !== undefined)
    for (const { address } of Object.values(shape.cluster.nodes))
      add(['sync', 'port'], 'tcp', { host: address, port: shape.sync.port });
  for (const [i, path] of (shape.ha?.paths ?? []).entries())
    add(['ha', 'paths', i], 'udp', { host: '*', port: path.port });
  for (const [i, mine] of own.entries()) {
    // Two paths of the heartbeat are compared where the rest of them is, see `checkHa`.
    const others = mine.protocol === 'udp' ? binds : [...binds, ...own.slice(0, i)];
    const taken = others.find((other) => overlap(other, mine));
    if (taken !== undefined && taken.path.join() !== mine.path.join())
      report(
        mine.path,
        `${formatBind(mine.address)} is taken by ${taken.path.join('.')} (${formatBind(taken.address)})`,
      );
  }
}

function sameListener(a: Listener, b: Listener): boolean {
  if (!meet(a, b)) return false;
  const [one, other] = [a.address.host, b.address.host];
  return one === other || (isWildcard(one) && isWildcard(other) && overlap(a, b));
}

function overlap(a: Listener, b: Listener): boolean {
  const [one, other] = [a.address.host, b.address.host];
  return meet(a, b) && (one === other || covers(one, other) || covers(other, one));
}

/** Whether they have a port in common. */
function meet(a: Listener, b: Listener): boolean {
  return (
    a.protocol === b.protocol && a.address.port <= b.address.lastPort && b.address.port <= a.address.lastPort
  );
}

function formatBind({ host, port, lastPort }: BindRange): string {
  return `${formatEndpoint({ host, port })}${lastPort === port ? '' : `-${lastPort}`}`;
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
    const own = Object.keys(pool.backends).length;
    backends += own;
    if (own === 0) report([...path, 'backends'], 'found no backend, expected at least one', 'key');
    if (source.has([...path, 'hash']) && pool.algorithm !== 'consistent-hash')
      report([...path, 'hash'], `is for algorithm consistent-hash only, found ${pool.algorithm}`, 'key');
    if (health.timeout !== undefined && health.timeout > health.interval) {
      const [timeout, interval] = [formatDuration(health.timeout), formatDuration(health.interval)];
      report(
        [...path, 'health', 'timeout'],
        `found ${timeout}, which must not exceed the interval (${interval})`,
      );
    }
    for (const key of ['send', 'receive'])
      if (health.type !== 'udp' && source.has([...path, 'health', key]))
        report([...path, 'health', key], `is for type udp only, found type ${health.type}`, 'key');
    if (health.type === 'udp' && health.send === undefined)
      report([...path, 'health'], 'type udp needs "send": what a backend answers to', 'key');
    const { outlier } = pool;
    if (typeof outlier === 'object' && outlier.max_ejection_time < outlier.base_ejection_time)
      report(
        [...path, 'outlier', 'max_ejection_time'],
        `found ${formatDuration(outlier.max_ejection_time)}, which must not be below base_ejection_time (${formatDuration(outlier.base_ejection_time)})`,
      );
    const asksHttp = health.type === 'http' || health.type === 'deep';
    for (const key of ['path', 'method', 'host', 'expect', 'drain_status'])
      if (!asksHttp && source.has([...path, 'health', key]))
        report([...path, 'health', key], `is for type http and deep only, found type ${health.type}`, 'key');
    if (stick === undefined) continue;
    if ((stick.cookie === undefined) === (stick.source === undefined))
      report(
        [...path, 'stick'],
        'expected { cookie: NAME }, { cookie: NAME, learn: true } or { source: ip }',
        'key',
      );
    else if (stick.learn === true && Object.keys(stick.cookie ?? {}).length > 1)
      report(
        [...path, 'stick', 'cookie'],
        'with "learn: true" the cookie is that of the application: expected its name alone',
      );
    else if (stick.cookie?.same_site === 'none' && stick.cookie.secure === false)
      report(
        [...path, 'stick', 'cookie', 'secure'],
        'browsers drop a cookie with "same_site: none" that is not secure',
      );
    else if (stick.source !== undefined && stick.learn !== undefined)
      report([...path, 'stick', 'learn'], 'is for cookies only', 'key');
    else if (stick.prefix6 !== undefined && stick.source === undefined)
      report([...path, 'stick', 'prefix6'], 'is for "source: ip" only', 'key');
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

/** What only HTTP can do, on a frontend that does not speak it, and what only connections can. */
function checkModes(shape: Shape, source: Source, report: Report): void {
  for (const [name, frontend] of Object.entries(shape.frontends)) {
    const { mode } = frontend;
    if (mode === 'http') continue;
    const path = ['frontends', name];
    const peeks = frontend.tls?.mode === 'passthrough';
    for (const key of [
      ...(peeks ? [] : [['routes']]),
      // As long as a ClientHello, or a handshake, may take.
      ...(frontend.tls === undefined ? [['timeouts', 'head']] : []),
      ['trusted_proxies'],
      ['client_field'],
      ['add_fields'],
      ['limits', 'head'],
      ['limits', 'fields'],
      ['limits', 'min_rate'],
      ['timeouts', 'body'],
      ['timeouts', 'keep_alive'],
    ])
      if (source.has([...path, ...key]))
        report([...path, ...key], `is for mode http only, found mode ${mode}`, 'key');
    const pool = frontend.pool === undefined ? undefined : shape.pools[frontend.pool];
    if (pool === undefined) continue;
    const because = `and frontend "${name}" uses this pool in mode ${mode}`;
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
    if (mode === 'udp') checkUdp([name, frontend.pool!], pool, because, source, report);
  }
}

/** What only HTTP can do, in a pool to which no frontend of mode http leads. */
/** Keys of pools that mean something in mode http only. */
const HTTP_KEYS = [['connections', 'max_age'], ['connections', 'streams'], ['protocol']];

function checkHttpPools(shape: Shape, source: Source, report: Report): void {
  for (const [name, { protocol, connections, send_proxy }] of Object.entries(shape.pools)) {
    const path = ['pools', name];
    if (protocol !== 'http/1.1' && send_proxy !== undefined)
      report(
        [...path, 'send_proxy'],
        `tells of one client, where by HTTP/2 (protocol ${protocol}) many share a connection`,
        'key',
      );
    if (protocol === 'http/1.1' && connections.streams !== undefined)
      report([...path, 'connections', 'streams'], 'needs "protocol: h2" or "protocol: auto"', 'key');
    const users = Object.entries(shape.frontends).filter(([, frontend]) => poolsOf(frontend).has(name));
    const [first] = users;
    if (first === undefined || users.some(([, { mode }]) => mode === 'http')) continue;
    for (const key of HTTP_KEYS.filter((it) => source.has([...path, ...it])))
      report(
        [...path, ...key],
        `is for mode http only, and frontend "${first[0]}" uses this pool in mode ${first[1].mode}`,
        'key',
      );
  }
}

function checkUdp(
  [frontend, pool]: [string, string],
  { send_proxy, outlier }: Shape['pools'][string],
  because: string,
  source: Source,
  report: Report,
): void {
  const path = ['pools', pool];
  if (source.has(['frontends', frontend, 'accept_proxy']))
    report(['frontends', frontend, 'accept_proxy'], 'is for modes http and tcp only, found mode udp', 'key');
  if (send_proxy !== undefined)
    report([...path, 'send_proxy'], `is for modes http and tcp only, ${because}`, 'key');
  if (source.has([...path, 'queue']))
    report([...path, 'queue'], `a datagram does not wait, ${because}`, 'key');
  if (source.has([...path, 'limits', 'pending']))
    report([...path, 'limits', 'pending'], `no handshake is waited for, ${because}`, 'key');
  if (source.has([...path, 'retry']))
    report([...path, 'retry'], `is for modes http and tcp only, ${because}`, 'key');
  for (const key of ['consecutive_5xx', 'latency_factor'] as const)
    if (typeof outlier === 'object' && outlier[key] > 0 && source.has([...path, 'outlier', key]))
      report([...path, 'outlier', key], `a datagram is no answer of HTTP, ${because}`, 'key');
  // The default would try a TCP connection, which few UDP services take: all backends would seem dead.
  if (!source.has([...path, 'health', 'type']))
    report(
      path,
      `needs "health: { type: … }" (udp with "send", none, or tcp where the service takes that too), because frontend "${frontend}" uses this pool in mode udp`,
      'key',
    );
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

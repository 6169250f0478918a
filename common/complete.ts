import { BlockList } from 'node:net';
import { availableParallelism } from 'node:os';
import { dirname, resolve } from 'node:path';
import { accessLogOf } from './access-log-config.ts';
import { ipFamily } from './address.ts';
import { digestOf, sectionDigestsOf } from './digest.ts';
import { engineOf } from './engine-checks.ts';
import { forwardingOf } from './forwarding-config.ts';
import type {
  ClusterConfig,
  Config,
  FrontendConfig,
  GroupConfig,
  HaConfig,
  HealthConfig,
  NamedMatch,
  NodeConfig,
  PathConfig,
  PoolConfig,
  RouteConfig,
  TextMatch,
  VipConfig,
  WitnessConfig,
} from './model.ts';
import { defaultProtocols, isHttpProtocol } from './protocols.ts';
import { resilienceOf } from './resilience-config.ts';
import { resolverOf } from './resolver-config.ts';
import type { Shape } from './schema.ts';
import { stickOf } from './stick-config.ts';
import { frontendTlsOf, poolTlsOf } from './tls-config.ts';

const MAX_WORKERS = 64;
const DEFAULT_PRIORITY = 100;
/** Name of the group in a config without `groups`: adding a second one to it then moves nothing. */
export const DEFAULT_GROUP = 'default';
const DEFAULT_CHECK_TIMEOUT_MS = 5000;
const DEFAULT_IDLE_MS = 5 * 60_000;
/** As long as Linux keeps a UDP flow that was answered (nf_conntrack_udp_timeout_stream). */
const DEFAULT_UDP_IDLE_MS = 2 * 60_000;

/**
 * Makes the config of a checked shape: words of the file become those of `common/model.ts`, and defaults that
 * depend on another setting or on the machine are filled in.
 *
 * @param self name of this node; undefined for a single lbd
 * @param cores for `workers: auto`
 */
export function complete(
  shape: Shape,
  file: string,
  self: string | undefined,
  cores = availableParallelism(),
): Config {
  const config = {
    file,
    cluster: shape.cluster && self !== undefined ? clusterOf(shape.cluster, self, file) : undefined,
    ha: shape.ha && haOf(shape.ha, Object.keys(shape.cluster?.nodes ?? {})),
    sync: { port: shape.sync.port, flowMarks: shape.sync.flow_marks },
    // The table finds a cell with a mask instead of a division.
    sessions: { capacity: 2 ** Math.ceil(Math.log2(shape.sessions.capacity)) },
    workers: shape.workers === 'auto' ? Math.min(Math.max(cores, 1), MAX_WORKERS) : shape.workers,
    frontends: Object.entries(shape.frontends).map(([name, frontend]) => {
      const engine = engineOf(shape, name);
      return { ...frontendOf(name, frontend, shape.access_log), ...(engine && { engine }) };
    }),
    pools: Object.entries(shape.pools).map(([name, pool]) => poolOf(name, pool)),
    admin: { metrics: shape.admin.metrics === false ? undefined : shape.admin.metrics },
    // Only where they are written: a node of the former release has another digest else.
    ...(!shape.direct_io && { directIo: false as const }),
    ...(shape.resolver && { resolver: resolverOf(shape.resolver) }),
  };
  const shared = { config, workers: shape.workers };
  return { ...config, digest: digestOf(shared), sectionDigests: sectionDigestsOf(shared) };
}

function clusterOf(cluster: NonNullable<Shape['cluster']>, self: string, file: string): ClusterConfig {
  const nodes = Object.entries(cluster.nodes).map(([name, { address }]): NodeConfig => ({ name, address }));
  return {
    name: cluster.name,
    secretFile: resolve(dirname(file), cluster.secret_file),
    ...(cluster.previous_secret_file !== undefined && {
      previousSecretFile: resolve(dirname(file), cluster.previous_secret_file),
    }),
    self: nodes.find((node) => node.name === self)!,
    peer: nodes.find((node) => node.name !== self)!,
  };
}

type HaShape = NonNullable<Shape['ha']>;
type GroupShape = NonNullable<HaShape['groups']>[string];

function haOf(ha: HaShape, nodes: readonly string[]): HaConfig {
  const shapes: Readonly<Record<string, GroupShape>> =
    ha.groups ?? (ha.vips === undefined ? {} : { [DEFAULT_GROUP]: { ...ha, vips: ha.vips } });
  const groups = Object.entries(shapes)
    .map(([name, group]) => groupOf(name, group, ha, nodes))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const vips = groups.flatMap((group) => group.vips);
  const interfaces = vipInterfaces(vips);
  const { active, standby, fault } = ha.notify;
  return {
    heartbeat: { intervalMs: ha.heartbeat.interval, deadAfter: ha.heartbeat.dead_after },
    paths: ha.paths.flatMap((path): PathConfig[] => {
      if (path.type === 'unicast') return [path];
      const device = path.interface ?? interfaces[0];
      return device === undefined ? [] : [{ ...path, interface: device }];
    }),
    groups,
    vips,
    garp: { count: ha.garp.count, refreshMs: ha.garp.refresh },
    track: {
      lbd: ha.track.lbd,
      interfaces: ha.track.interfaces ?? interfaces,
      settleMs: ha.settle,
    },
    witness: ha.witness && witnessOf(ha.witness, vips),
    notify: { active, standby, fault },
  };
}

/** Each witness is asked over the interface of the VIP whose network it is in, or else over that of the first one. */
function witnessOf(
  { addresses, lease, interval, timeout }: NonNullable<HaShape['witness']>,
  vips: readonly VipConfig[],
): WitnessConfig {
  return {
    addresses: (addresses ?? []).map((address) => {
      const near = vips.find((vip) => vip.interface !== 'lo' && isInNetwork(vip, address));
      const device = near?.interface ?? vipInterfaces(vips)[0];
      return { address, interface: device, isNeighbour: near?.family === 4 };
    }),
    intervalMs: interval,
    timeoutMs: timeout,
    lease,
  };
}

function isInNetwork({ address, prefix, family }: VipConfig, other: string): boolean {
  if (ipFamily(other) !== family) return false;
  const network = new BlockList();
  network.addSubnet(address, prefix, `ipv${family}`);
  return network.check(other, `ipv${family}`);
}

function groupOf(name: string, group: GroupShape, ha: HaShape, nodes: readonly string[]): GroupConfig {
  const preempt = group.preempt ?? ha.preempt;
  return {
    name,
    vips: group.vips.map(vipOf),
    routes: group.routes.map(({ to, via, interface: device, src, table }) => ({
      ...to,
      via,
      interface: device,
      src,
      table,
    })),
    priority: Object.fromEntries(nodes.map((node) => [node, group.priority[node] ?? DEFAULT_PRIORITY])),
    preemptDelayMs: preempt === false ? undefined : preempt.delay,
  };
}

function vipOf(vip: GroupShape['vips'][number]): VipConfig {
  const { address, interface: device, prefix_route: prefixRoute, provider, command = [] } = vip;
  if (provider !== 'lo') return { ...address, interface: device ?? 'lo', prefixRoute, provider, command };
  // A shorter prefix would make the whole network this host's own.
  const prefix = address.family === 4 ? 32 : 128;
  return { ...address, prefix, interface: 'lo', prefixRoute, provider, command };
}

/** Interfaces whose loss takes VIPs from their clients; the loopback interface has no cable. */
export function vipInterfaces(vips: readonly Pick<VipConfig, 'interface'>[]): string[] {
  return [...new Set(vips.map((vip) => vip.interface))].filter((name) => name !== 'lo');
}

function frontendOf(
  name: string,
  frontend: Shape['frontends'][string],
  accessLog: Shape['access_log'],
): FrontendConfig {
  const { timeouts, limits } = frontend;
  return {
    name,
    bind: frontend.bind.flatMap(({ host, port, lastPort }) =>
      Array.from({ length: lastPort - port + 1 }, (_, i) => ({ host, port: port + i })),
    ),
    mode: frontend.mode,
    tls: frontendTlsOf(frontend.tls, frontend.mode),
    hsts: frontend.hsts,
    redirect: frontend.redirect,
    ...protocolsPart(frontend),
    accessLog: accessLogOf(frontend.access_log, accessLog),
    routes: frontend.routes.map(routeOf),
    pool: frontend.pool,
    maxConnections: frontend.max_connections,
    acceptProxy: frontend.accept_proxy ?? [],
    ...forwardingOf(frontend),
    timeouts: {
      headMs: timeouts.head,
      bodyMs: timeouts.body,
      keepAliveMs: timeouts.keep_alive,
      idleMs: timeouts.idle ?? (frontend.mode === 'udp' ? DEFAULT_UDP_IDLE_MS : DEFAULT_IDLE_MS),
    },
    limits: {
      headBytes: limits.head,
      fields: limits.fields,
      minRate: limits.min_rate,
      perSource: limits.per_source,
    },
  };
}

/** Only what is not the default: the nodes of a pair, also of different releases, compare what a file becomes. */
function protocolsPart({
  mode,
  protocols,
  tls,
}: Shape['frontends'][string]): Pick<FrontendConfig, 'protocols'> {
  const alpn = tls?.mode === 'terminate' ? tls.alpn : undefined;
  const written = protocols ?? alpn?.filter(isHttpProtocol);
  if (mode !== 'http' || written === undefined) return {};
  return `${written}` === `${defaultProtocols(tls !== undefined)}` ? {} : { protocols: written };
}

function routeOf({ match, pool }: Shape['frontends'][string]['routes'][number]): RouteConfig {
  return {
    match: {
      hosts: match.host ?? [],
      ...(match.sni && { sni: match.sni }),
      path: match.path,
      methods: match.method ?? [],
      headers: namedMatches(match.header).map(({ name, value }) => ({ name: name.toLowerCase(), value })),
      cookies: namedMatches(match.cookie),
      query: namedMatches(match.query),
    },
    pool,
  };
}

function namedMatches(matches: Readonly<Record<string, TextMatch>> = {}): NamedMatch[] {
  return Object.entries(matches).map(([name, value]) => ({ name, value }));
}

function poolOf(name: string, pool: Shape['pools'][string]): PoolConfig {
  const { timeouts } = pool;
  return {
    name,
    // Only where it is another one: a node of the former release has another digest else.
    ...(pool.protocol !== 'http/1.1' && { protocol: pool.protocol }),
    algorithm: pool.algorithm,
    hash: { key: pool.hash.key, loadFactor: pool.hash.load_factor },
    stick: stickOf(pool.stick),
    health: healthOf(pool.health),
    tls: poolTlsOf(pool.tls),
    drainTimeoutMs: pool.drain_timeout,
    timeouts: {
      connectMs: timeouts.connect,
      responseMs: timeouts.response,
      idleMs: timeouts.idle ?? timeouts.response,
      totalMs: timeouts.total,
      keepAliveMs: timeouts.keep_alive,
    },
    connections: {
      maxAgeMs: pool.connections.max_age ?? 0,
      ...(pool.connections.streams !== undefined && { streams: pool.connections.streams }),
    },
    ...resilienceOf(pool),
    sendProxy: pool.send_proxy,
    queue: { length: pool.queue.length, timeoutMs: pool.queue.timeout },
    backends: Object.entries(pool.backends).map(([backend, { address, weight, max_connections }]) => ({
      name: backend,
      address,
      weight,
      maxConnections: max_connections,
    })),
  };
}

function healthOf(health: Shape['pools'][string]['health']): HealthConfig {
  return {
    type: health.type,
    intervalMs: health.interval,
    timeoutMs: health.timeout ?? Math.min(DEFAULT_CHECK_TIMEOUT_MS, health.interval),
    fall: health.fall,
    rise: health.rise,
    path: health.path,
    method: health.method,
    host: health.host,
    expect: health.expect ?? [[200, health.type === 'deep' ? 299 : 399]],
    ...(health.drain_status && { drain: health.drain_status }),
    ...(health.tls !== undefined && { tls: health.tls }),
    port: health.port,
    send: health.send ?? '',
    receive: health.receive ?? '',
  };
}

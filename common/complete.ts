import { availableParallelism } from 'node:os';
import { dirname, resolve } from 'node:path';
import { digestOf } from './digest.ts';
import type {
  ClusterConfig,
  Config,
  FrontendConfig,
  HaConfig,
  HealthConfig,
  NamedMatch,
  NodeConfig,
  PathConfig,
  PoolConfig,
  RouteConfig,
  StickConfig,
  TextMatch,
} from './model.ts';
import type { Shape } from './schema.ts';

const MAX_WORKERS = 64;
const DEFAULT_PRIORITY = 100;
const DEFAULT_CHECK_TIMEOUT_MS = 5000;
const DEFAULT_EXPIRE_MS = 30 * 60_000;

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
    cluster: shape.cluster && self !== undefined ? clusterOf(shape, shape.cluster, self, file) : undefined,
    ha: shape.ha && haOf(shape.ha),
    sync: shape.sync,
    // The table finds a cell with a mask instead of a division.
    sessions: { capacity: 2 ** Math.ceil(Math.log2(shape.sessions.capacity)) },
    workers: shape.workers === 'auto' ? Math.min(Math.max(cores, 1), MAX_WORKERS) : shape.workers,
    frontends: Object.entries(shape.frontends).map(([name, frontend]) => frontendOf(name, frontend)),
    pools: Object.entries(shape.pools).map(([name, pool]) => poolOf(name, pool)),
    admin: { metrics: shape.admin.metrics === false ? undefined : shape.admin.metrics },
  };
  return { ...config, digest: digestOf(config, shape.workers) };
}

function clusterOf(
  shape: Shape,
  cluster: NonNullable<Shape['cluster']>,
  self: string,
  file: string,
): ClusterConfig {
  const nodes = Object.entries(cluster.nodes).map(
    ([name, { address }]): NodeConfig => ({
      name,
      address,
      priority: shape.ha?.priority[name] ?? DEFAULT_PRIORITY,
    }),
  );
  return {
    name: cluster.name,
    secretFile: resolve(dirname(file), cluster.secret_file),
    self: nodes.find((node) => node.name === self)!,
    peer: nodes.find((node) => node.name !== self)!,
  };
}

function haOf(ha: NonNullable<Shape['ha']>): HaConfig {
  const vips = ha.vips.map(({ address, interface: device }) => ({ ...address, interface: device }));
  const { active, standby, fault } = ha.notify;
  return {
    heartbeat: { intervalMs: ha.heartbeat.interval, deadAfter: ha.heartbeat.dead_after },
    paths: ha.paths.map(
      (path): PathConfig =>
        path.type === 'unicast' ? path : { ...path, interface: path.interface ?? vips[0]!.interface },
    ),
    vips,
    preemptDelayMs: ha.preempt === false ? undefined : ha.preempt.delay,
    garp: { count: ha.garp.count, refreshMs: ha.garp.refresh },
    track: {
      lbd: ha.track.lbd,
      interfaces: ha.track.interfaces ?? [...new Set(vips.map((vip) => vip.interface))],
    },
    notify: { active, standby, fault },
  };
}

function frontendOf(name: string, frontend: Shape['frontends'][string]): FrontendConfig {
  const { timeouts, limits } = frontend;
  return {
    name,
    bind: frontend.bind,
    mode: frontend.mode,
    routes: frontend.routes.map(routeOf),
    pool: frontend.pool,
    maxConnections: frontend.max_connections,
    timeouts: {
      headMs: timeouts.head,
      bodyMs: timeouts.body,
      keepAliveMs: timeouts.keep_alive,
      idleMs: timeouts.idle,
    },
    limits: { headBytes: limits.head, fields: limits.fields },
  };
}

function routeOf({ match, pool }: Shape['frontends'][string]['routes'][number]): RouteConfig {
  return {
    match: {
      hosts: match.host ?? [],
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
    algorithm: pool.algorithm,
    hash: { key: pool.hash.key, loadFactor: pool.hash.load_factor },
    stick: stickOf(pool.stick),
    health: healthOf(pool.health),
    drainTimeoutMs: pool.drain_timeout,
    timeouts: {
      connectMs: timeouts.connect,
      responseMs: timeouts.response,
      keepAliveMs: timeouts.keep_alive,
    },
    backends: Object.entries(pool.backends).map(([backend, { address, weight }]) => ({
      name: backend,
      address,
      weight,
    })),
  };
}

function stickOf(stick: Shape['pools'][string]['stick']): StickConfig | undefined {
  if (stick === undefined) return undefined;
  const expireMs = stick.expire ?? DEFAULT_EXPIRE_MS;
  if (stick.cookie === undefined) return { type: 'source', expireMs };
  return stick.learn
    ? { type: 'learn', cookie: stick.cookie, expireMs }
    : { type: 'insert', cookie: stick.cookie };
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
    port: health.port,
  };
}

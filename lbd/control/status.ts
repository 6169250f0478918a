import type { SocketAddress } from '../../common/address.ts';
import type {
  BackendStatus,
  CertificateStatus,
  FlowSyncStatus,
  FrontendStatus,
  LbdStatus,
  LeavingStatus,
  SyncStatus,
} from '../../common/control.ts';
import type { Config } from '../../common/model.ts';
import { ownRuntime } from '../../common/runtime.ts';
import { VERSION } from '../../common/version.ts';
import type { Cause } from '../log/cause.ts';
import type { FrontendCounter, SharedState } from '../shared/shared.ts';
import { addressText, type Backends } from './care/backends.ts';
import type { Planner } from './planner.ts';

export interface StatusSources {
  readonly node: string;
  config(): Config;
  reloadError(): string | undefined;
  readonly shared: SharedState;
  readonly planner: Planner;
  readonly backends: Backends;
  workers(): LbdStatus['workers'];
  sync(): SyncStatus;
  flows(): FlowSyncStatus;
  leaving(): readonly LeavingStatus[];
  /** Frontends and pools whose TLS files cannot be used. */
  leftOut(): readonly string[];
  /** Those that clients of a frontend are shown. */
  certificates(frontend: string): readonly CertificateStatus[];
  /** Undefined for mode http. */
  engine(frontend: string): FrontendStatus['engine'];
  /** Of `pool/backend` with this host. */
  resolved(id: string, host: string): BackendStatus['resolved'];
  warnings(): string[];
  notes(): string[];
}

/** What `GET /v1/status` answers. */
export function lbdStatus(sources: StatusSources): LbdStatus {
  const steps = nodeStatusInSteps(sources);
  let step = steps.next();
  while (step.done !== true) step = steps.next();
  const pools = sources.config().pools.map((pool) => [pool.name, poolStatus(pool, sources)] as const);
  return { ...step.value, pools: Object.fromEntries(pools) };
}

/** All but the pools. */
export type NodeStatus = Omit<LbdStatus, 'pools'>;

/** As `lbdStatus`, without what there is most of; after each step, which is the work of a moment, the rest may wait. */
export function* nodeStatusInSteps(sources: StatusSources): Generator<void, NodeStatus> {
  const config = sources.config();
  const frontends: Record<string, FrontendStatus> = {};
  for (const frontend of config.frontends) {
    frontends[frontend.name] = frontendStatus(frontend, sources);
    yield;
  }
  const warnings = sources.warnings();
  const notes = sources.notes();
  yield;
  return {
    node: sources.node,
    version: VERSION,
    runtime: ownRuntime(),
    pid: process.pid,
    uptime_ms: Math.round(process.uptime() * 1000),
    config: { file: config.file, digest: config.digest, reload_error: sources.reloadError() },
    workers: sources.workers(),
    sync: sources.sync(),
    flows: sources.flows(),
    leaving: sources.leaving(),
    left_out: sources.leftOut(),
    frontends,
    warnings,
    ...(notes.length > 0 && { notes }),
  };
}

/** How a pool bears up, without its backends. */
export interface PoolFigures extends Pick<LbdStatus['pools'][string], 'queue' | 'strain'> {
  readonly name: string;
}

export function* poolFigures(sources: StatusSources): Generator<PoolFigures, void> {
  for (const pool of sources.config().pools) yield { name: pool.name, ...bearingOf(pool, sources) };
}

function poolStatus(pool: Config['pools'][number], sources: StatusSources): LbdStatus['pools'][string] {
  const backends: Record<string, LbdStatus['pools'][string]['backends'][string]> = {};
  for (const { name, address, maxConnections } of pool.backends) {
    const id = `${pool.name}/${name}`;
    if (!sources.backends.has(id)) continue;
    backends[name] = {
      ...sources.backends.status(id),
      max_connections: maxConnections,
      resolved: sources.resolved(id, address.host),
    };
  }
  return { algorithm: pool.algorithm, ...bearingOf(pool, sources), backends };
}

function bearingOf(pool: Config['pools'][number], sources: StatusSources): Omit<PoolFigures, 'name'> {
  return { queue: queueStatus(pool, sources), strain: sources.backends.strain(pool.name) };
}

function frontendStatus(
  frontend: Config['frontends'][number],
  { planner, shared, certificates, engine }: StatusSources,
): FrontendStatus {
  const row = planner.frontendRow(frontend.name);
  const count = (counter: FrontendCounter) => (row === undefined ? 0 : shared.frontendCounter(row, counter));
  return {
    bind: bindTexts(frontend.bind),
    mode: frontend.mode,
    engine: engine(frontend.name),
    connections: count('connections'),
    max_connections: frontend.maxConnections,
    accepted: count('accepted'),
    requests: count('requests'),
    refused: Object.fromEntries(
      REFUSALS.map(([cause, counter]) => [cause, count(counter)] as const).filter(([, n]) => n > 0),
    ),
    ...(frontend.mode === 'udp' && {
      datagrams: {
        received: count('datagrams_received'),
        sent: count('datagrams_sent'),
        dropped: count('datagrams_dropped'),
        evicted: count('flows_evicted'),
      },
    }),
    ...(frontend.tls?.mode === 'terminate' && {
      tls: {
        certificates: certificates(frontend.name),
        handshakes: count('tls_handshakes'),
        resumed: count('tls_resumed'),
        failed: count('tls_failed'),
      },
    }),
  };
}

/** Why clients are turned away before they have a backend, as the access log names it, too, and its counter. */
export const REFUSALS: readonly (readonly [cause: Cause, counter: FrontendCounter])[] = [
  ['too_many_clients', 'refused_full'],
  ['too_many_of_client', 'refused_source'],
  ['no_files', 'refused_files'],
  ['proxy_header', 'refused_proxy'],
  ['no_backend', 'refused_no_backend'],
  ['breaker_open', 'refused_breaker'],
  ['queue_full', 'refused_queue_full'],
  ['queue_timeout', 'refused_queue_timeout'],
];

function queueStatus(
  { queue, backends, name }: Config['pools'][number],
  { planner, shared }: StatusSources,
): { waiting: number; length: number } | undefined {
  if (backends.every(({ maxConnections }) => maxConnections === undefined)) return undefined;
  const row = planner.slot(`${name}/${backends[0]!.name}`);
  return { waiting: row === undefined ? 0 : shared.queues.waiting(row), length: queue.length };
}

/** Ports of one address that follow each other become a range, as in the config. */
function bindTexts(binds: readonly SocketAddress[]): string[] {
  const ranges: { host: string; port: number; last: number }[] = [];
  for (const { host, port } of binds) {
    const before = ranges.at(-1);
    if (before?.host === host && before.last === port - 1) before.last = port;
    else ranges.push({ host, port, last: port });
  }
  return ranges.map((range) => `${addressText(range)}${range.last === range.port ? '' : `-${range.last}`}`);
}

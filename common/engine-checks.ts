import { isIP } from 'node:net';
import { type EngineConfig, engineKeys } from './engine-config.ts';
import type { Algorithm } from './model.ts';
import type { Report } from './report.ts';
import type { Shape } from './schema.ts';
import type { Path, Source } from './source.ts';

/** Algorithms that nftables can carry out; the others need to know what is in flight. */
export const KERNEL_ALGORITHMS: ReadonlySet<Algorithm> = new Set([
  'round-robin',
  'weighted-round-robin',
  'random',
  'ip-hash',
  'consistent-hash',
]);

const DEFAULT_MAX_CONNECTIONS = 50_000;
const DEFAULT_LOAD_FACTOR = 1.25;

interface UserOnly {
  readonly path: Path;
  readonly what: string;
}

/** What of a frontend of mode tcp or udp needs lbd in the path of its bytes, and where it is written. */
function userOnly(shape: Shape, name: string): UserOnly[] {
  const frontend = shape.frontends[name]!;
  const at = ['frontends', name];
  const found: UserOnly[] = [];
  const add = (path: Path, what: string) => found.push({ path, what });
  if (frontend.tls !== undefined) add([...at, 'tls'], 'tls');
  if (frontend.accept_proxy !== undefined) add([...at, 'accept_proxy'], 'accept_proxy');
  if (frontend.access_log !== undefined && frontend.access_log !== false)
    add([...at, 'access_log'], 'access_log');
  else if (frontend.access_log === undefined && shape.access_log && frontend.mode === 'tcp')
    add(['access_log'], `access_log ("access_log: false" in frontends.${name} does without)`);
  if (frontend.limits.per_source !== undefined) add([...at, 'limits', 'per_source'], 'limits.per_source');
  if (frontend.max_connections !== DEFAULT_MAX_CONNECTIONS)
    add([...at, 'max_connections'], 'max_connections');
  if (frontend.timeouts.idle !== undefined)
    add([...at, 'timeouts', 'idle'], 'timeouts.idle (the kernel has nf_conntrack_*_timeout_*)');
  if (frontend.pool !== undefined) found.push(...userOnlyInPool(shape, frontend.pool));
  return found;
}

function userOnlyInPool(shape: Shape, name: string): UserOnly[] {
  const pool = shape.pools[name];
  if (pool === undefined) return [];
  const at = ['pools', name];
  const found: UserOnly[] = [];
  const add = (key: string | Path, what: string) =>
    found.push({
      path: [...at, ...(typeof key === 'string' ? [key] : key)],
      what: `${what} of pool ${name}`,
    });
  if (!KERNEL_ALGORITHMS.has(pool.algorithm)) add('algorithm', `algorithm ${pool.algorithm}`);
  if (pool.algorithm === 'consistent-hash' && ![0, DEFAULT_LOAD_FACTOR].includes(pool.hash.load_factor))
    add(['hash', 'load_factor'], 'hash.load_factor');
  if (pool.tls !== undefined) add('tls', 'tls');
  if (pool.send_proxy !== undefined) add('send_proxy', 'send_proxy');
  if (pool.outlier !== false) add('outlier', 'outlier');
  if (Object.values(pool.limits).some((limit) => limit > 0)) add('limits', 'limits');
  if (pool.slow_start > 0) add('slow_start', 'slow_start');
  for (const [backend, { max_connections, address }] of Object.entries(pool.backends)) {
    if (max_connections !== undefined)
      add(['backends', backend, 'max_connections'], `max_connections of backend ${backend}`);
    if (isIP(address.host) === 0)
      add(['backends', backend, 'address'], `the host name ${address.host} of backend ${backend}`);
  }
  return found;
}

/** What goes together where the engine is concerned. */
export function checkEngines(shape: Shape, source: Source, report: Report): void {
  for (const [name, frontend] of Object.entries(shape.frontends)) {
    const path = ['frontends', name];
    const written = Object.keys(engineKeys).filter((key) => source.has([...path, key]));
    if (frontend.mode === 'http')
      for (const key of written)
        report([...path, key], 'is for modes tcp and udp only, found mode http', 'key');
    else if (frontend.engine === 'user')
      for (const key of written.filter((it) => it !== 'engine'))
        report([...path, key], 'is for engine kernel and auto only, found engine user', 'key');
    else if (frontend.engine === 'kernel')
      for (const { path: place, what } of userOnly(shape, name))
        report(
          place,
          `the kernel cannot do that, and frontend "${name}" has engine kernel: take out ${what}, or set engine auto or user`,
          'key',
        );
  }
}

/** @returns undefined for mode http, which only lbd can do */
export function engineOf(shape: Shape, name: string): EngineConfig | undefined {
  const { mode, engine, snat, on_backend_down } = shape.frontends[name]!;
  if (mode === 'http') return undefined;
  return {
    engine: engine ?? 'auto',
    snat,
    onBackendDown: on_backend_down ?? 'cut',
    userOnly: userOnly(shape, name).map(({ what }) => what),
  };
}

import type { FrontendStatus, LbdStatus, SyncStatus } from '../common/control.ts';
import type { Config } from '../common/model.ts';
import { VERSION } from '../common/version.ts';
import { addressText, type Backends } from './backends.ts';
import type { Planner } from './planner.ts';
import type { SharedState } from './shared.ts';

export interface StatusSources {
  readonly node: string;
  config(): Config;
  reloadError(): string | undefined;
  readonly shared: SharedState;
  readonly planner: Planner;
  readonly backends: Backends;
  workers(): LbdStatus['workers'];
  sync(): SyncStatus;
  warnings(): string[];
}

/** What `GET /v1/status` answers. */
export function lbdStatus(sources: StatusSources): LbdStatus {
  const config = sources.config();
  return {
    node: sources.node,
    version: VERSION,
    pid: process.pid,
    uptime_ms: Math.round(process.uptime() * 1000),
    config: { file: config.file, digest: config.digest, reload_error: sources.reloadError() },
    workers: sources.workers(),
    sync: sources.sync(),
    frontends: Object.fromEntries(
      config.frontends.map((frontend) => [frontend.name, frontendStatus(frontend, sources)]),
    ),
    pools: Object.fromEntries(
      config.pools.map((pool) => [
        pool.name,
        {
          algorithm: pool.algorithm,
          backends: Object.fromEntries(
            pool.backends
              .map((backend) => [backend.name, `${pool.name}/${backend.name}`] as const)
              .filter(([, id]) => sources.backends.has(id))
              .map(([name, id]) => [name, sources.backends.status(id)]),
          ),
        },
      ]),
    ),
    warnings: sources.warnings(),
  };
}

function frontendStatus(
  frontend: Config['frontends'][number],
  { planner, shared }: StatusSources,
): FrontendStatus {
  const row = planner.frontendRow(frontend.name);
  const count = (counter: 'connections' | 'accepted' | 'requests') =>
    row === undefined ? 0 : shared.frontendCounter(row, counter);
  return {
    bind: frontend.bind.map(addressText),
    mode: frontend.mode,
    connections: count('connections'),
    accepted: count('accepted'),
    requests: count('requests'),
  };
}

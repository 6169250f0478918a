import type { Config } from '../../common/model.ts';
import type { FlowSync } from '../flow/flow-sync.ts';
import type { KernelEngine } from '../kernel/kernel-engine.ts';
import type { AccessFiles } from '../log/access-files.ts';
import type { SharedState } from '../shared/shared.ts';
import type { TlsControl } from '../tls/tls-control.ts';
import type { AdminStates } from './admin-states.ts';
import type { Backends } from './care/backends.ts';
import type { Departures } from './care/departures.ts';
import type { EngineAgreement } from './engine-agreement.ts';
import type { MetricsServer } from './metrics-server.ts';
import type { Planner } from './planner.ts';
import type { Reloader } from './reload.ts';
import type { StatServer } from './stat-server.ts';
import type { StatusSources } from './status.ts';
import type { Supervisor } from './supervisor.ts';
import type { SyncEnd } from './sync.ts';
import type { SyncStart } from './sync-start.ts';
import type { Whereabouts } from './whereabouts.ts';

/** The parts of which the status tells. */
export interface ToldParts {
  readonly node: string;
  /** That it started with. */
  readonly started: Config;
  readonly source: { warnings(): readonly string[] };
  readonly shared: SharedState;
  readonly planner: Planner;
  readonly backends: Backends;
  readonly departures: Departures;
  readonly whereabouts: Whereabouts;
  readonly adminStates: AdminStates;
  readonly tls: TlsControl;
  readonly access: AccessFiles;
  readonly supervisor: Supervisor;
  readonly kernel: KernelEngine;
  readonly engines: EngineAgreement;
  readonly flows: FlowSync;
  readonly sync: SyncEnd;
  readonly syncStart: SyncStart;
  readonly metrics: MetricsServer;
  readonly stat: StatServer;
  readonly reloader: Reloader;
}

/** What the status is made of, and the metrics of that. */
export function statusSources(parts: ToldParts): StatusSources {
  return {
    node: parts.node,
    config: () => parts.reloader.config,
    reloadError: () => parts.reloader.error,
    shared: parts.shared,
    planner: parts.planner,
    backends: parts.backends,
    workers: () => parts.supervisor.status,
    sync: () => parts.sync.status(),
    flows: () => parts.flows.status(),
    leaving: () => parts.departures.status(),
    leftOut: () => parts.tls.leftOut,
    certificates: (frontend) => parts.tls.certificates(frontend),
    engine: (frontend) => parts.kernel.engine(frontend),
    resolved: (id, host) => parts.whereabouts.resolved(id, host),
    warnings: () => warningsOf(parts),
    notes: () => notesOf(parts),
  };
}

/** What is otherwise than usual because the config wants it so, one line each. */
export function notesOf({ started }: Pick<ToldParts, 'started'>): string[] {
  return started.directIo === false
    ? ['direct_io is false: workers leave all reading and writing to Node']
    : [];
}

/** Refusals and fallbacks in force, one line each. */
function warningsOf(parts: ToldParts): string[] {
  return [
    ...parts.reloader.warnings(),
    ...parts.source.warnings(),
    ...parts.supervisor.warnings(),
    ...parts.access.warnings(),
    ...parts.backends.warnings(),
    ...parts.whereabouts.warnings(),
    ...parts.adminStates.warnings,
    ...parts.tls.warnings(),
    ...parts.kernel.warnings(),
    ...parts.engines.warnings(),
    ...parts.sync.warnings(),
    ...parts.flows.warnings(),
    ...parts.metrics.warnings(),
    ...parts.stat.warnings,
    ...parts.syncStart.warnings(),
  ];
}

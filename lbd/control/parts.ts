import { join } from 'node:path';
import { SOCKETS } from '../../common/control.ts';
import type { DaemonOptions } from '../../common/daemon.ts';
import { EventLog } from '../../common/events.ts';
import type { Logger } from '../../common/logger.ts';
import type { Config } from '../../common/model.ts';
import type { StartConfig } from '../../common/start-config.ts';
import { FlowSync } from '../flow/flow-sync.ts';
import { kernelAccess } from '../kernel/kernel-access.ts';
import { KernelEngine, NO_GATE } from '../kernel/kernel-engine.ts';
import { AccessFiles } from '../log/access-files.ts';
import { Registers } from '../session/registers.ts';
import { SessionTable } from '../session/table.ts';
import { createSharedBuffers, SharedState } from '../shared/shared.ts';
import { Tickets } from '../tls/tickets.ts';
import { TlsControl } from '../tls/tls-control.ts';
import { AdminStates } from './admin-states.ts';
import { BackendMetrics } from './backend-metrics.ts';
import { Backends } from './care/backends.ts';
import { Departures } from './care/departures.ts';
import { LearntHealth } from './care/learnt-health.ts';
import { EngineAgreement } from './engine-agreement.ts';
import { GroupRoles } from './group-roles.ts';
import { HealthMonitor } from './health/monitor.ts';
import { InForce } from './in-force.ts';
import { LiveServer } from './live.ts';
import type { ConfigSource, LoadedConfig } from './loaded-config.ts';
import { collectMetrics } from './metrics.ts';
import { MetricsServer } from './metrics-server.ts';
import { OwnState } from './own-state.ts';
import { Planner } from './planner.ts';
import { preflight } from './preflight.ts';
import { RegisterNews } from './register-news.ts';
import { Reloader } from './reload.ts';
import { sessionHashKey } from './sessions.ts';
import { StatServer } from './stat-server.ts';
import { nodeStatusInSteps, poolFigures } from './status.ts';
import { statusSources } from './status-sources.ts';
import { Supervisor } from './supervisor.ts';
import { createSync, type SyncEnd } from './sync.ts';
import { SyncStart } from './sync-start.ts';
import { Whereabouts } from './whereabouts.ts';

const WORKER = new URL('../worker.ts', import.meta.url);

export interface PartsOptions {
  readonly daemon: DaemonOptions;
  /** What it starts from. */
  readonly start: StartConfig<LoadedConfig>;
  readonly source: ConfigSource;
  /** Name of this node. */
  readonly node: string;
  readonly log: Logger;
}

/** The parts of an `lbd`, wired: each knows of the others what its options say, and nothing runs yet. */
export class Parts {
  readonly source: ConfigSource;
  readonly node: string;
  /** That it starts with. */
  readonly started: Config;
  readonly events = new EventLog('lbd');
  readonly shared: SharedState;
  readonly planner: Planner;
  readonly table: SessionTable;
  readonly registers: Registers;
  readonly registerNews: RegisterNews;
  readonly monitor: HealthMonitor;
  readonly whereabouts: Whereabouts;
  readonly adminStates: AdminStates;
  readonly learnt: LearntHealth;
  readonly backends: Backends;
  readonly departures: Departures;
  readonly engines: EngineAgreement;
  readonly tls: TlsControl;
  readonly tickets: Tickets;
  readonly supervisor: Supervisor;
  readonly kernel: KernelEngine;
  readonly access = new AccessFiles((level, text) => this.tell(level, 'access', text));
  readonly flows: FlowSync;
  readonly sync: SyncEnd;
  readonly syncStart: SyncStart;
  readonly live: LiveServer;
  readonly ownState: OwnState;
  readonly roles: GroupRoles;
  readonly stat = new StatServer((text) => this.tell('warn', 'live', text));
  readonly metrics: MetricsServer;
  readonly inForce: InForce;
  readonly reloader: Reloader;
  readonly #log: Logger;

  constructor({ daemon, start, source, node, log }: PartsOptions) {
    const { read, substitute } = start;
    const { config, keys } = read.value;
    const { cluster } = config;
    // While the secret is replaced, a node that restarts keeps the hashes of the one that does not; also one of the last
    // release, which does not tell its own.
    const hashKey = sessionHashKey(keys?.at(-1));
    const sessions = SessionTable.create(config.sessions.capacity);
    const access = kernelAccess(join(daemon.runDir, SOCKETS.kernel));
    this.source = source;
    this.node = node;
    this.started = config;
    this.#log = log;
    this.shared = new SharedState(createSharedBuffers(config.workers), -1);
    this.planner = new Planner(this.shared);
    this.table = new SessionTable(sessions, 0, { hashKey });
    this.registers = new Registers(node, (key) => this.registerNews.standing(key));
    this.engines = new EngineAgreement({
      registers: this.registers,
      node,
      peer: cluster?.peer.name,
      tell: (level, text) => this.tell(level, 'kernel', text),
    });
    this.monitor = new HealthMonitor({
      log,
      onUsable: () => this.whereabouts.usableChanged(),
      onChange: (id, report) => {
        this.learnt.learn(id, report);
        this.backends.evaluate(id);
        this.departures.healthChanged(id);
      },
    });
    this.whereabouts = new Whereabouts({
      monitor: this.monitor,
      readdress: (addresses) => this.supervisor.readdress(addresses),
      tell: (level, text) => this.tell(level, 'names', text),
    });
    this.adminStates = new AdminStates({
      directory: daemon.stateDir,
      registers: this.registers,
      knows: (id) => this.backends.has(id),
      isDrained: (id) => this.backends.state(id) === 'drained',
      tell: (level, text) => this.tell(level, 'backend', text),
    });
    this.learnt = new LearntHealth(this.registers, this.monitor);
    this.backends = new Backends({
      shared: this.shared,
      registers: this.registers,
      health: (id) => this.monitor.report(id),
      wasDrained: (id) => this.adminStates.wasDrained(id),
      flows: (id) => this.kernel.flows(id, (frontend, backend) => this.flows.active(frontend, backend)),
      now: () => performance.now(),
      tell: (level, kind, text) => this.tell(level, kind, text),
      cut: (slot, id) => {
        this.supervisor.cut(slot);
        this.kernel.cut(id);
      },
      changed: () => {
        this.adminStates.touch();
        void this.kernel.refresh();
        this.ownState.refresh();
      },
    });
    this.departures = new Departures({
      shared: this.shared,
      health: (id) => this.monitor.report(id),
      now: () => performance.now(),
      tell: (level, text) => this.tell(level, 'reload', text),
      released: () => this.whereabouts.release(this.departures.checked),
    });
    this.tickets = new Tickets({
      leads: () =>
        this.sync.status().state === 'off' ||
        this.sync.status().state === 'connecting' ||
        this.live.roles.some(({ role }) => role === 'active'),
      onChange: () => this.tls.ticketsChanged(),
      tellPeer: () => this.sync.ticketsChanged(),
    });
    this.tls = new TlsControl({
      ticketSecrets: () => this.tickets.secrets,
      tell: (level, text) => this.tell(level, 'tls', text),
      onChange: () => this.inForce.tlsChanged(),
    });
    this.supervisor = new Supervisor({
      count: config.workers,
      entry: WORKER,
      workerData: {
        shared: this.shared.buffers,
        sessions,
        hashKey,
        logLevel: log.level,
        node,
        directIo: config.directIo ?? true,
      },
      log,
      tell: (text) => this.tell('warn', 'worker', text),
      onOpen: (connections) => this.ownState.opened(connections),
      onAccess: (path, lines) => this.access.append(path, lines),
      beats: (index) => this.shared.beats(index),
      onServing: () => this.#servingChanged(),
      onGone: (index) => {
        this.shared.forgetWorker(index);
        this.table.releaseWriter(index + 1);
      },
    });
    this.kernel = new KernelEngine({
      gate: (id) => {
        const slot = this.planner.slot(id);
        return slot === undefined
          ? NO_GATE
          : {
              gate: this.shared.gate(slot),
              weight: this.shared.weight(slot),
              state: this.backends.state(id),
            };
      },
      tell: (level, text) => this.tell(level, 'kernel', text),
      host: access.host,
      onFrontends: (frontends) => this.flows.apply(frontends),
      onChosen: (choices) => this.engines.chosen(choices),
    });
    this.flows = new FlowSync({
      peer: cluster?.peer.name,
      marks: () => this.reloader.config.sync.flowMarks,
      tell: (level, text) => this.tell(level, 'flows', text),
      kernel: access.flows,
    });
    this.sync = createSync({
      table: this.table,
      registers: this.registers,
      cluster,
      keys,
      port: config.sync.port,
      log,
      companion: this.flows.companion,
      tickets: this.tickets.sharing,
      heartbeats: config.ha && {
        maxAgeMs: () => this.#heartbeatMs(),
        onHeartbeat: (datagram) => this.live.sendHeartbeat(datagram),
        onState: () => this.ownState.refresh(),
      },
      onStatus: () => this.#syncChanged(),
    });
    this.syncStart = new SyncStart({
      sync: this.sync,
      tell: (level, text) => this.tell(level, 'sync', text),
    });
    this.live = new LiveServer({
      onRole: (role, before) => this.roles.changed(role, before),
      prepare: () => this.flows.assuming,
      onHeartbeat: (datagram) => this.sync.carry(datagram),
      maxAgeMs: () => this.#heartbeatMs(),
      onTrouble: (text) => this.tell('warn', 'live', text),
    });
    this.ownState = new OwnState(this);
    this.roles = new GroupRoles({
      live: this.live,
      supervisor: this.supervisor,
      kernel: this.kernel,
      flows: this.flows,
      sync: this.sync,
      ownState: this.ownState,
      config: () => this.reloader.config,
      tell: (text) => this.tell('info', 'role', text),
    });
    const sources = statusSources(this);
    const backendMetrics = new BackendMetrics();
    const metricsSources = {
      shared: this.shared,
      planner: this.planner,
      backends: this.backends,
      status: () => nodeStatusInSteps(sources),
      pools: () => poolFigures(sources),
      evictions: () => this.table.evictions,
      accessDropped: () => this.access.dropped,
    };
    this.metrics = new MetricsServer(
      () => collectMetrics(metricsSources, backendMetrics),
      (text) => this.tell('warn', 'metrics', text),
    );
    this.inForce = new InForce(this);
    this.reloader = new Reloader({
      started: { config, fingerprint: read.fingerprint, keys, text: read.text },
      substitute,
      load: async () => {
        const { value, fingerprint, text } = await source.load();
        await this.tls.check(value.config);
        return { config: value.config, fingerprint, keys: value.keys, text };
      },
      preflight,
      checkFit: (next) => this.planner.checkRoom(next),
      apply: (next, keys) => this.inForce.apply(next, keys),
      accepted: (text) => source.keep(text),
      tell: (level, text) => this.tell(level, 'reload', text),
    });
    this.registerNews = new RegisterNews({
      node,
      backends: this.backends,
      learnt: this.learnt,
      engines: this.engines,
      config: () => this.reloader.config,
    });
    this.registers.onChange((key, _value, origin) => this.registerNews.changed(key, origin));
  }

  /** Into the log and the list of events. @returns the time of day, for people */
  tell(level: 'info' | 'warn', kind: string, text: string): string {
    this.#log[level]({ kind }, text);
    return this.events.add(kind, text);
  }

  #syncChanged(): void {
    const { state, why } = this.sync.status();
    // The sync writes the log itself.
    this.events.add('sync', why === '' ? state : `${state}: ${why}`);
    this.ownState.refresh();
  }

  #servingChanged(): void {
    const { serving } = this.supervisor;
    this.tell('warn', 'worker', serving ? 'workers answer again' : 'no worker answers');
    this.ownState.refresh();
  }

  /** Between two heartbeats of an agent. */
  #heartbeatMs(): number {
    return this.reloader.config.ha?.heartbeat.intervalMs ?? 0;
  }
}

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import type { ReadConfig } from '../../common/config-process.ts';
import { type LbdStatus, type ReloadAnswer, refusedReload, SOCKETS } from '../../common/control.ts';
import { serveControl } from '../../common/control-server.ts';
import { count } from '../../common/count.ts';
import type { DaemonOptions } from '../../common/daemon.ts';
import { messageOf, OperatorError } from '../../common/errors.ts';
import { EventLog } from '../../common/events.ts';
import type { Logger } from '../../common/logger.ts';
import type { Config } from '../../common/model.ts';
import type { Keys } from '../../common/secret.ts';
import type { StartConfig } from '../../common/start-config.ts';
import type { FlowRole } from '../flow/flow-roles.ts';
import { FlowSync } from '../flow/flow-sync.ts';
import { kernelAccess } from '../kernel/kernel-access.ts';
import { KernelEngine, NO_GATE } from '../kernel/kernel-engine.ts';
import { AccessFiles } from '../log/access-files.ts';
import { Registers } from '../session/registers.ts';
import { SessionTable } from '../session/table.ts';
import type { OpenByGroup, Plan } from '../shared/plan.ts';
import { createSharedBuffers, SharedState } from '../shared/shared.ts';
import type { PoolTls } from '../tls/backend-tls.ts';
import { Tickets } from '../tls/tickets.ts';
import { TlsControl } from '../tls/tls-control.ts';
import { AdminStates } from './admin-states.ts';
import { Backends } from './care/backends.ts';
import { Departures } from './care/departures.ts';
import { DECAY_INTERVAL_MS, LatencyDecay } from './care/latency-decay.ts';
import { LearntHealth } from './care/learnt-health.ts';
import { controlRoutes } from './control-api.ts';
import { EngineAgreement } from './engine-agreement.ts';
import { explainRoute } from './explain-api.ts';
import { HealthMonitor } from './health/monitor.ts';
import { type LiveRole, LiveServer } from './live.ts';
import type { LoadedConfig } from './loaded-config.ts';
import { collectMetrics } from './metrics.ts';
import { MetricsServer } from './metrics-server.ts';
import { backendIds, Planner } from './planner.ts';
import { bindsOf, preflight } from './preflight.ts';
import { Reloader } from './reload.ts';
import { keyStanding, parseKey } from './replicated.ts';
import { sessionHashKey, sessionRows, sweepSessions } from './sessions.ts';
import { StatServer } from './stat-server.ts';
import { lbdStatus, type StatusSources, statusInSteps } from './status.ts';
import { Supervisor } from './supervisor.ts';
import { createSync } from './sync.ts';
import { Whereabouts } from './whereabouts.ts';

/** A dead backend must not hold up the start: its pool serves with the others meanwhile. */
const FIRST_CHECKS_MS = 5_000;
/** At a stop, so long for the disk to take the latest admin states. */
const SAVE_MS = 1_000;
/** At a stop, so long for the peer to acknowledge the last changes of the session table. */
const FLUSH_MS = 500;
const SYNC_RETRY_MS = 1_000;
/** At a planned change of the active node; a peer that does not answer must not hold it up. */
const RETIRE_FLUSH_MS = 100;
/** A graceful stop waits so long for the other node to become active; it serves meanwhile. */
const HAND_OVER_MS = 1_500;
/** After the other node has become active, clients whose neighbour entry is old still come here. */
const HAND_OVER_TAIL_MS = 500;

const WORKER = new URL('../worker.ts', import.meta.url);

/** Where configs come from, and what becomes of them. */
export interface ConfigSource {
  /** Reads the file again. */
  load(): Promise<ReadConfig<LoadedConfig>>;
  /** A config of this text is in force. */
  keep(text: string): void;
  /** One line each. */
  warnings(): readonly string[];
}

/** The parts of a running `lbd`, wired; nothing runs before `start`. */
export class ControlPlane {
  readonly #options: DaemonOptions;
  readonly #log: Logger;
  readonly #started: Config;
  readonly #source: ConfigSource;
  /** Of the file that it starts from; undefined: it starts from another one. */
  readonly #fileText: string | undefined;
  readonly #events = new EventLog('lbd');
  readonly #shared: SharedState;
  readonly #planner: Planner;
  readonly #table: SessionTable;
  readonly #registers: Registers;
  readonly #monitor: HealthMonitor;
  readonly #whereabouts: Whereabouts;
  readonly #adminStates: AdminStates;
  readonly #learnt: LearntHealth;
  readonly #backends: Backends;
  readonly #departures: Departures;
  readonly #engines: EngineAgreement;
  readonly #tls: TlsControl;
  readonly #tickets: Tickets;
  readonly #supervisor: Supervisor;
  readonly #kernel: KernelEngine;
  readonly #access = new AccessFiles((level, text) => this.#tell(level, 'access', text));
  readonly #flows: FlowSync;
  readonly #sync: ReturnType<typeof createSync>;
  readonly #live: LiveServer;
  readonly #stat = new StatServer((text) => this.#tell('warn', 'live', text));
  readonly #metrics: MetricsServer;
  readonly #reloader: Reloader;
  readonly #node: string;
  /** What was started, to be ended in reverse order. */
  readonly #closers: (() => void | Promise<void>)[] = [];
  /** Socket files that are ours. */
  readonly #sockets: string[] = [];
  /** As last given to the workers, without what TLS needs. */
  #plan: Plan | undefined;
  /** Of the latest config. */
  #applied: Promise<unknown> = Promise.resolve();
  #syncRetry: NodeJS.Timeout | undefined;
  #syncProblem: string | undefined;
  #phase: 'starting' | 'ready' | 'stopping' = 'starting';
  /** Client connections to the VIPs of groups that finish them. */
  #connections: OpenByGroup | undefined;
  /** Called when this node is not active any more. */
  #handedOver: (() => void) | undefined;

  /**
   * @param start what it starts from
   * @param node name of this node
   */
  constructor(
    options: DaemonOptions,
    start: StartConfig<LoadedConfig>,
    source: ConfigSource,
    node: string,
    log: Logger,
  ) {
    const { read, substitute } = start;
    const { config, keys } = read.value;
    const { cluster } = config;
    // While the secret is replaced, a node that restarts keeps the hashes of the one that does not; also one of the last
    // release, which does not tell its own.
    const hashKey = sessionHashKey(keys?.at(-1));
    const sessions = SessionTable.create(config.sessions.capacity);
    const access = kernelAccess(join(options.runDir, SOCKETS.kernel));
    this.#options = options;
    this.#source = source;
    this.#fileText = substitute === undefined ? read.text : undefined;
    this.#log = log;
    this.#node = node;
    this.#started = config;
    this.#shared = new SharedState(createSharedBuffers(config.workers), -1);
    this.#planner = new Planner(this.#shared);
    this.#table = new SessionTable(sessions, 0, { hashKey });
    this.#registers = new Registers(node, (key) =>
      keyStanding(
        key,
        (id) => this.#backends.has(id),
        (id) => this.#hasFrontend(id),
      ),
    );
    this.#engines = new EngineAgreement({
      registers: this.#registers,
      node,
      peer: cluster?.peer.name,
      tell: (level, text) => this.#tell(level, 'kernel', text),
    });
    this.#monitor = new HealthMonitor({
      log,
      onUsable: () => this.#whereabouts.usableChanged(),
      onChange: (id, report) => {
        this.#learnt.learn(id, report);
        this.#backends.evaluate(id);
      },
    });
    this.#whereabouts = new Whereabouts({
      monitor: this.#monitor,
      readdress: (addresses) => this.#supervisor.readdress(addresses),
      tell: (level, text) => this.#tell(level, 'names', text),
    });
    this.#adminStates = new AdminStates({
      directory: options.stateDir,
      registers: this.#registers,
      knows: (id) => this.#backends.has(id),
      isDrained: (id) => this.#backends.state(id) === 'drained',
      tell: (level, text) => this.#tell(level, 'backend', text),
    });
    this.#learnt = new LearntHealth(this.#registers, this.#monitor);
    this.#backends = new Backends({
      shared: this.#shared,
      registers: this.#registers,
      health: (id) => this.#monitor.report(id),
      wasDrained: (id) => this.#adminStates.wasDrained(id),
      flows: (id) => this.#kernel.flows(id, (frontend, backend) => this.#flows.active(frontend, backend)),
      now: () => performance.now(),
      tell: (level, kind, text) => this.#tell(level, kind, text),
      cut: (slot, id) => {
        this.#supervisor.cut(slot);
        this.#kernel.cut(id);
      },
      changed: () => {
        this.#adminStates.touch();
        void this.#kernel.refresh();
        this.#refreshLive();
      },
    });
    this.#departures = new Departures({
      connections: (row) => this.#shared.frontendCounter(row, 'connections'),
      active: (slot) => this.#shared.active(slot),
      now: () => performance.now(),
      tell: (level, text) => this.#tell(level, 'reload', text),
    });
    this.#tickets = new Tickets({
      leads: () =>
        this.#sync.status().state === 'off' ||
        this.#sync.status().state === 'connecting' ||
        this.#live.roles.some(({ role: now }) => now === 'active'),
      onChange: () => this.#tls.ticketsChanged(),
      tellPeer: () => this.#sync.ticketsChanged(),
    });
    this.#tls = new TlsControl({
      ticketSecrets: () => this.#tickets.secrets,
      tell: (level, text) => this.#tell(level, 'tls', text),
      onChange: () => this.#tlsChanged(),
    });
    this.#supervisor = new Supervisor({
      count: config.workers,
      entry: WORKER,
      workerData: {
        shared: this.#shared.buffers,
        sessions,
        hashKey,
        logLevel: log.level,
        node,
        directIo: config.directIo ?? true,
      },
      log,
      tell: (text) => this.#tell('warn', 'worker', text),
      onOpen: (connections) => {
        this.#connections = connections;
        this.#refreshLive();
      },
      onAccess: (path, lines) => this.#access.append(path, lines),
      beats: (index) => this.#shared.beats(index),
      onServing: () => this.#servingChanged(),
      onGone: (index) => {
        this.#shared.forgetWorker(index);
        this.#table.releaseWriter(index + 1);
      },
    });
    this.#kernel = new KernelEngine({
      gate: (id) => {
        const slot = this.#planner.slot(id);
        return slot === undefined
          ? NO_GATE
          : {
              gate: this.#shared.gate(slot),
              weight: this.#shared.weight(slot),
              state: this.#backends.state(id),
            };
      },
      tell: (level, text) => this.#tell(level, 'kernel', text),
      host: access.host,
      onFrontends: (frontends) => this.#flows.apply(frontends),
      onChosen: (choices) => this.#engines.chosen(choices),
    });
    this.#flows = new FlowSync({
      peer: cluster?.peer.name,
      marks: () => this.#reloader.config.sync.flowMarks,
      tell: (level, text) => this.#tell(level, 'flows', text),
      kernel: access.flows,
    });
    this.#sync = createSync({
      table: this.#table,
      registers: this.#registers,
      cluster,
      keys,
      port: config.sync.port,
      log,
      companion: this.#flows.companion,
      tickets: this.#tickets.sharing,
      heartbeats: config.ha && {
        maxAgeMs: () => this.#heartbeatMs(),
        onHeartbeat: (datagram) => this.#live.sendHeartbeat(datagram),
        onState: () => this.#refreshLive(),
      },
      onStatus: () => this.#syncChanged(),
    });
    this.#live = new LiveServer({
      onRole: (role, before) => this.#roleChanged(role, before),
      prepare: () => this.#flows.assuming,
      onHeartbeat: (datagram) => this.#sync.carry(datagram),
      maxAgeMs: () => this.#heartbeatMs(),
      onTrouble: (text) => this.#tell('warn', 'live', text),
    });
    this.#metrics = new MetricsServer(
      () =>
        collectMetrics({
          shared: this.#shared,
          planner: this.#planner,
          status: () => statusInSteps(this.#statusSources()),
          evictions: () => this.#table.evictions,
          accessDropped: () => this.#access.dropped,
        }),
      (text) => this.#tell('warn', 'metrics', text),
    );
    this.#reloader = new Reloader({
      started: { config, fingerprint: read.fingerprint, keys, text: read.text },
      substitute,
      load: async () => {
        const { value, fingerprint, text } = await source.load();
        await this.#tls.check(value.config);
        return { config: value.config, fingerprint, keys: value.keys, text };
      },
      preflight,
      checkFit: (next) => this.#planner.checkRoom(next),
      apply: (next, keys) => this.#apply(next, keys),
      accepted: (text) => source.keep(text),
      tell: (level, text) => this.#tell(level, 'reload', text),
    });
    this.#registers.onChange((key, _value, origin) => this.#registerChanged(key, origin));
  }

  /**
   * In the order in which each depends on the one before: the run directory is ours, the ports are free, the
   * backends are known, the workers listen, the agent hears that this node is ready, the peer may connect.
   *
   * @param partly what cannot serve for want of a certificate is left out
   * @throws OperatorError; whatever was started is ended then
   */
  async start(partly = false): Promise<void> {
    const config = this.#started;
    try {
      await this.#openSockets();
      const problems = await preflight(bindsOf(config));
      if (problems.length > 0) throw new OperatorError('BIND', problems.join('; '));
      this.#closers.push(
        sweepSessions(this.#table),
        () => this.#monitor.close(),
        () => this.#whereabouts.close(),
        () => this.#backends.close(),
        () => this.#departures.close(),
      );
      this.#closers.push(() => this.#tls.close());
      this.#tls.take(await this.#tls.prepare(config, partly));
      await this.#adminStates.load();
      this.#closers.push(() => this.#adminStates.close(SAVE_MS));
      this.#plan = this.#planner.plan(config);
      await this.#checkBackends(config, this.#plan.slots, (pool) => this.#tls.pool(pool));
      this.#access.apply(config);
      this.#closers.push(
        this.#fadeLatencies(),
        () => this.#access.close(),
        () => this.#supervisor.stop(0),
      );
      await this.#supervisor.start(this.#withTls(this.#plan));
      this.#tls.watch();
      this.#closers.push(this.#tickets.start());
      this.#closers.push(() => this.#kernel.close());
      await this.#kernel.apply(config);
      this.#closers.push(() => this.#metrics.close());
      await this.#metrics.apply(config.admin.metrics);
      this.#closers.push(() => this.#flows.close());
      this.#assignFlows();
      this.#phase = 'ready';
      // What is accepted is what all of it serves.
      if (this.#fileText !== undefined && this.#tls.leftOut.length === 0) this.#source.keep(this.#fileText);
      for (const text of this.#reloader.warnings()) this.#tell('warn', 'reload', text);
      this.#tell(
        'info',
        'start',
        `ready: ${count(config.workers, 'worker')}, ${count(config.frontends.length, 'frontend')}`,
      );
      for (const note of this.#notes()) this.#tell('info', 'start', note);
      this.#refreshLive();
      this.#closers.push(
        () => this.#sync.close(),
        () => clearTimeout(this.#syncRetry),
      );
      await this.#startSync();
    } catch (error) {
      await this.#close();
      throw error;
    }
  }

  /** Whether it was started and is not stopping. */
  get ready(): boolean {
    return this.#phase === 'ready';
  }

  /**
   * Reads the config file again; never rejects.
   *
   * @param checkOnly tells what would become of it, and changes nothing
   */
  async reload(checkOnly = false): Promise<ReloadAnswer> {
    if (!this.ready) return refusedReload([`lbd is ${this.#phase}`]);
    return checkOnly ? this.#reloader.check() : this.#reloader.reload();
  }

  /** The access logs were rotated: their files are opened anew. */
  reopenLogs(): void {
    this.#access.reopen();
  }

  /** Tells the agent, stays until the other node is active, lets requests finish for up to `graceMs`, and ends everything. */
  async stop(graceMs: number): Promise<void> {
    this.#phase = 'stopping';
    this.#tell('info', 'stop', `stopping, requests in flight have ${graceMs / 1000} s`);
    this.#refreshLive();
    await this.#handOver();
    await this.#supervisor.stop(graceMs);
    if (this.#sync.status().state === 'synced') await this.#sync.flush(FLUSH_MS);
    await this.#close();
    this.#tell('info', 'stop', 'stopped');
  }

  /** For an exit that leaves no time for `stop`. */
  removeSockets(): void {
    for (const path of this.#sockets) rmSync(path, { force: true });
  }

  status(): LbdStatus {
    return lbdStatus(this.#statusSources());
  }

  #statusSources(): StatusSources {
    return {
      node: this.#node,
      config: () => this.#reloader.config,
      reloadError: () => this.#reloader.error,
      shared: this.#shared,
      planner: this.#planner,
      backends: this.#backends,
      workers: () => this.#supervisor.status,
      sync: () => this.#sync.status(),
      flows: () => this.#flows.status(),
      leaving: () => this.#departures.status(),
      certificates: (frontend) => this.#tls.certificates(frontend),
      engine: (frontend) => this.#kernel.engine(frontend),
      resolved: (id, host) => this.#whereabouts.resolved(id, host),
      warnings: () => this.#warnings(),
      notes: () => this.#notes(),
    };
  }

  async #openSockets(): Promise<void> {
    const { runDir } = this.#options;
    const routes = controlRoutes({
      status: () => this.status(),
      events: () => this.#events.list(),
      reload: (checkOnly) => this.reload(checkOnly),
      backends: this.#backends,
      sessions: {
        size: () => this.#table.size,
        rows: (limit) => sessionRows(this.#table, this.#reloader.config, limit),
        clear: () => this.#table.clear(),
      },
      tell: (kind, text) => this.#tell('info', kind, text),
    });
    const [controlPath, livePath] = [join(runDir, SOCKETS.lbd), join(runDir, SOCKETS.live)];
    const statPath = join(runDir, SOCKETS.stat);
    const explain = explainRoute({
      config: () => this.#reloader.config,
      ask: (frontend, query) => this.#supervisor.explain(frontend, query),
      status: (id) => this.#backends.status(id),
      engine: (frontend) => this.#kernel.engine(frontend),
    });
    const control = await serveControl(controlPath, [...routes, explain]);
    this.#sockets.push(controlPath);
    this.#closers.push(() => control.close());
    // Before the agent connects.
    if (await this.#stat.listen(statPath)) {
      this.#sockets.push(statPath);
      this.#closers.push(() => this.#stat.close());
    }
    await this.#live.listen(livePath);
    this.#sockets.push(livePath);
    this.#closers.push(() => this.#live.close());
  }

  /** Puts the backends of a config in their slots and waits, not for long, until it is known how they are. */
  async #checkBackends(
    config: Config,
    slots: Readonly<Record<string, number>>,
    tlsOf: (pool: string) => PoolTls | undefined,
  ): Promise<void> {
    this.#backends.apply(config, slots);
    await nextTurn();
    this.#whereabouts.follow(config, tlsOf);
    for (const id of backendIds(config)) this.#learnt.seed(id);
    const patience = new AbortController();
    await Promise.race([
      this.#monitor.settled(),
      delay(FIRST_CHECKS_MS, undefined, { signal: patience.signal }).catch(() => {}),
    ]);
    patience.abort();
    await nextTurn();
    this.#backends.evaluate();
  }

  /** @returns what ends it */
  #fadeLatencies(): () => void {
    const decay = new LatencyDecay(this.#shared);
    const timer = setInterval(() => decay.tick(this.#planner.slotsInUse()), DECAY_INTERVAL_MS);
    return () => clearInterval(timer);
  }

  #apply(next: Config, keys: Keys | undefined): Promise<string[]> {
    const applied = this.#putInForce(next, keys);
    this.#applied = applied.catch(() => {});
    return applied;
  }

  /** In turns of a few milliseconds each, however large the config is. */
  async #putInForce(next: Config, keys: Keys | undefined): Promise<string[]> {
    await nextTurn();
    const tls = await this.#tls.prepare(next);
    await nextTurn();
    this.#departures.look();
    const before = this.#plan!;
    const plan = this.#planner.plan(next);
    this.#access.apply(next);
    await this.#checkBackends(next, plan.slots, (pool) => tls.pools.get(pool));
    // Both in one turn: whatever changes for the workers gives them these two together.
    this.#tls.take(tls);
    this.#plan = plan;
    if (keys !== undefined) this.#sync.rekey(keys);
    await nextTurn();
    const problems = await this.#supervisor.update(this.#withTls(plan));
    this.#departures.take(before, plan);
    // The workers have it: what fails from here on is told and does not take it back.
    await this.#kernel
      .apply(next)
      .catch((error: unknown) => problems.push(`kernel engine: ${messageOf(error)}`));
    this.#assignFlows(next);
    await this.#metrics.apply(next.admin.metrics);
    return problems;
  }

  /** With the certificates and addresses of now: they may change between two plans. */
  #withTls(plan: Plan): Plan {
    return { ...plan, tls: this.#tls.material, addresses: this.#whereabouts.addresses };
  }

  /** New certificates: for the workers, and for the health checks. */
  async #tlsChanged(): Promise<readonly string[]> {
    // Else the checks of a config that is being put in force were those of the former one again.
    await this.#applied;
    const plan = this.#plan;
    if (plan === undefined) return [];
    this.#whereabouts.check((pool) => this.#tls.pool(pool));
    this.#refreshLive();
    return this.#supervisor.update(this.#withTls(plan));
  }

  /**
   * Traffic does not wait for the peer: where the sync cannot listen (its address may not be up yet at boot), this
   * node serves alone, says so, and tries again.
   */
  async #startSync(): Promise<void> {
    try {
      await this.#sync.start();
      if (this.#syncProblem !== undefined) this.#tell('info', 'sync', 'session sync runs now');
      this.#syncProblem = undefined;
    } catch (error) {
      const problem = `session sync does not run: ${messageOf(error)}`;
      if (problem !== this.#syncProblem) this.#tell('warn', 'sync', problem);
      this.#syncProblem = problem;
      this.#syncRetry = setTimeout(() => void this.#startSync(), SYNC_RETRY_MS);
    }
  }

  #roleChanged({ group, role, epoch, finishing }: LiveRole, before: LiveRole | undefined): void {
    const { roles } = this.#live;
    if (before?.role !== role || before.epoch !== epoch) {
      const whose = roles.length > 1 ? `group ${group}: ` : '';
      this.#tell('info', 'role', `ha-agent says: ${whose}${role}, epoch ${epoch}`);
    }
    this.#kernel.role(this.#vipsOf(group), role, before?.role);
    this.#assignFlows();
    const retiring = roles.filter((it) => it.finishing !== undefined);
    this.#supervisor.retire(
      Object.fromEntries(retiring.map((it) => [it.group, it.finishing === 'over' ? 'cut' : 'close'])),
    );
    if (finishing === undefined && this.#connections !== undefined) {
      const { [group]: _gone, ...rest } = this.#connections;
      this.#connections = retiring.length === 0 ? undefined : rest;
      this.#refreshLive();
    }
    if (finishing === 'retiring' && before?.finishing !== 'retiring') void this.#retire(group, epoch);
    if (!this.#mustHandOver()) this.#handedOver?.();
  }

  #vipsOf(group: string): string[] {
    const groups = this.#reloader.config.ha?.groups ?? [];
    return groups.find(({ name }) => name === group)?.vips.map(({ address }) => address) ?? [];
  }

  /** Whose flows are whose follows the roles of the VIP groups. */
  #assignFlows({ ha } = this.#reloader.config): void {
    const roles = new Map<string, FlowRole>();
    for (const { name, vips } of ha?.groups ?? []) {
      const known = this.#live.roles.find(({ group }) => group === name);
      const finishes = known?.finishing !== undefined && known.finishing !== 'retiring';
      const role = finishes ? 'finishing' : known?.role === 'active' ? 'active' : 'standby';
      for (const { address } of vips) roles.set(address, role);
    }
    this.#flows.assign(roles);
  }

  /** Clients still come to this node for some VIP. */
  #mustHandOver(): boolean {
    return this.#live.roles.some(({ role, finishing }) => role === 'active' || finishing === 'retiring');
  }

  /** What clients got until now must be known to the peer before they come to it. */
  async #retire(group: string, epoch: number): Promise<void> {
    if (this.#sync.status().state === 'synced') await this.#sync.flush(RETIRE_FLUSH_MS);
    this.#live.sendRetired(group, epoch);
  }

  /** Before a stop: no client must find closed ports, so the listeners stay until the VIPs are elsewhere. */
  async #handOver(): Promise<void> {
    if (!this.#mustHandOver()) return;
    const patience = new AbortController();
    const elsewhere = new Promise<true>((resolve) => {
      this.#handedOver = () => resolve(true);
    });
    const tooLong = delay(HAND_OVER_MS, false, { signal: patience.signal }).catch(() => false);
    const gone = await Promise.race([elsewhere, tooLong]);
    patience.abort();
    if (gone) await delay(HAND_OVER_TAIL_MS);
  }

  #syncChanged(): void {
    const { state, why } = this.#sync.status();
    // The sync writes the log itself.
    this.#events.add('sync', why === '' ? state : `${state}: ${why}`);
    this.#refreshLive();
  }

  #registerChanged(key: string, origin: string): void {
    const about = parseKey(key);
    // What is set within this callback would not be sent.
    if (about?.kind === 'engine') setImmediate(() => this.#engines.look());
    if (about === undefined || !this.#backends.has(about.id)) return;
    if (about.kind === 'health' && origin !== this.#node) this.#learnt.seed(about.id);
    this.#backends.evaluate(about.id);
  }

  /** @param id `node/frontend` */
  #hasFrontend(id: string): boolean {
    const { cluster, frontends } = this.#reloader.config;
    const nodes = [cluster?.self.name, cluster?.peer.name];
    const [node, frontend] = id.split('/');
    return nodes.includes(node) && frontends.some(({ name }) => name === frontend);
  }

  #servingChanged(): void {
    const { serving } = this.#supervisor;
    this.#tell('warn', 'worker', serving ? 'workers answer again' : 'no worker answers');
    this.#refreshLive();
  }

  /** Whether this node is of as much use as it could be. */
  #usable(): { healthy: boolean; why: string } {
    const { leftOut } = this.#tls;
    if (leftOut.length === 0) return this.#backends.usable();
    return { healthy: false, why: `certificates cannot be used, nothing is served: ${leftOut.join(', ')}` };
  }

  #refreshLive(): void {
    const usable = this.#usable();
    const { serving } = this.#supervisor;
    this.#live.setState({
      ready: this.ready,
      healthy: usable.healthy,
      sync: this.#sync.status().state,
      why: !serving ? 'no worker answers' : this.ready ? usable.why : this.#phase,
      serving: serving ? undefined : false,
      stopping: this.#phase === 'stopping' || undefined,
      connections: this.#connections,
      heartbeats: this.#sync.carriage,
    });
  }

  /** Between two heartbeats of an agent. */
  #heartbeatMs(): number {
    return this.#reloader.config.ha?.heartbeat.intervalMs ?? 0;
  }

  #notes(): string[] {
    return this.#started.directIo === false
      ? ['direct_io is false: workers leave all reading and writing to Node']
      : [];
  }

  #warnings(): string[] {
    return [
      ...this.#reloader.warnings(),
      ...this.#source.warnings(),
      ...this.#supervisor.warnings(),
      ...this.#access.warnings(),
      ...this.#backends.warnings(),
      ...this.#whereabouts.warnings(),
      ...this.#adminStates.warnings,
      ...this.#tls.warnings(),
      ...this.#kernel.warnings(),
      ...this.#engines.warnings(),
      ...this.#sync.warnings(),
      ...this.#flows.warnings(),
      ...this.#metrics.warnings(),
      ...this.#stat.warnings,
      this.#syncProblem,
    ].filter((line) => line !== undefined);
  }

  /** @returns the time of day, for people */
  #tell(level: 'info' | 'warn', kind: string, text: string): string {
    this.#log[level]({ kind }, text);
    return this.#events.add(kind, text);
  }

  async #close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
  }
}

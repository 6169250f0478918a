import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type LbdStatus, type ReloadAnswer, refusedReload, SOCKETS } from '../../common/control.ts';
import { serveControl } from '../../common/control-server.ts';
import { count } from '../../common/count.ts';
import { OperatorError } from '../../common/errors.ts';
import { DECAY_INTERVAL_MS, LatencyDecay } from './care/latency-decay.ts';
import { controlRoutes } from './control-api.ts';
import { explainRoute } from './explain-api.ts';
import { Parts, type PartsOptions } from './parts.ts';
import { bindsOf, preflight } from './preflight.ts';
import { sessionRows, sweepSessions } from './sessions.ts';
import { lbdStatus } from './status.ts';
import { notesOf, statusSources } from './status-sources.ts';

/** At a stop, so long for the disk to take the latest admin states. */
const SAVE_MS = 1_000;
/** At a stop, so long for the peer to acknowledge the last changes of the session table. */
const FLUSH_MS = 500;

/** A running `lbd`: begins and ends its parts, each in its turn; nothing runs before `start`. */
export class ControlPlane {
  readonly #parts: Parts;
  readonly #runDir: string;
  /** Of the file that it starts from; undefined: it starts from another one. */
  readonly #fileText: string | undefined;
  /** What was started, to be ended in reverse order. */
  readonly #closers: (() => void | Promise<void>)[] = [];
  /** Socket files that are ours. */
  readonly #sockets: string[] = [];

  constructor(options: PartsOptions) {
    const { read, substitute } = options.start;
    this.#parts = new Parts(options);
    this.#runDir = options.daemon.runDir;
    this.#fileText = substitute === undefined ? read.text : undefined;
  }

  /**
   * In the order in which each depends on the one before: the run directory is ours, the ports are free, the
   * backends are known, the workers listen, the agent hears that this node is ready, the peer may connect.
   *
   * @param partly what cannot serve for want of a certificate is left out
   * @throws OperatorError; whatever was started is ended then
   */
  async start(partly = false): Promise<void> {
    const parts = this.#parts;
    const config = parts.started;
    try {
      await this.#openSockets();
      const problems = await preflight(bindsOf(config));
      if (problems.length > 0) throw new OperatorError('BIND', problems.join('; '));
      this.#closers.push(
        sweepSessions(parts.table),
        () => parts.monitor.close(),
        () => parts.whereabouts.close(),
        () => parts.backends.close(),
        () => parts.departures.close(),
      );
      this.#closers.push(() => parts.tls.close());
      parts.tls.take(await parts.tls.prepare(config, partly));
      await parts.adminStates.load();
      this.#closers.push(() => parts.adminStates.close(SAVE_MS));
      const plan = await parts.inForce.begin(config);
      this.#closers.push(
        this.#fadeLatencies(),
        () => parts.access.close(),
        () => parts.supervisor.stop(0),
      );
      await parts.supervisor.start(plan);
      parts.tls.watch();
      this.#closers.push(parts.tickets.start());
      this.#closers.push(() => parts.kernel.close());
      await parts.kernel.apply(config);
      this.#closers.push(() => parts.metrics.close());
      await parts.metrics.apply(config.admin.metrics);
      this.#closers.push(() => parts.flows.close());
      parts.roles.assignFlows();
      parts.ownState.enter('ready');
      this.#tellReady();
      parts.ownState.refresh();
      this.#closers.push(
        () => parts.sync.close(),
        () => parts.syncStart.close(),
      );
      await parts.syncStart.start();
    } catch (error) {
      await this.#close();
      throw error;
    }
  }

  /** Whether it was started and is not stopping. */
  get ready(): boolean {
    return this.#parts.ownState.phase === 'ready';
  }

  /**
   * Reads the config file again; never rejects.
   *
   * @param checkOnly tells what would become of it, and changes nothing
   */
  async reload(checkOnly = false): Promise<ReloadAnswer> {
    const { ownState, reloader } = this.#parts;
    if (!this.ready) return refusedReload([`lbd is ${ownState.phase}`]);
    return checkOnly ? reloader.check() : reloader.reload();
  }

  /** The access logs were rotated: their files are opened anew. */
  reopenLogs(): void {
    this.#parts.access.reopen();
  }

  /** Tells the agent, stays until the other node is active, lets requests finish for up to `graceMs`, and ends everything. */
  async stop(graceMs: number): Promise<void> {
    const { ownState, roles, supervisor, sync } = this.#parts;
    ownState.enter('stopping');
    this.#parts.tell('info', 'stop', `stopping, requests in flight have ${graceMs / 1000} s`);
    ownState.refresh();
    await roles.handOver();
    await supervisor.stop(graceMs);
    if (sync.status().state === 'synced') await sync.flush(FLUSH_MS);
    await this.#close();
    this.#parts.tell('info', 'stop', 'stopped');
  }

  /** For an exit that leaves no time for `stop`. */
  removeSockets(): void {
    for (const path of this.#sockets) rmSync(path, { force: true });
  }

  status(): LbdStatus {
    return lbdStatus(statusSources(this.#parts));
  }

  async #openSockets(): Promise<void> {
    const { backends, table, reloader, supervisor, kernel, events, stat, live, tls } = this.#parts;
    const routes = controlRoutes({
      status: () => this.status(),
      events: () => events.list(),
      reload: (checkOnly) => this.reload(checkOnly),
      backends,
      sessions: {
        size: () => table.size,
        rows: (limit) => sessionRows(table, reloader.config, limit),
        clear: () => table.clear(),
      },
      tell: (kind, text) => this.#parts.tell('info', kind, text),
    });
    const explain = explainRoute({
      config: () => reloader.config,
      ask: (frontend, query) => supervisor.explain(frontend, query),
      status: (id) => backends.status(id),
      engine: (frontend) => kernel.engine(frontend),
      unserved: (frontend) => tls.unserved(frontend),
    });
    const [controlPath, livePath] = [join(this.#runDir, SOCKETS.lbd), join(this.#runDir, SOCKETS.live)];
    const statPath = join(this.#runDir, SOCKETS.stat);
    const control = await serveControl(controlPath, [...routes, explain]);
    this.#sockets.push(controlPath);
    this.#closers.push(() => control.close());
    // Before the agent connects.
    if (await stat.listen(statPath)) {
      this.#sockets.push(statPath);
      this.#closers.push(() => stat.close());
    }
    await live.listen(livePath);
    this.#sockets.push(livePath);
    this.#closers.push(() => live.close());
  }

  /** @returns what ends it */
  #fadeLatencies(): () => void {
    const { shared, planner } = this.#parts;
    const decay = new LatencyDecay(shared);
    const timer = setInterval(() => decay.tick(planner.slotsInUse()), DECAY_INTERVAL_MS);
    return () => clearInterval(timer);
  }

  #tellReady(): void {
    const { started, source, tls, reloader } = this.#parts;
    const { workers, frontends } = started;
    // What is accepted is what all of it serves.
    if (this.#fileText !== undefined && tls.leftOut.length === 0) source.keep(this.#fileText);
    for (const text of reloader.warnings()) this.#parts.tell('warn', 'reload', text);
    this.#parts.tell(
      'info',
      'start',
      `ready: ${count(workers, 'worker')}, ${count(frontends.length, 'frontend')}`,
    );
    for (const note of notesOf(this.#parts)) this.#parts.tell('info', 'start', note);
  }

  async #close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
  }
}

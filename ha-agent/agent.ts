import { join } from 'node:path';
import { type AgentStatus, SOCKETS } from '../common/control.ts';
import { messageOf, OperatorError } from '../common/errors.ts';
import { type EventLog, monotonicMs } from '../common/events.ts';
import type { Logger } from '../common/logger.ts';
import type { ClusterConfig, Config, HaConfig } from '../common/model.ts';
import { agentStatus } from './agent-status.ts';
import { deadTimeMs, farewellOf, initialState, lateLimitMs, reportOf, step } from './election.ts';
import type { ElectionAction, ElectionConfig, ElectionEvent, ElectionState } from './election-types.ts';
import { Exchange } from './exchange.ts';
import { type FarewellTarget, Guardian } from './guardian.ts';
import type { HeartbeatIdentity } from './heartbeat.ts';
import type { HostNetwork, HostNetworkEvents } from './host-network.ts';
import { LbdLink } from './lbd-link.ts';
import { Notifier } from './notifier.ts';

/** An event of the election without its time, which `#dispatch` adds. */
type Happening = ElectionEvent extends infer E ? (E extends ElectionEvent ? Omit<E, 'now'> : never) : never;

/** A config with the parts that an agent cannot do without. */
export type AgentConfig = Config & { readonly cluster: ClusterConfig; readonly ha: HaConfig };

export interface AgentOptions {
  readonly config: AgentConfig;
  readonly identity: HeartbeatIdentity;
  readonly runDir: string;
  readonly log: Logger;
  readonly events: EventLog;
  /** The host network for this config; another one only in tests. */
  createNetwork(config: AgentConfig, events: HostNetworkEvents): HostNetwork;
}

/** After the VIPs could not be removed for so long, a stop goes on; guardian and lease remain. */
const STOP_TIMEOUT_MS = 4_500;
/** An operator waits so long for the outcome of a switchover. */
const SWITCHOVER_TIMEOUT_MS = 3_000;
const SWITCHOVER_POLL_MS = 5;

/** @throws OperatorError when the config is one of a single load balancer */
export function requireHa(config: Config): AgentConfig {
  const { cluster, ha } = config;
  if (cluster === undefined || ha === undefined)
    throw new OperatorError(
      'NO_CLUSTER',
      `${config.file} has no "cluster" and "ha", so there is nothing for ha-agent to do; lbd runs alone`,
    );
  return { ...config, cluster, ha };
}

/** Drives the election: events in, one step, actions out. Holds every timer and no decision. */
export class Agent {
  #config: AgentConfig;
  #electionConfig: ElectionConfig;
  #state: ElectionState;
  readonly #options: AgentOptions;
  readonly #network: HostNetwork;
  readonly #guardian: Guardian;
  readonly #link: LbdLink;
  readonly #exchange: Exchange;
  readonly #notifier: Notifier;
  #tickTimer: NodeJS.Timeout | undefined;
  #nextTickMs = 0;
  #wakeTimer: NodeJS.Timeout | undefined;
  #answer: ((answer: { ok: boolean; text: string }) => void) | undefined;
  #stopped: (() => void) | undefined;
  #running = false;
  /** What happened before the start: the state of `lbd` and of the interfaces. */
  readonly #early: Happening[] = [];
  #reloadError: string | undefined;
  #sending: Promise<unknown> = Promise.resolve();

  constructor(options: AgentOptions) {
    const { config } = options;
    this.#options = options;
    this.#config = config;
    this.#electionConfig = electionConfig(config, false);
    this.#state = initialState(this.#electionConfig, monotonicMs());
    this.#network = options.createNetwork(config, {
      onInterface: (name, up, why) => this.#onInterface(name, up, why),
      onSettings: (former) => this.#guardian.setSettings(former),
      onTrouble: (text) => this.#trouble('host', text),
    });
    this.#guardian = new Guardian(config.ha.vips, lateLimitMs(this.#electionConfig), farewellTarget(config), {
      onFired: () => this.#dispatch({ type: 'guardian-fired' }),
      onTrouble: (text) => this.#trouble('guardian', text),
    });
    this.#link = new LbdLink(join(options.runDir, SOCKETS.live), {
      onReport: (report) => this.#dispatch({ type: 'lbd', report }),
      onPromoted: (epoch) => this.#dispatch({ type: 'promoted', epoch }),
      onRetired: (epoch) => this.#dispatch({ type: 'retired', epoch }),
    });
    this.#exchange = new Exchange({
      identity: options.identity,
      selfAddress: config.cluster.self.address,
      peerAddress: config.cluster.peer.address,
      now: monotonicMs,
      onHeartbeat: (report, restarted) => this.#dispatch({ type: 'heartbeat', report, restarted }),
      onHello: (role, firstOfProcess) => this.#dispatch({ type: 'hello', role, firstOfProcess }),
      onPath: (name, why) => this.#onPath(name, why),
    });
    this.#notifier = new Notifier((text) => this.#trouble('notify', text));
  }

  /** @throws OperatorError when the host's network cannot be changed */
  async start(): Promise<void> {
    await this.#network.open();
    this.#electionConfig = electionConfig(this.#config, this.#network.secondChance);
    await this.#exchange.open(this.#config.ha.paths, vipAddresses(this.#config));
    await this.#firstReport();
    this.#guardian.start();
    this.#guardian.beat();
    this.#running = true;
    this.#state = { ...this.#state, lastTickMs: monotonicMs() };
    for (const happening of this.#early.splice(0)) this.#dispatch(happening);
    this.#dispatch({ type: 'start' });
    this.#nextTickMs = monotonicMs();
    this.#scheduleTick();
  }

  /**
   * Graceful: the VIPs are removed, seen to be gone, and the peer is told; then open connections finish, for up to the
   * longest `drain_timeout`.
   */
  async stop(): Promise<void> {
    if (this.#running) {
      await new Promise<void>((resolve) => {
        this.#stopped = resolve;
        const giveUp = setTimeout(resolve, STOP_TIMEOUT_MS + this.#electionConfig.drainMs);
        giveUp.unref();
        this.#dispatch({ type: 'stop' });
      });
      await this.#sending;
    }
    this.#running = false;
    clearTimeout(this.#tickTimer);
    clearTimeout(this.#wakeTimer);
    this.#guardian.close();
    this.#link.close();
    await this.#exchange.close();
    await this.#network.close();
  }

  status(): AgentStatus {
    return agentStatus({
      config: this.#config,
      electionConfig: this.#electionConfig,
      state: this.#state,
      now: monotonicMs(),
      heldVips: this.#network.held,
      paths: this.#exchange.status(deadTimeMs(this.#electionConfig, this.#state)),
      peerDigest: this.#exchange.peerDigest,
      guardianAlive: this.#guardian.alive,
      warnings: [
        ...(this.#reloadError === undefined ? [] : [`the config was not reloaded: ${this.#reloadError}`]),
        ...this.#exchange.warnings(),
        ...this.#network.warnings,
      ],
    });
  }

  /**
   * Makes `to` the active node, or the one that is not now.
   *
   * @returns what was done, once it is done
   * @throws OperatorError when it cannot be done, or did not happen in time
   */
  async switchover(to: string | undefined): Promise<string> {
    const { self, peer } = this.#config.cluster;
    if (to !== undefined && to !== self.name && to !== peer.name)
      throw new OperatorError(
        'NO_SUCH_NODE',
        `there is no node "${to}"; the nodes are ${self.name}, ${peer.name}`,
      );
    if (this.#answer !== undefined) throw new OperatorError('BUSY', 'another switchover is under way');
    const wasActive = this.#state.role === 'active';
    if (!this.#running) throw new OperatorError('NOT_RUNNING', 'the agent is just starting or stopping');
    const answer = await new Promise<{ ok: boolean; text: string }>((resolve) => {
      this.#answer = resolve;
      this.#dispatch({
        type: 'switchover',
        to: to === undefined ? undefined : to === self.name ? 'self' : 'peer',
      });
    });
    this.#answer = undefined;
    if (!answer.ok) throw new OperatorError('NO_SWITCHOVER', answer.text);
    const target = to ?? (wasActive ? peer.name : self.name);
    const done = () =>
      target === self.name ? this.#state.vip === 'held' : this.#state.peer?.report.role === 'active';
    const deadline = monotonicMs() + SWITCHOVER_TIMEOUT_MS;
    while (!done()) {
      if (monotonicMs() >= deadline)
        throw new OperatorError(
          'NO_SWITCHOVER',
          `${target} did not become active in time; ${self.name} is ${this.#state.role}: ${this.#state.why}`,
        );
      await new Promise((resolve) => setTimeout(resolve, SWITCHOVER_POLL_MS));
    }
    return `${target} is active`;
  }

  /** Applies another config. What names the pair (cluster, nodes, addresses, secret) needs a restart. */
  async reload(config: AgentConfig): Promise<void> {
    const before = this.#config;
    const fixed = (c: AgentConfig) => JSON.stringify([c.cluster.name, c.cluster.secretFile, names(c)]);
    if (fixed(before) !== fixed(config)) {
      this.refuseReload('cluster name, node names, addresses and secret need a restart of the agent');
      return;
    }
    this.#config = config;
    this.#electionConfig = electionConfig(config, this.#network.secondChance);
    // The next beat is due by the new interval, so the last one must not look late.
    this.#state = { ...this.#state, lastTickMs: monotonicMs() };
    this.#nextTickMs = monotonicMs();
    this.#scheduleTick();
    const { vips, heartbeat, track, paths } = config.ha;
    if (
      differ(vips, before.ha.vips) ||
      differ(heartbeat, before.ha.heartbeat) ||
      differ(paths, before.ha.paths)
    )
      this.#guardian.replace(vips, lateLimitMs(this.#electionConfig), farewellTarget(config));
    for (const name of before.ha.track.interfaces)
      if (!track.interfaces.includes(name)) this.#dispatch({ type: 'interface', name, up: true, why: '' });
    try {
      if (differ(vips, before.ha.vips) || differ(track, before.ha.track))
        await this.#network.configure(vips, track.interfaces);
      this.#electionConfig = electionConfig(config, this.#network.secondChance);
      if (differ(paths, before.ha.paths) || differ(vips, before.ha.vips))
        await this.#exchange.open(paths, vipAddresses(config));
      this.#reloadError = undefined;
      this.#log('info', 'reload', 'the config was reloaded');
    } catch (error) {
      this.refuseReload(messageOf(error));
    }
  }

  /** A new config was bad: the old one stays in force, and `status` says so. */
  refuseReload(why: string): void {
    this.#reloadError = why;
    this.#log('error', 'reload', `the config was not reloaded: ${why}`);
  }

  #firstReport(): Promise<void> {
    this.#link.connect();
    return new Promise((resolve) => {
      const look = () => (this.#link.report === undefined ? setTimeout(look, SWITCHOVER_POLL_MS) : resolve());
      look();
    });
  }

  #scheduleTick(): void {
    clearTimeout(this.#tickTimer);
    const now = monotonicMs();
    this.#nextTickMs = Math.max(this.#nextTickMs + this.#electionConfig.intervalMs, now);
    this.#tickTimer = setTimeout(() => this.#afterPoll(() => this.#tick()), this.#nextTickMs - now);
  }

  #tick(): void {
    if (!this.#running) return;
    this.#dispatch({ type: 'tick' });
    // Only once the heartbeats are out: stopped in between, the guardian would count from a beat that the peer never
    // heard, and remove the VIPs after the peer has taken over.
    void this.#sending.then(() => this.#beat());
    this.#scheduleTick();
  }

  #beat(): void {
    const farewell = farewellOf(this.#electionConfig, this.#state);
    this.#guardian.beat(this.#exchange.encodeNext(farewell, this.#config.digest));
  }

  /** A timer may be late; what the sockets hold by now must be heard before silence is concluded from it. */
  #afterPoll(run: () => void): void {
    setImmediate(run);
  }

  #dispatch(happening: Happening): void {
    if (!this.#running) {
      this.#early.push(happening);
      return;
    }
    const event = { ...happening, now: monotonicMs() } as ElectionEvent;
    const { state, actions, wakeAtMs } = step(this.#electionConfig, this.#state, event);
    this.#state = state;
    for (const action of actions) this.#act(action);
    clearTimeout(this.#wakeTimer);
    this.#wakeTimer = setTimeout(
      () => this.#afterPoll(() => this.#running && this.#dispatch({ type: 'wake' })),
      Math.max(0, wakeAtMs - monotonicMs()),
    );
  }

  #act(action: ElectionAction): void {
    switch (action.type) {
      case 'send':
        for (let i = 0; i < action.copies; i++) this.#send();
        break;
      case 'renew-nonce':
        this.#exchange.renewNonce();
        break;
      case 'tell-lbd':
        this.#link.tell(action.role, action.epoch, action.finishing);
        break;
      case 'add-vips':
        this.#outcome('vips-added', this.#network.addVips());
        break;
      case 'renew-vips':
        this.#outcome('vips-renewed', this.#network.addVips());
        break;
      case 'remove-vips':
        this.#outcome('vips-removed', this.#network.removeVips());
        break;
      case 'park-vips':
        this.#park();
        break;
      case 'renew-parked':
        this.#attempt('the lease of the parked VIPs was not renewed', this.#network.renewParked());
        break;
      case 'unpark-vips':
        this.#attempt('the parked VIPs were not removed', this.#network.unparkVips());
        break;
      case 'forward':
        this.#log('info', 'vip', `forwarding to ${this.#config.cluster.peer.name} what belongs to it`);
        this.#attempt('open connections of the peer break', this.#network.forward());
        break;
      case 'unforward':
        this.#log('info', 'vip', `not forwarding to ${this.#config.cluster.peer.name} any more`);
        this.#attempt('the rules that forward were not removed', this.#network.unforward());
        break;
      case 'announce':
        this.#network.announce();
        break;
      case 'notify':
        this.#notifier.notify(this.#config.ha.notify, action.role);
        break;
      case 'log':
        this.#log(action.level, action.kind, action.text);
        break;
      case 'answer':
        this.#answer?.(action);
        break;
      case 'stopped':
        this.#stopped?.();
        break;
    }
  }

  #park(): void {
    this.#network.parkVips().then(
      (parked) => this.#dispatch({ type: 'vips-removed', error: undefined, parked }),
      (error: unknown) => this.#dispatch({ type: 'vips-removed', error: messageOf(error) }),
    );
  }

  #attempt(failure: string, done: Promise<void>): void {
    done.catch((error: unknown) => this.#trouble('vip', `${failure}: ${messageOf(error)}`));
  }

  #outcome(type: 'vips-added' | 'vips-renewed' | 'vips-removed', done: Promise<void>): void {
    done.then(
      () => this.#dispatch({ type, error: undefined }),
      (error: unknown) => this.#dispatch({ type, error: messageOf(error) }),
    );
  }

  #send(): void {
    const report = reportOf(this.#electionConfig, this.#state, monotonicMs());
    this.#sending = this.#exchange.send(report, this.#config.digest);
  }

  #onInterface(name: string, up: boolean, why: string): void {
    const known = this.#state.downInterfaces.get(name);
    if (up ? known === undefined : known === why) return;
    this.#log(up ? 'info' : 'warn', 'interface', up ? `interface ${name} is up` : why);
    this.#dispatch({ type: 'interface', name, up, why });
  }

  #onPath(name: string, why: string | undefined): void {
    if (why === undefined) this.#log('info', 'path', `heartbeats: ${name} works again`);
    else this.#log('warn', 'path', `heartbeats: ${name} failed: ${why}`);
  }

  #trouble(kind: string, text: string): void {
    this.#log('warn', kind, text);
  }

  #log(level: 'info' | 'warn' | 'error', kind: string, text: string): void {
    this.#options.log[level]({ kind }, text);
    this.#options.events.add(kind, text);
  }
}

function electionConfig({ cluster, ha, pools }: AgentConfig, secondChance: boolean): ElectionConfig {
  return {
    self: cluster.self,
    peer: cluster.peer,
    intervalMs: ha.heartbeat.intervalMs,
    deadAfter: ha.heartbeat.deadAfter,
    preemptDelayMs: ha.preemptDelayMs,
    trackLbd: ha.track.lbd,
    announceCount: ha.garp.count,
    announceRefreshMs: ha.garp.refreshMs,
    secondChance,
    drainMs: pools.reduce((longest, pool) => Math.max(longest, pool.drainTimeoutMs), 0),
  };
}

function vipAddresses({ ha }: AgentConfig): ReadonlySet<string> {
  return new Set(ha.vips.map(({ address }) => address));
}

function farewellTarget({ cluster, ha }: AgentConfig): FarewellTarget | undefined {
  const path = ha.paths.find(({ type }) => type === 'unicast');
  return path && { address: cluster.peer.address, port: path.port };
}

function names({ cluster }: AgentConfig): readonly string[] {
  const { self, peer } = cluster;
  return [self.name, self.address, peer.name, peer.address];
}

function differ(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) !== JSON.stringify(b);
}

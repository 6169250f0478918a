import { join } from 'node:path';
import { ConfigStanding, type Substitute } from '../common/config-standing.ts';
import { type AgentStatus, type ReloadAnswer, refusedReload, SOCKETS } from '../common/control.ts';
import { differingSections } from '../common/digest.ts';
import { messageOf } from '../common/errors.ts';
import { type EventLog, monotonicMs } from '../common/events.ts';
import type { UnmetNeed } from '../common/host-needs.ts';
import type { Logger } from '../common/logger.ts';
import {
  type AgentConfig,
  differ,
  electionConfig,
  guardianPlan,
  leasePlan,
  reasonsAgainst,
  vipAddresses,
  witnessPlan,
} from './agent-config.ts';
import { agentStatus } from './agent-status.ts';
import { deadTimeMs, slownessText } from './election.ts';
import { activeLimitMs, ownDeadTimeMs } from './election-times.ts';
import type { ElectionConfig, PeerReport } from './election-types.ts';
import { Exchange } from './exchange.ts';
import { GroupAgent, type Happening } from './group-agent.ts';
import { GroupSet } from './group-set.ts';
import { Guardian } from './guardian.ts';
import { type HeartbeatIdentity, sameKeys } from './heartbeat.ts';
import type { HostNetwork, HostNetworkEvents } from './host-network.ts';
import { LbdLink } from './lbd-link.ts';
import { LeaseClient } from './lease-client.ts';
import type { LeaseIdentities } from './lease-keys.ts';
import { leaveNetwork, prepareNetwork } from './network-change.ts';
import { Notifier } from './notifier.ts';
import { Pulse } from './pulse.ts';
import { Rehearsal } from './rehearsal.ts';
import { Sightings } from './sightings.ts';
import { onlySyncWarning, SyncLane } from './sync-lane.ts';
import { Witness } from './witness.ts';

export interface AgentOptions {
  readonly config: AgentConfig;
  readonly identity: HeartbeatIdentity;
  /** With which the witness that grants leases is asked. */
  readonly leaseIdentities: LeaseIdentities;
  readonly runDir: string;
  readonly log: Logger;
  readonly events: EventLog;
  /** Where the config is not that of the file. */
  readonly substitute?: Substitute | undefined;
  /** The host network for this config; another one only in tests. */
  createNetwork(config: AgentConfig, events: HostNetworkEvents): HostNetwork;
}

const FIRST_REPORT_POLL_MS = 5;
const PATHS_EVERY_MS = 1000;
const NOT_RUNNING = ['the agent does not run'];

/** The process: sockets, guardian, the link to `lbd`, and one `GroupAgent` for each VIP group. */
export class Agent {
  #config: AgentConfig;
  readonly #options: AgentOptions;
  readonly #network: HostNetwork;
  readonly #guardian: Guardian;
  readonly #link: LbdLink;
  readonly #exchange: Exchange;
  /** Heartbeats beside the session sync; there from the start on. */
  #syncLane: SyncLane | undefined;
  readonly #witness: Witness;
  readonly #leases: LeaseClient;
  readonly #notifiers = new Map<string, Notifier>();
  readonly #groups: GroupSet;
  readonly #rehearsal = new Rehearsal();
  readonly #strangers = new Sightings(monotonicMs, (text) => this.#log('warn', 'peer', text));
  readonly #pulse = new Pulse(() => this.#tick());
  #pathsMs = 0;
  /** The peer was heard by the session sync alone. */
  #onlySync = false;
  #identity: HeartbeatIdentity;
  #running = false;
  #renewing = false;
  readonly #standing: ConfigStanding;
  /** The latest reload; they happen one after the other. */
  #reloading: Promise<unknown> = Promise.resolve();

  constructor(options: AgentOptions) {
    const { config } = options;
    this.#options = options;
    this.#config = config;
    this.#identity = options.identity;
    this.#standing = new ConfigStanding('ha-agent', options.substitute);
    this.#network = options.createNetwork(config, {
      onInterface: (name, up, why) => this.#onInterface(name, up, why),
      onSettings: (former) => this.#guardian.setSettings(former),
      onAdders: (pids) => this.#guardian.setAdders(pids),
      onFormerRoutes: (lines) => this.#guardian.setFormerRoutes(lines),
      onAbility: () => this.#groups.refresh(),
      onTold: (addresses) => this.#guardian.setTold(addresses),
      onTrouble: (text) => this.#log('warn', 'host', text),
    });
    this.#guardian = new Guardian(guardianPlan(config), {
      onFired: () => this.#groups.dispatch({ type: 'guardian-fired' }),
      onTrouble: (text) => this.#log('warn', 'guardian', text),
    });
    this.#link = new LbdLink(join(options.runDir, SOCKETS.live), {
      onReport: () => {
        for (const group of this.#groups.all) group.dispatch(this.#lbdReport(group.name));
      },
      onSyncEnd: (why) => this.#groups.dispatch({ type: 'suspect', sign: 'channel', why }),
      onPromoted: (group, epoch) => this.#groups.find(group)?.dispatch({ type: 'promoted', epoch }),
      onRetired: (group, epoch) => this.#groups.find(group)?.dispatch({ type: 'retired', epoch }),
      onLate: (text) => this.#log('warn', 'lbd', `lbd: ${text}`),
      onUnseen: (why) => this.#log('warn', 'lbd', why),
      onHeartbeat: (datagram, ageMs) => this.#syncLane?.receive(datagram, ageMs),
      onCarriage: () => this.#syncLane?.changed(),
    });
    this.#exchange = new Exchange({
      identity: options.identity,
      selfAddress: config.cluster.self.address,
      peerAddress: config.cluster.peer.address,
      now: monotonicMs,
      onHeartbeat: (group, report, restarted, echoMs) => {
        this.#groups.find(group)?.dispatch({ type: 'heartbeat', report, restarted, echoMs });
        this.#groups.linkCarries();
      },
      onHello: (group, role, isToAnswer) =>
        this.#groups.find(group)?.dispatch({ type: 'hello', role, isToAnswer }),
      onRefused: (path, roundTripMs) =>
        this.#groups.dispatch({
          type: 'suspect',
          sign: 'refused',
          why: `its host refuses heartbeats (${path})`,
          roundTripMs,
        }),
      onPath: (name, why, changes) => this.#onPath(name, why, changes),
      onTrouble: (text) => this.#log('warn', 'path', text),
      onPresence: (why) => this.#onPresence(why),
      onTwin: (report, greater, from) => this.#onTwin(report, greater, from),
    });
    this.#witness = new Witness(witnessPlan(config), {
      onResult: (result) => this.#groups.dispatch({ type: 'witness', result }),
      onTrouble: (text) => this.#log('warn', 'witness', text),
    });
    this.#leases = new LeaseClient({
      plan: leasePlan(config),
      identities: options.leaseIdentities,
      node: config.cluster.self.name,
      selfAddress: config.cluster.self.address,
      onView: (group, view) => this.#groups.find(group)?.dispatch({ type: 'lease', view }),
      onTrouble: (text) => this.#log('warn', 'witness', text),
    });
    this.#groups = new GroupSet(config, {
      create: (name) => this.#createGroup(name),
      electionConfig: (name) => this.#electionConfig(name),
      known: (name) => this.#knownOf(name),
    });
  }

  /** @throws OperatorError when the host's network cannot be changed */
  async start(): Promise<void> {
    for (const text of this.#standing.warnings()) this.#log('error', 'reload', text);
    await this.#network.open();
    this.#configureExchange();
    await this.#exchange.open(this.#config.ha.paths, vipAddresses(this.#config));
    await this.#exchange.addLane((events) => {
      this.#syncLane = new SyncLane(this.#link, events, () => this.#config.ha.heartbeat.intervalMs);
      return this.#syncLane;
    });
    await this.#firstReport();
    this.#guardian.start();
    this.#guardian.beat();
    this.#witness.start();
    this.#leases.open();
    this.#running = true;
    this.#rehearse();
    this.#groups.join();
    this.#pulse.start(this.#config.ha.heartbeat.intervalMs);
  }

  /** Graceful: every group hands over, see `GroupAgent.stop`. */
  async stop(): Promise<void> {
    this.#running = false;
    await this.#groups.stop();
    this.#pulse.stop();
    this.#guardian.close();
    this.#witness.close();
    this.#leases.close();
    this.#link.close();
    await this.#exchange.close();
    await this.#network.close();
  }

  status(): AgentStatus {
    const now = monotonicMs();
    const paths = this.#paths();
    const onlySync = onlySyncWarning(paths, this.#config.cluster.peer.name);
    return agentStatus({
      config: this.#config,
      groups: this.#groups.all,
      now,
      paths,
      peerConfig: this.#exchange.peerConfig,
      guardianAlive: this.#guardian.alive,
      witness: this.#witness.status(),
      lease: this.#leases.status(),
      warnings: [
        ...this.#standing.warnings(),
        ...this.#strangers.warnings(now),
        ...this.#exchange.warnings(),
        ...this.#slownessWarnings(),
        ...(onlySync === undefined ? [] : [onlySync]),
        ...this.#link.warnings,
        ...this.#witness.warnings,
        ...this.#network.warnings,
      ],
      notes: this.#network.notes,
    });
  }

  /**
   * Makes `to` the active node of a group, or the one that is not now.
   *
   * @param wanted name of the group, or `all`; it may be left out where there is only one
   * @returns what was done, once it is done
   * @throws OperatorError when it cannot be done, or did not happen in time
   */
  switchover(to?: string, wanted?: string): Promise<string> {
    return this.#groups.switchover(to, wanted);
  }

  /**
   * Applies another config, or refuses it whole. What names the pair (cluster, nodes, addresses) needs a restart.
   * A group that is no longer there is handed over first. Never rejects.
   *
   * @param unmet what the config needs and this host does not have
   * @param identity with the keys of the secrets as they are now; left out: those in force
   * @param leaseIdentities the same for the witness that grants leases
   */
  reload(
    config: AgentConfig,
    unmet: readonly UnmetNeed[] = [],
    identity?: HeartbeatIdentity,
    leaseIdentities?: LeaseIdentities,
  ): Promise<ReloadAnswer> {
    const done = this.#reloading.then(() =>
      this.#reload(config, unmet, identity ?? this.#identity, leaseIdentities),
    );
    this.#reloading = done;
    return done;
  }

  /** What `reload` would do; nothing is changed. */
  checkReload(
    config: AgentConfig,
    unmet: readonly UnmetNeed[],
    identity: HeartbeatIdentity = this.#identity,
  ): ReloadAnswer {
    const problems = reasonsAgainst(this.#config, config, unmet);
    const isInForce = this.#isInForce(config, identity);
    const outcome = problems.length > 0 ? 'refused' : isInForce ? 'unchanged' : 'accepted';
    return { outcome, changes: this.#changesOf(config, identity), problems, warnings: [] };
  }

  /** A new config was bad: the old one stays in force, and `status` says so. */
  refuseReload(problems: readonly string[]): ReloadAnswer {
    let when = '';
    for (const line of problems) when = this.#log('error', 'reload', `the config was not reloaded: ${line}`);
    this.#standing.refuse(problems, when);
    return refusedReload(problems);
  }

  async #reload(
    config: AgentConfig,
    unmet: readonly UnmetNeed[],
    identity: HeartbeatIdentity,
    leaseIdentities: LeaseIdentities | undefined,
  ): Promise<ReloadAnswer> {
    const before = this.#config;
    const against = this.#running ? reasonsAgainst(before, config, unmet) : NOT_RUNNING;
    if (against.length > 0) return this.refuseReload(against);
    this.#standing.accept();
    if (this.#isInForce(config, identity)) {
      this.#log('info', 'reload', 'the config is unchanged: nothing to do');
      return { outcome: 'unchanged', changes: [], problems: [], warnings: [] };
    }
    const changes = this.#changesOf(config, identity);
    try {
      await prepareNetwork(this.#network, this.#guardian, before, config);
    } catch (error) {
      return this.refuseReload([messageOf(error)]);
    }
    // Looked at after each step that takes time: an agent that is stopped must not start a group, whose VIPs would stay.
    if (!this.#running) return this.refuseReload(NOT_RUNNING);
    for (const name of await this.#groups.leave(config)) {
      this.#link.forget(name);
      this.#leases.forget(name);
      this.#notifiers.delete(name);
    }
    if (!this.#running) return this.refuseReload(NOT_RUNNING);
    this.#apply(config);
    this.#identity = identity;
    this.#exchange.rekey(identity);
    if (leaseIdentities !== undefined) this.#leases.rekey(leaseIdentities);
    const problems = await leaveNetwork(this.#network, this.#guardian, before, config);
    for (const line of problems) this.#log('warn', 'reload', line);
    if (!this.#running) return this.refuseReload(NOT_RUNNING);
    if (differ([config.ha.paths, config.ha.vips], [before.ha.paths, before.ha.vips]))
      await this.#exchange.open(config.ha.paths, vipAddresses(config));
    if (!this.#running) return this.refuseReload(NOT_RUNNING);
    this.#groups.refresh();
    this.#groups.join();
    this.#log(
      'info',
      'reload',
      `the config was reloaded: ${changes.join(', ') || 'nothing changed for the agent'}`,
    );
    return { outcome: 'applied', changes, problems, warnings: [] };
  }

  #isInForce(config: AgentConfig, identity: HeartbeatIdentity): boolean {
    return !differ(config, this.#config) && sameKeys(identity, this.#identity);
  }

  #changesOf({ sectionDigests }: AgentConfig, identity: HeartbeatIdentity): string[] {
    const sections = differingSections(this.#config.sectionDigests, sectionDigests);
    const secrets = sameKeys(identity, this.#identity) ? [] : ['the secrets'];
    return [...sections, ...secrets].map((name) => `${name} changed`);
  }

  /** Everything that takes effect at once. */
  #apply(config: AgentConfig): void {
    const before = this.#config;
    this.#config = config;
    this.#configureExchange();
    this.#groups.apply(config);
    this.#pulse.start(this.#config.ha.heartbeat.intervalMs);
    // The next one may be due later than the guardian has waited for until now.
    this.#beatOnceSent();
    this.#leases.configure(leasePlan(config));
    if (differ(witnessPlan(config), witnessPlan(before))) this.#witness.configure(witnessPlan(config));
  }

  #createGroup(name: string): GroupAgent {
    const trouble = (text: string) => this.#groupLog(name, 'warn', 'notify', text);
    return new GroupAgent(name, this.#electionConfig(name), this.#network.group(name), {
      send: (report) => this.#exchange.send(name, report),
      renewNonce: () => this.#renewNonce(name),
      checkWitness: () => this.#witness.check(),
      wantLease: (isWanted, epoch) => this.#leases.want(name, isWanted, epoch),
      tellLbd: (role, epoch, finishing) => this.#link.tell(name, role, epoch, finishing),
      notify: (role) => {
        const notifier = this.#notifiers.get(name) ?? new Notifier(trouble);
        this.#notifiers.set(name, notifier);
        notifier.notify(this.#config.ha.notify, role, this.#groups.prefix(name) === '' ? undefined : name);
      },
      log: (level, kind, text) => this.#groupLog(name, level, kind, text),
    });
  }

  #electionConfig(group: string): ElectionConfig {
    return electionConfig(this.#config, group, this.#network.group(group).secondChance);
  }

  #configureExchange(): void {
    const { digest, sectionDigests, ha } = this.#config;
    const groups = ha.groups.map(({ name }) => name);
    this.#exchange.configure({ digest, sectionDigests, groups, deadTimeMs: ownDeadTimeMs(ha.heartbeat) });
  }

  /** One process, one nonce: what waited in the sockets must not count as fresh for any group. */
  #renewNonce(from: string): void {
    if (this.#renewing) return;
    this.#renewing = true;
    this.#exchange.renewNonce();
    for (const group of this.#groups.all) if (group.name !== from) group.dispatch({ type: 'wake' });
    this.#renewing = false;
  }

  /** What a group that starts must know of its surroundings. */
  #knownOf(group: string): Happening[] {
    const witness = this.#witness.result;
    return [
      this.#lbdReport(group),
      ...(witness === undefined ? [] : [{ type: 'witness' as const, result: witness }]),
    ];
  }

  #lbdReport(group: string): Extract<Happening, { type: 'lbd' }> {
    const report = this.#link.report!;
    return { type: 'lbd', report: { ...report, connections: report.connections?.[group] } };
  }

  #firstReport(): Promise<void> {
    this.#link.connect();
    return new Promise((resolve) => {
      const look = () =>
        this.#link.report === undefined ? setTimeout(look, FIRST_REPORT_POLL_MS) : resolve();
      look();
    });
  }

  #tick(): void {
    this.#groups.dispatch({ type: 'tick' });
    // After the heartbeats: one that is not sent any more is not followed by a renewal, which would hold up the peer.
    this.#leases.beat();
    // Only once the heartbeats are out: stopped in between, the guardian would count from a beat that the peer never
    // heard, and remove the VIPs after the peer has taken over.
    this.#beatOnceSent();
    if (this.#groups.all.some(({ state }) => state.role === 'standby')) this.#rehearse();
    this.#lookAtPaths();
  }

  /** Before the first takeover, and now and then while one may come. */
  #rehearse(): void {
    const [first] = this.#config.ha.groups;
    if (first === undefined || !this.#rehearsal.isDue(monotonicMs())) return;
    this.#rehearsal.play(this.#electionConfig(first.name));
    for (const { name } of this.#config.ha.groups) {
      const failed = (error: unknown) =>
        this.#groupLog(name, 'warn', 'host', `a takeover would fail now: ${messageOf(error)}`);
      this.#network.group(name).rehearse().catch(failed);
    }
  }

  #beatOnceSent(): void {
    void Promise.all(this.#groups.all.map(({ sent }) => sent)).then(() => this.#beat());
  }

  #beat(): void {
    const farewells = this.#groups.all.map(({ farewell }) => farewell);
    const [first] = farewells;
    // It speaks for all groups: an epoch that is too high harms none of them.
    const epoch = Math.max(...farewells.map((farewell) => farewell.epoch));
    this.#guardian.wait(
      Math.min(...this.#groups.all.map(({ config, state }) => activeLimitMs(config, state))),
    );
    this.#guardian.beat(first && this.#exchange.encodeNext({ ...first, epoch }));
  }

  /** What all groups say alike is said once. */
  #slownessWarnings(): string[] {
    const texts = this.#groups.all.map(({ config, state }) => slownessText(config, state));
    return [...new Set(texts)].filter((text) => text !== undefined);
  }

  #paths(): AgentStatus['paths'] {
    const deadTimes = this.#groups.all.map(({ config, state }) => deadTimeMs(config, state));
    return this.#exchange.status(Math.max(0, ...deadTimes));
  }

  /** Now and then: says once that only the session sync is left, and that it is not any more. */
  #lookAtPaths(): void {
    const now = monotonicMs();
    if (now - this.#pathsMs < PATHS_EVERY_MS) return;
    this.#pathsMs = now;
    const text = onlySyncWarning(this.#paths(), this.#config.cluster.peer.name);
    if ((text === undefined) === !this.#onlySync) return;
    this.#onlySync = text !== undefined;
    if (text === undefined)
      this.#log('info', 'path', 'heartbeats come by a path of the config again, or by none');
    else this.#log('warn', 'path', text);
  }

  #onInterface(name: string, up: boolean, why: string): void {
    if (up) this.#exchange.retry();
    if (this.#groups.onInterface(name, up, why))
      this.#log(up ? 'info' : 'warn', 'interface', up ? `interface ${name} is up` : why);
  }

  #onPath(name: string, why: string | undefined, changes = 1): void {
    const flaps = changes > 1 ? `; it changed ${changes} times since the last word` : '';
    if (why === undefined) this.#log('info', 'path', `heartbeats: ${name} works again${flaps}`);
    else this.#log('warn', 'path', `heartbeats: ${name} failed: ${why}${flaps}`);
  }

  /** Something that anybody can send: it is said once, and again when it has been gone for a while. */
  #onPresence(why: string): void {
    const { self, peer } = this.#config.cluster;
    const text = `${peer.name} is heard and not understood: ${why}; ${self.name} does not take that for its death`;
    this.#strangers.add('presence', text);
    this.#groups.dispatch({ type: 'presence', why });
  }

  #onTwin({ role, instance }: PeerReport, greater: boolean, from: string | undefined): void {
    const { self } = this.#config.cluster;
    const who = `instance ${instance ?? 'unknown'}${from === undefined ? '' : `, ${from}`}`;
    const text = `another machine claims the name of this node, ${self.name} (${who}): each needs a name of its own`;
    this.#strangers.add('twin', text);
    this.#groups.dispatch({ type: 'twin', role, greater, why: text });
  }

  #groupLog(group: string, level: 'info' | 'warn' | 'error', kind: string, text: string): void {
    this.#log(level, kind, `${this.#groups.prefix(group)}${text}`);
  }

  /** @returns the time of day that the event carries, for people */
  #log(level: 'info' | 'warn' | 'error', kind: string, text: string): string {
    this.#options.log[level]({ kind }, text);
    return this.#options.events.add(kind, text);
  }
}

import { randomBytes } from 'node:crypto';
import type { AgentStatus, Role } from '../common/control.ts';
import type { PathConfig } from '../common/model.ts';
import { DropLog, PRESENCE } from './drop-causes.ts';
import type { PeerReport } from './election-types.ts';
import { PASS_AT } from './envelope.ts';
import {
  ALL_GROUPS,
  type DropCause,
  groupHash,
  type Heartbeat,
  type HeartbeatIdentity,
  type Mark,
} from './heartbeat.ts';
import { HeartbeatPath, pathId } from './heartbeat-path.ts';
import { readDatagram, seemsOfPeer } from './heartbeat-v2.ts';
import { HeartbeatWriter, type WriterContext } from './heartbeat-writer.ts';
import type { Lane, LaneEvents } from './lane.ts';
import { LaneSet } from './lane-set.ts';
import type { LaneTraffic } from './lane-traffic.ts';
import { isSameProcess, PeerSession } from './peer-session.ts';

/** Proof of life is one for so many dead times, and for so long at least: a busy machine must not lose its peer by it. */
const LIFETIME_DEAD_TIMES = 2;
const MIN_LIFETIME_MS = 1_000;
/** What anybody can cause is told so often at most. */
const TELL_MS = 100;
/** What goes on is said again once it has been away for so long. */
const QUIET_MS = 10_000;
/** A flood that goes on shows itself every few seconds, when the kernel lets it in for a moment. */
const FLOOD_QUIET_MS = 60_000;

export interface ExchangeOptions {
  readonly identity: HeartbeatIdentity;
  readonly selfAddress: string;
  readonly peerAddress: string;
  /** Monotonic, milliseconds. */
  readonly now: () => number;
  /** A fresh heartbeat about a group; see `ElectionEvent`. */
  onHeartbeat(group: string, report: PeerReport, restarted: boolean, echoMs: number | undefined): void;
  /** @param isToAnswer a process of the peer waits for this node's word to prove that it lives */
  onHello(group: string, role: Role, isToAnswer: boolean): void;
  /** The peer's host says that nobody listens at the end of this path. */
  onRefused(path: string, roundTripMs: number): void;
  /** A path failed with this cause, or works (again). */
  onPath(name: string, why: string | undefined, changes?: number): void;
  /** What an operator should mend, once. */
  onTrouble(text: string): void;
  /** Something that claims to be of the peer was heard and not understood. Not authentic. */
  onPresence(why: string): void;
  /** Another process than this one is alive and claims this node's name. `greater`: this process's nonce is the greater one. */
  onTwin(report: PeerReport, greater: boolean, from: string | undefined): void;
}

/** What heartbeats say of this node's config, and which groups it has. */
export interface ExchangeConfig {
  readonly digest: string;
  readonly sectionDigests: string;
  /** Names of the VIP groups. */
  readonly groups: readonly string[];
  /** Silence after which this node counts its peer as dead. */
  readonly deadTimeMs: number;
}

/** What the peer said last of its config, as far as it travels: `digest` is 16 hexadecimal digits. */
export type PeerConfig = Pick<ExchangeConfig, 'digest' | 'sectionDigests'>;

/** The conversation about one group. Each has its own session, so that a loss in one is not hidden by another. */
interface Talk {
  readonly name: string;
  readonly session: PeerSession;
  peerNonce: string | undefined;
  /** When a new process of the peer was last answered at once. */
  answeredMs: number;
}

/** Heartbeats on all paths at once: what goes out, what comes in, and what was thrown away. */
export class Exchange {
  readonly #options: ExchangeOptions;
  readonly #nonce = randomBytes(8).toString('hex');
  readonly #writer: HeartbeatWriter;
  readonly #lanes: LaneSet;
  /** Of processes that claim this node's name. */
  readonly #twin: PeerSession;
  readonly #drops = new DropLog();
  readonly #vips = new Set<string>();
  #identity: HeartbeatIdentity;
  #config: ExchangeConfig = { digest: '', sectionDigests: '', groups: [], deadTimeMs: 0 };
  #hashes: ReadonlyMap<string, string> = new Map();
  /** By `groupHash`. */
  #talks: ReadonlyMap<string, Talk> = new Map();
  #peerConfig: PeerConfig | undefined;
  /** Ids of keys that the peer accepts, by its latest fresh heartbeat. */
  #peerKeys: readonly string[] = [];
  #presenceMs = Number.NEGATIVE_INFINITY;
  #twinMs = Number.NEGATIVE_INFINITY;
  #peerTwinMs = Number.NEGATIVE_INFINITY;
  #floodMs = Number.NEGATIVE_INFINITY;

  constructor(options: ExchangeOptions) {
    this.#options = options;
    this.#identity = options.identity;
    this.#writer = new HeartbeatWriter(this.#nonce, options.identity, options.now());
    this.#twin = this.#createSession();
    this.#lanes = new LaneSet({
      now: options.now,
      onDatagram: (traffic, data, from) => this.#receive(traffic, data, from),
      onRefused: (name, roundTripMs) => options.onRefused(name, roundTripMs),
      onPath: (name, why, changes) => options.onPath(name, why, changes),
      onDiffer: (text) => options.onTrouble(text),
    });
  }

  /** undefined before the peer was heard. */
  get peerConfig(): PeerConfig | undefined {
    return this.#peerConfig;
  }

  /** Groups that stay keep what they know of the peer. */
  configure(config: ExchangeConfig): void {
    this.#config = config;
    this.#hashes = new Map(config.groups.map((name) => [name, groupHash(name)]));
    const known = this.#talks;
    this.#talks = new Map(
      config.groups.map((name) => {
        const hash = this.#hashes.get(name)!;
        return [hash, known.get(hash) ?? this.#createTalk(name)];
      }),
    );
    for (const session of this.#sessions()) session.stepsPerRound = Math.max(1, config.groups.length);
  }

  /** Other keys, such as after the secret was replaced. */
  rekey(identity: HeartbeatIdentity): void {
    this.#identity = identity;
    this.#writer.rekey(identity);
    for (const { filter } of this.#lanes.all) filter.rekey(identity);
  }

  /**
   * Replaces the paths of the config; those that stay go on, and those that the peer still uses go on for as long as it
   * does. Settles when each is open or has failed.
   *
   * @param vips never the address by which an interface is named to the kernel
   */
  open(paths: readonly PathConfig[], vips: ReadonlySet<string>): Promise<void> {
    const { selfAddress, peerAddress } = this.#options;
    this.#vips.clear();
    for (const vip of vips) this.#vips.add(vip);
    return this.#lanes.open(
      paths.map((config) => ({
        id: pathId(config),
        create: (events) =>
          new HeartbeatPath({ config, selfAddress, peerAddress, vips: this.#vips, ...events }),
      })),
    );
  }

  /** One more way to the peer, beside the paths of the config; for the life of this exchange. */
  addLane(create: (events: LaneEvents) => Lane): Promise<void> {
    return this.#lanes.add(create);
  }

  /**
   * Sends one round about a group on every path.
   *
   * @returns settles when one path has taken it or all have refused it; never rejects, and never settles where all stall
   */
  send(group: string, report: PeerReport): Promise<void> {
    const hash = this.#hashes.get(group);
    if (hash === undefined) return Promise.resolve();
    const talk = this.#talks.get(hash)!;
    const now = this.#options.now();
    this.#renewV2Nonce(now);
    for (const traffic of this.#lanes.all)
      if (traffic.filter.look(now, this.#identity, this.#talks.size / report.intervalMs))
        this.#tellFlood(traffic, now);
    return this.#lanes.send(this.#writer.round(hash, talk.session, report, this.#context(), now));
  }

  /**
   * A heartbeat of a later round about all groups, for somebody else to send when this process cannot any more.
   *
   * @returns the same buffer as before for as long as that one is still good; undefined where no path leads to the peer's own address
   */
  encodeNext(report: PeerReport): Buffer | undefined {
    const path = this.#lanes.unicast;
    const talks = [...this.#talks];
    // The peer's process is the same for all groups; each session may have found out at another moment.
    const [hash, talk] = talks.find(([, { session }]) => session.current !== undefined) ?? talks[0] ?? [];
    if (path < 0 || hash === undefined || talk === undefined) return undefined;
    const group = talks.length === 1 ? hash : ALL_GROUPS;
    return this.#writer.farewell(group, talk.session, report, path, this.#context(), this.#options.now());
  }

  /** After a pause: what waited in the sockets must not count, and what was made in advance has been sent. */
  renewNonce(): void {
    const now = this.#options.now();
    this.#writer.renew(now, this.#talks.size);
    // Heartbeats carry whole milliseconds: the answer to the next one must not look as if it came before.
    for (const session of this.#sessions()) session.forgetBefore(Math.floor(now));
  }

  /** An interface is there again. */
  retry(): void {
    this.#lanes.retry();
  }

  /** @param deadTimeMs silence after which a path counts as silent */
  status(deadTimeMs: number): AgentStatus['paths'] {
    return this.#lanes.status(deadTimeMs);
  }

  /** What an operator should mend. */
  warnings(): string[] {
    const floods = this.#lanes.all.flatMap(({ filter }) => filter.warning ?? []);
    return [...floods, ...this.#drops.warnings(this.#options.now()), ...this.#lanes.warnings()];
  }

  close(): Promise<void> {
    return this.#lanes.close();
  }

  #createTalk(name: string): Talk {
    const answeredMs = Number.NEGATIVE_INFINITY;
    return { name, session: this.#createSession(), peerNonce: undefined, answeredMs };
  }

  #createSession(): PeerSession {
    return new PeerSession({ nonce: this.#nonce, drawnMs: (nonce) => this.#writer.v2.timeOf(nonce) });
  }

  #sessions(): PeerSession[] {
    return [this.#twin, ...[...this.#talks.values()].map(({ session }) => session)];
  }

  #context(): WriterContext {
    const { digest, sectionDigests, groups, deadTimeMs } = this.#config;
    return {
      ...{ digest, sectionDigests, deadTimeMs, groups: groups.length },
      lifetimeMs: this.#lifetimeMs(),
      paths: this.#lanes.ids,
      ways: this.#lanes.ways,
      peerKeys: this.#peerKeys,
      twin: this.#twin,
    };
  }

  /** So that what a process of the last release said long ago proves nothing. */
  #renewV2Nonce(now: number): void {
    const lifetimeMs = this.#lifetimeMs();
    if (now - this.#writer.v2.drawnMs < lifetimeMs / 2) return;
    const talks = [...this.#talks.values()];
    const isSpoken = talks.every(({ session }) => session.version === 2 && session.isProven(now, lifetimeMs));
    if (!isSpoken) this.#writer.v2.renew(now);
  }

  #lifetimeMs(heartbeat?: PeerReport): number {
    const deadTimeMs = Math.max(
      this.#config.deadTimeMs,
      heartbeat?.deadTimeMs ?? 0,
      heartbeat?.intervalMs ?? 0,
    );
    return Math.max(MIN_LIFETIME_MS, LIFETIME_DEAD_TIMES * deadTimeMs);
  }

  #receive(traffic: LaneTraffic, data: Buffer, from: string | undefined): void {
    const read = readDatagram(this.#identity, data, this.#isOld);
    if (!read.ok) {
      this.#drop(traffic, read.cause);
      this.#considerPresence(read.cause, data, from);
      return;
    }
    const { heartbeat } = read;
    const hasPass = heartbeat.version === 3 && data.readUInt32BE(PASS_AT) !== 0;
    if (read.self) this.#hearOwnName(traffic, heartbeat, from);
    // It is meant for the last release: the same process says the same in the format of this one.
    else if (read.marked === true) this.#threw(traffic, this.#options.now());
    else if (heartbeat.group === ALL_GROUPS)
      for (const talk of this.#talks.values()) this.#hear(traffic, talk, heartbeat, hasPass);
    else {
      const talk = this.#talks.get(heartbeat.group);
      if (talk === undefined) this.#drop(traffic, 'group');
      else this.#hear(traffic, talk, heartbeat, hasPass);
    }
  }

  /** About one group it is for that conversation to say; about all of them each says so when it hears it. */
  readonly #isOld = ({ group, nonce, counter, path }: Mark): boolean =>
    this.#talks.get(group)?.session.isOld(nonce, counter, path) === true;

  #hear(traffic: LaneTraffic, talk: Talk, heartbeat: Heartbeat, hasPass: boolean): void {
    const now = this.#options.now();
    const { nonce } = heartbeat;
    const isKnown = talk.session.knows(nonce);
    const freshness = talk.session.accept(heartbeat, now, this.#lifetimeMs(heartbeat));
    if (freshness === 'replay' || freshness === 'twin') {
      this.#drop(traffic, freshness);
      if (freshness === 'twin') this.#tellPeerTwin(now);
      return;
    }
    traffic.received++;
    // A path on which recorded ones come is not one on which the peer is heard.
    if (freshness !== 'hello') traffic.seenMs = now;
    // What somebody has recorded of an older release says nothing of the peer of now.
    if (nonce === talk.session.current) traffic.filter.passes = hasPass;
    if (freshness === 'fresh') {
      const restarted = talk.peerNonce === undefined || !isSameProcess(talk.peerNonce, nonce);
      talk.peerNonce = nonce;
      this.#peerConfig = { digest: heartbeat.configDigest, sectionDigests: heartbeat.sectionDigests };
      this.#peerKeys = heartbeat.keys;
      this.#lanes.peerSpeaksOn(heartbeat.paths);
      this.#options.onHeartbeat(talk.name, heartbeat, restarted, talk.session.heardOfUs(heartbeat, now));
    } else if (freshness === 'hello') {
      const isFirst = !isKnown && now - talk.answeredMs >= TELL_MS / 2;
      // All groups have one nonce: another one would make the answers void that are on their way to the one of just now.
      const isDue = now - this.#writer.v2.drawnMs >= TELL_MS / 2;
      const isUndecided = isDue && talk.session.isUndecided(heartbeat);
      if (isFirst) talk.answeredMs = now;
      // The former process may have heard the nonce of now: the answer to another one shows which is the later one.
      if (isUndecided || (isFirst && isDue && heartbeat.version === 2 && talk.session.version === 2))
        this.#writer.v2.renew(now);
      this.#options.onHello(talk.name, heartbeat.role, isFirst || isUndecided);
    }
  }

  #hearOwnName(traffic: LaneTraffic, heartbeat: Heartbeat, from: string | undefined): void {
    this.#drop(traffic, 'self');
    if (heartbeat.version === 2 || heartbeat.nonce === this.#nonce) return;
    const now = this.#options.now();
    const freshness = this.#twin.accept(heartbeat, now, this.#lifetimeMs(heartbeat));
    if (freshness !== 'fresh' || now - this.#twinMs < TELL_MS) return;
    this.#twinMs = now;
    this.#options.onTwin(heartbeat, this.#nonce > heartbeat.nonce, from);
  }

  #tellPeerTwin(now: number): void {
    const isNews = now - this.#peerTwinMs >= QUIET_MS;
    this.#peerTwinMs = now;
    if (isNews) this.#options.onTrouble('heartbeats come from two machines that claim the name of the peer');
  }

  #considerPresence(cause: DropCause, data: Buffer, from: string | undefined): void {
    const why = PRESENCE[cause];
    if (why === undefined) return;
    const now = this.#options.now();
    if (now - this.#presenceMs < TELL_MS) return;
    if (from !== this.#options.peerAddress && !seemsOfPeer(this.#identity, data)) return;
    this.#presenceMs = now;
    this.#options.onPresence(why);
  }

  /** A datagram that is of no use, so that many of them are a flood. */
  #threw(traffic: LaneTraffic, now: number): void {
    if (traffic.filter.threw(now, this.#identity)) this.#tellFlood(traffic, now);
  }

  /** What comes and goes with the flood is said when it begins, and again once it has been away. */
  #tellFlood({ filter }: LaneTraffic, now: number): void {
    const { warning } = filter;
    if (warning === undefined) return;
    const isNews = now - this.#floodMs >= FLOOD_QUIET_MS;
    this.#floodMs = now;
    if (isNews) this.#options.onTrouble(warning);
  }

  #drop(traffic: LaneTraffic, cause: DropCause): void {
    traffic.dropped[cause] = (traffic.dropped[cause] ?? 0) + 1;
    const now = this.#options.now();
    this.#drops.add(cause, now);
    this.#threw(traffic, now);
  }
}

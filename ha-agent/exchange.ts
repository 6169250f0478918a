import { randomBytes } from 'node:crypto';
import type { AgentStatus, Role } from '../common/control.ts';
import type { PathConfig } from '../common/model.ts';
import type { PeerReport } from './election-types.ts';
import {
  ALL_GROUPS,
  DROP_CAUSES,
  type DropCause,
  decodeHeartbeat,
  encodeHeartbeat,
  groupHash,
  type Heartbeat,
  type HeartbeatIdentity,
  NO_NONCE,
} from './heartbeat.ts';
import { HeartbeatPath } from './heartbeat-path.ts';
import { PeerSession, renewedNonce } from './peer-session.ts';

/** Drops by these causes are how a network is; the others want an operator for so long after the last one. */
const HARMLESS: ReadonlySet<DropCause> = new Set(['self', 'cluster']);
const WARN_MS = 10_000;
/** The counter of a farewell runs ahead of so many rounds that may go out after it. */
const FAREWELL_AHEAD = 16;
/** Another one is made after so many rounds; until then it is ahead of all that may go out before the next beat. */
const FAREWELL_ROUNDS = 8;

export interface ExchangeOptions {
  readonly identity: HeartbeatIdentity;
  readonly selfAddress: string;
  readonly peerAddress: string;
  readonly now: () => number;
  /** A fresh heartbeat about a group; see `ElectionEvent`. */
  onHeartbeat(group: string, report: PeerReport, restarted: boolean): void;
  onHello(group: string, role: Role, firstOfProcess: boolean): void;
  /** The peer's host says that nobody listens at the end of this path. */
  onRefused(path: string, roundTripMs: number): void;
  /** A path failed with this cause, or works (again). */
  onPath(name: string, why: string | undefined): void;
}

interface Lane {
  readonly config: PathConfig;
  readonly path: HeartbeatPath;
  sent: number;
  received: number;
  seenMs: number | undefined;
  readonly dropped: Partial<Record<DropCause, number>>;
}

/** What heartbeats say of this node's config, and which groups it has. */
export interface ExchangeConfig {
  readonly digest: string;
  readonly sectionDigests: string;
  /** Names of the VIP groups. */
  readonly groups: readonly string[];
}

/** What the peer said last of its config, as far as it travels: `digest` is 16 hexadecimal digits. */
export type PeerConfig = Omit<ExchangeConfig, 'groups'>;

/** The conversation about one group. Each has its own session, so that a loss in one is not hidden by another. */
interface Talk {
  readonly name: string;
  readonly session: PeerSession;
  peerNonce: string | undefined;
  helloNonce: string | undefined;
}

/** Heartbeats on all paths at once: what goes out, what comes in, and what was thrown away. */
export class Exchange {
  readonly #options: ExchangeOptions;
  #nonce = newNonce();
  #config: ExchangeConfig = { digest: '', sectionDigests: '', groups: [] };
  #hashes: ReadonlyMap<string, string> = new Map();
  /** By `groupHash`. */
  #talks: ReadonlyMap<string, Talk> = new Map();
  readonly #vips = new Set<string>();
  #lanes: readonly Lane[] = [];
  #counter = 0;
  #peerConfig: PeerConfig | undefined;
  readonly #lastDropMs = new Map<DropCause, number>();
  /** What `encodeNext` made last: of what, and for how long it is good. */
  #next: { readonly said: string; readonly until: number; readonly datagram: Buffer } | undefined;

  constructor(options: ExchangeOptions) {
    this.#options = options;
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
        const session = () => new PeerSession(this.#nonce);
        const talk = known.get(hash) ?? {
          name,
          session: session(),
          peerNonce: undefined,
          helloNonce: undefined,
        };
        talk.session.stepsPerRound = config.groups.length;
        return [hash, talk];
      }),
    );
  }

  /**
   * Replaces the paths; those that stay go on. Settles when each is open or has failed.
   *
   * @param vips never the address by which an interface is named to the kernel
   */
  async open(paths: readonly PathConfig[], vips: ReadonlySet<string>): Promise<void> {
    this.#vips.clear();
    for (const vip of vips) this.#vips.add(vip);
    const before = this.#lanes;
    const known = new Map(before.map((lane) => [JSON.stringify(lane.config), lane]));
    const lanes = paths.map((config) => known.get(JSON.stringify(config)) ?? this.#createLane(config));
    this.#lanes = lanes.filter((lane) => before.includes(lane));
    // A new path may use the port of an old one.
    await Promise.all(before.filter((lane) => !lanes.includes(lane)).map(({ path }) => path.close()));
    this.#lanes = lanes;
    await Promise.all(lanes.filter((lane) => !before.includes(lane)).map(({ path }) => path.open()));
  }

  #createLane(config: PathConfig): Lane {
    const { selfAddress, peerAddress } = this.#options;
    const lane: Lane = {
      config,
      path: new HeartbeatPath({
        config,
        selfAddress,
        peerAddress,
        vips: this.#vips,
        onDatagram: (data) => this.#receive(lane, data),
        onRefused: (roundTripMs) => this.#options.onRefused(lane.path.name, roundTripMs),
        onState: (why) => this.#options.onPath(lane.path.name, why),
      }),
      sent: 0,
      received: 0,
      seenMs: undefined,
      dropped: {},
    };
    return lane;
  }

  /**
   * Sends one round about a group on every path.
   *
   * @returns settles when the kernel has taken all of them or refused them; never rejects
   */
  async send(group: string, report: PeerReport): Promise<void> {
    const hash = this.#hashes.get(group);
    if (hash === undefined) return;
    const { session } = this.#talks.get(hash)!;
    const counter = ++this.#counter;
    const { identity } = this.#options;
    await Promise.all(
      this.#lanes.map(async (lane, path) => {
        const heartbeat = { ...this.#heartbeat(hash, session, report, path), counter };
        if (await lane.path.send(encodeHeartbeat(identity, heartbeat))) lane.sent++;
      }),
    );
  }

  /**
   * A heartbeat of a later round about all groups, for somebody else to send when this process cannot any more.
   *
   * @returns the same buffer as before for as long as that one is still good; undefined where no path leads to the peer's own address
   */
  encodeNext(report: PeerReport): Buffer | undefined {
    const path = this.#lanes.findIndex((lane) => lane.path.unicast);
    const talks = [...this.#talks];
    // The peer's process is the same for all groups; each session may have found out at another moment.
    const [hash, talk] = talks.find(([, { session }]) => session.echo !== NO_NONCE) ?? talks[0] ?? [];
    if (path < 0 || hash === undefined || talk === undefined) return undefined;
    const group = talks.length === 1 ? hash : ALL_GROUPS;
    const next = this.#heartbeat(group, talk.session, report, path);
    const said = JSON.stringify(next);
    if (this.#next?.said !== said || this.#counter > this.#next.until) {
      const counter = this.#counter + FAREWELL_AHEAD * talks.length;
      const datagram = encodeHeartbeat(this.#options.identity, { ...next, counter });
      this.#next = { said, until: this.#counter + FAREWELL_ROUNDS * talks.length, datagram };
    }
    return this.#next.datagram;
  }

  #heartbeat(
    group: string,
    session: PeerSession,
    report: PeerReport,
    path: number,
  ): Omit<Heartbeat, 'counter'> {
    return {
      ...report,
      group,
      configDigest: this.#config.digest.slice(0, 16),
      sectionDigests: this.#config.sectionDigests,
      nonce: this.#nonce,
      echo: session.echo,
      helloEcho: session.helloEcho,
      path,
    };
  }

  renewNonce(): void {
    this.#nonce = renewedNonce(this.#nonce);
    for (const { session } of this.#talks.values()) session.renewOwnNonce(this.#nonce);
  }

  /** @param deadTimeMs silence after which a path counts as silent */
  status(deadTimeMs: number): AgentStatus['paths'] {
    const now = this.#options.now();
    return this.#lanes.map(({ path, sent, received, seenMs, dropped }) => {
      const seen_ms_ago = seenMs === undefined ? undefined : Math.round(now - seenMs);
      const silent = seen_ms_ago === undefined || seen_ms_ago >= deadTimeMs;
      const state = path.why !== undefined ? 'failed' : silent ? 'silent' : 'up';
      const silence = seen_ms_ago === undefined ? 'the peer was never heard' : `silent for ${seen_ms_ago} ms`;
      const why = path.why ?? (silent ? silence : '');
      return { name: path.name, state, seen_ms_ago, sent, received, dropped: { ...dropped }, why };
    });
  }

  /** Drops of the last seconds that an operator should mend. */
  warnings(): string[] {
    const now = this.#options.now();
    return DROP_CAUSES.filter((cause) => {
      const at = this.#lastDropMs.get(cause);
      return at !== undefined && now - at < WARN_MS && !HARMLESS.has(cause);
    }).map((cause) => `heartbeats are thrown away (${cause}): ${EXPLANATIONS[cause]}`);
  }

  async close(): Promise<void> {
    await Promise.all(this.#lanes.map(({ path }) => path.close()));
  }

  #receive(lane: Lane, data: Buffer): void {
    const decoded = decodeHeartbeat(this.#options.identity, data);
    if (!decoded.ok) {
      this.#drop(lane, decoded.cause);
      return;
    }
    const { heartbeat } = decoded;
    if (heartbeat.group === ALL_GROUPS) {
      for (const talk of this.#talks.values()) this.#hear(lane, talk, heartbeat);
      return;
    }
    const talk = this.#talks.get(heartbeat.group);
    if (talk === undefined) this.#drop(lane, 'group');
    else this.#hear(lane, talk, heartbeat);
  }

  #hear(lane: Lane, talk: Talk, heartbeat: Heartbeat): void {
    const { nonce } = heartbeat;
    const freshness = talk.session.accept(heartbeat);
    if (freshness === 'replay') {
      this.#drop(lane, 'replay');
      return;
    }
    lane.received++;
    lane.seenMs = this.#options.now();
    if (freshness === 'fresh') {
      const restarted = talk.peerNonce !== nonce;
      talk.peerNonce = nonce;
      this.#peerConfig = { digest: heartbeat.configDigest, sectionDigests: heartbeat.sectionDigests };
      this.#options.onHeartbeat(talk.name, heartbeat, restarted);
    } else if (freshness === 'hello') {
      const firstOfProcess = talk.helloNonce !== nonce;
      talk.helloNonce = nonce;
      this.#options.onHello(talk.name, heartbeat.role, firstOfProcess);
    }
  }

  #drop(lane: Lane, cause: DropCause): void {
    lane.dropped[cause] = (lane.dropped[cause] ?? 0) + 1;
    this.#lastDropMs.set(cause, this.#options.now());
  }
}

const EXPLANATIONS: Readonly<Record<DropCause, string>> = {
  truncated: 'too short to be a heartbeat; another program sends to this port',
  magic: 'not a heartbeat; another program sends to this port',
  version: 'the peer runs another version of Tandem',
  cluster: 'from another cluster',
  self: 'its own',
  sender: 'from a node that is not in this config',
  auth: 'wrong signature; the peer has another secret, or somebody forges heartbeats',
  malformed: 'signed, but with values that do not exist; the peer runs another version of Tandem',
  group: 'about a VIP group that this config does not have; the peer has another config',
  replay:
    'old ones; a few are usual after a pause of a node, more mean that the network or somebody repeats them',
};

function newNonce(): string {
  return randomBytes(8).toString('hex');
}

import { randomBytes } from 'node:crypto';
import type { AgentStatus, Role } from '../common/control.ts';
import type { PathConfig } from '../common/model.ts';
import type { PeerReport } from './election-types.ts';
import {
  DROP_CAUSES,
  type DropCause,
  decodeHeartbeat,
  encodeHeartbeat,
  type HeartbeatIdentity,
} from './heartbeat.ts';
import { HeartbeatPath } from './heartbeat-path.ts';
import { PeerSession } from './peer-session.ts';

/** Drops by these causes are how a network is; the others want an operator for so long after the last one. */
const HARMLESS: ReadonlySet<DropCause> = new Set(['self', 'cluster']);
const WARN_MS = 10_000;

export interface ExchangeOptions {
  readonly identity: HeartbeatIdentity;
  readonly selfAddress: string;
  readonly peerAddress: string;
  readonly now: () => number;
  /** A fresh heartbeat; see `ElectionEvent`. */
  onHeartbeat(report: PeerReport, restarted: boolean): void;
  onHello(role: Role, firstOfProcess: boolean): void;
  /** A path failed with this cause, or works (again). */
  onPath(name: string, why: string | undefined): void;
}

interface Lane {
  readonly path: HeartbeatPath;
  sent: number;
  received: number;
  seenMs: number | undefined;
  readonly dropped: Partial<Record<DropCause, number>>;
}

/** Heartbeats on all paths at once: what goes out, what comes in, and what was thrown away. */
export class Exchange {
  readonly #options: ExchangeOptions;
  #nonce = newNonce();
  readonly #session = new PeerSession(this.#nonce);
  #lanes: readonly Lane[] = [];
  #counter = 0;
  #peerNonce: string | undefined;
  #helloNonce: string | undefined;
  #peerDigest: string | undefined;
  readonly #lastDropMs = new Map<DropCause, number>();

  constructor(options: ExchangeOptions) {
    this.#options = options;
  }

  /** Digest of the peer's config as it travels, 16 hexadecimal digits; undefined before it was heard. */
  get peerDigest(): string | undefined {
    return this.#peerDigest;
  }

  /** Replaces the paths. Settles when each is open or has failed. */
  async open(paths: readonly PathConfig[], vips: ReadonlySet<string>): Promise<void> {
    const before = this.#lanes;
    this.#lanes = [];
    await Promise.all(before.map(({ path }) => path.close()));
    const { selfAddress, peerAddress } = this.#options;
    const lanes = paths.map((config): Lane => {
      const lane: Lane = {
        path: new HeartbeatPath({
          config,
          selfAddress,
          peerAddress,
          vips,
          onDatagram: (data) => this.#receive(lane, data),
          onState: (why) => this.#options.onPath(lane.path.name, why),
        }),
        sent: 0,
        received: 0,
        seenMs: undefined,
        dropped: {},
      };
      return lane;
    });
    this.#lanes = lanes;
    await Promise.all(lanes.map(({ path }) => path.open()));
  }

  /**
   * Sends one round on every path.
   *
   * @param configDigest the whole digest of the config
   * @returns settles when the kernel has taken all of them or refused them; never rejects
   */
  async send(report: PeerReport, configDigest: string): Promise<void> {
    this.#counter++;
    await Promise.all(
      this.#lanes.map(async (lane, path) => {
        if (await lane.path.send(this.#encode(report, configDigest, this.#counter, path))) lane.sent++;
      }),
    );
  }

  /**
   * A heartbeat of the next round, for somebody else to send when this process cannot any more.
   *
   * @returns undefined where no path leads to the peer's own address
   */
  encodeNext(report: PeerReport, configDigest: string): Buffer | undefined {
    const path = this.#lanes.findIndex((lane) => lane.path.unicast);
    return path < 0 ? undefined : this.#encode(report, configDigest, this.#counter + 1, path);
  }

  #encode(report: PeerReport, configDigest: string, counter: number, path: number): Buffer {
    return encodeHeartbeat(this.#options.identity, {
      ...report,
      configDigest: configDigest.slice(0, 16),
      nonce: this.#nonce,
      echo: this.#session.echo,
      helloEcho: this.#session.helloEcho,
      counter,
      path,
    });
  }

  renewNonce(): void {
    this.#nonce = newNonce();
    this.#session.renewOwnNonce(this.#nonce);
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
    const { nonce } = heartbeat;
    const freshness = this.#session.accept(heartbeat);
    if (freshness === 'replay') {
      this.#drop(lane, 'replay');
      return;
    }
    lane.received++;
    lane.seenMs = this.#options.now();
    if (freshness === 'fresh') {
      const restarted = this.#peerNonce !== nonce;
      this.#peerNonce = nonce;
      this.#peerDigest = heartbeat.configDigest;
      this.#options.onHeartbeat(heartbeat, restarted);
    } else if (freshness === 'hello') {
      const firstOfProcess = this.#helloNonce !== nonce;
      this.#helloNonce = nonce;
      this.#options.onHello(heartbeat.role, firstOfProcess);
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
  replay: 'old ones came again; the network repeats datagrams, or somebody replays them',
};

function newNonce(): string {
  return randomBytes(8).toString('hex');
}

import type { PeerReport } from './election-types.ts';
import type { EnvelopeKey } from './envelope.ts';
import { encodeHeartbeat, type Heartbeat, type HeartbeatIdentity } from './heartbeat.ts';
import { encodeV2, v2Stamp } from './heartbeat-v2.ts';
import type { PeerSession } from './peer-session.ts';
import { V2Nonce } from './v2-nonce.ts';

/** The counter of a farewell runs ahead of so many rounds that may go out after it. */
const FAREWELL_AHEAD = 16;
/** Another one is made after so many rounds; until then it is ahead of all that may go out before the next beat. */
const FAREWELL_ROUNDS = 8;
/** A round goes out in two formats, with two keys, at most. */
const MAX_VARIANTS = 4;

/** What goes with every report. */
export interface WriterContext {
  readonly digest: string;
  readonly sectionDigests: string;
  /** How many there are. */
  readonly groups: number;
  readonly deadTimeMs: number;
  readonly lifetimeMs: number;
  /** Ids of the paths. */
  readonly paths: readonly string[];
  /** Ids of keys that the peer accepts. */
  readonly peerKeys: readonly string[];
  /** Of processes that claim this node's name. */
  readonly twin: PeerSession;
}

/** A round for each path. */
export type Round = (path: number) => readonly Buffer[];

/** A way to say the same: in which format, signed by which key. */
interface Variant {
  readonly version: 2 | 3;
  readonly key: EnvelopeKey;
}

/** What this process says: its name for itself, its count, and in which formats and with which keys it speaks. */
export class HeartbeatWriter {
  readonly #nonce: string;
  readonly #v2: V2Nonce;
  #identity: HeartbeatIdentity;
  #counter = 0;
  /** What `farewell` made last: of what, and for how long it is good. */
  #farewell: { readonly said: string; readonly until: number; readonly datagram: Buffer } | undefined;

  /** @param nonce boot nonce of this process */
  constructor(nonce: string, identity: HeartbeatIdentity, now: number) {
    this.#nonce = nonce;
    this.#identity = identity;
    this.#v2 = new V2Nonce(nonce, now);
  }

  get v2(): V2Nonce {
    return this.#v2;
  }

  rekey(identity: HeartbeatIdentity): void {
    this.#identity = identity;
    this.#farewell = undefined;
  }

  /** After a pause: what was made in advance has been sent. */
  renew(now: number, groups: number): void {
    this.#v2.renew(now);
    this.#counter += 2 * FAREWELL_AHEAD * Math.max(1, groups) * MAX_VARIANTS;
    this.#farewell = undefined;
  }

  /** One round about a group. */
  round(group: string, session: PeerSession, report: PeerReport, context: WriterContext, now: number): Round {
    const variants = this.#variants(session, context, now);
    const heartbeat = this.#heartbeat(group, session, report, context, now);
    const counters = variants.map(() => ++this.#counter);
    return (path) =>
      variants.map((variant, i) => this.#encode(variant, { ...heartbeat, path, counter: counters[i]! }));
  }

  /**
   * A heartbeat of a later round, for somebody else to send when this process cannot any more.
   *
   * @returns the same buffer as before for as long as that one is still good
   */
  farewell(
    group: string,
    session: PeerSession,
    report: PeerReport,
    path: number,
    context: WriterContext,
    now: number,
  ): Buffer {
    const { groups, deadTimeMs } = context;
    const [variant] = this.#variants(session, context, now);
    const said = JSON.stringify([report, group, path, variant, session.current, this.#v2.nonce]);
    if (this.#farewell?.said !== said || this.#counter > this.#farewell.until) {
      const heartbeat = {
        ...this.#heartbeat(group, session, report, context, now),
        ...{ path, counter: this.#counter + FAREWELL_AHEAD * groups * MAX_VARIANTS, ahead: true },
        sentMs: Math.floor(now + FAREWELL_ROUNDS * report.intervalMs + deadTimeMs),
      };
      const datagram = this.#encode(variant!, heartbeat);
      this.#farewell = { said, until: this.#counter + FAREWELL_ROUNDS * groups, datagram };
    }
    return this.#farewell.datagram;
  }

  #heartbeat(
    group: string,
    session: PeerSession,
    report: PeerReport,
    { digest, sectionDigests, paths, lifetimeMs, twin }: WriterContext,
    now: number,
  ): Omit<Heartbeat, 'version' | 'counter' | 'path'> {
    return {
      instance: this.#nonce,
      ...report,
      group,
      configDigest: digest.slice(0, 16),
      sectionDigests,
      nonce: this.#nonce,
      sentMs: Math.floor(now),
      ahead: false,
      echoes: [...session.echoes(now, lifetimeMs), ...twin.echoes(now, lifetimeMs)],
      keys: this.#identity.keys.map(({ id }) => id),
      paths,
    };
  }

  /** All that somebody may wait for; the first one is for the peer's current process. */
  #variants(session: PeerSession, { peerKeys, lifetimeMs }: WriterContext, now: number): Variant[] {
    const heard = session.versionsHeard(now, lifetimeMs);
    const versions = ([3, 2] as const).filter(
      (version) => session.current === undefined || heard.has(version),
    );
    const { keys } = this.#identity;
    const known = keys.find(({ id }) => peerKeys.includes(id));
    const signing = known !== undefined && session.isHeard(now, lifetimeMs) ? [known] : keys;
    return versions
      .toSorted((a, b) => Number(b === session.version) - Number(a === session.version))
      .flatMap((version) => signing.map((key) => ({ version, key })));
  }

  #encode({ version, key }: Variant, heartbeat: Omit<Heartbeat, 'version'>): Buffer {
    if (version === 3) return encodeHeartbeat(this.#identity, heartbeat, key);
    return encodeV2(this.#identity, heartbeat, v2Stamp(this.#v2.nonce, heartbeat.echoes), key);
  }
}

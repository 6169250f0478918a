import type { PeerReport } from './election-types.ts';
import type { EnvelopeKey } from './envelope.ts';
import { encodeHeartbeat, type Heartbeat, type HeartbeatIdentity, onPath } from './heartbeat.ts';
import { encodeV2, v2OnPath, v2Stamp } from './heartbeat-v2.ts';
import { passOf } from './pass.ts';
import type { PeerSession } from './peer-session.ts';
import { V2Nonce } from './v2-nonce.ts';

/** The counter of a farewell runs ahead of so many rounds that may go out after it. */
const FAREWELL_AHEAD = 16;
/** Another one is made after so many rounds; until then it is ahead of all that may go out before the next beat. */
const FAREWELL_ROUNDS = 8;
/** A round goes out in two formats, with two keys, at most. */
const MAX_VARIANTS = 4;

const V3_FIRST = [3, 2] as const;
const V2_FIRST = [2, 3] as const;

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
  /** Of all lanes by their index, see `passOf`. */
  readonly ways: readonly string[];
  /** Ids of keys that the peer accepts. */
  readonly peerKeys: readonly string[];
  /** Of processes that claim this node's name. */
  readonly twin: PeerSession;
}

/** A round for each path. */
export type Round = (path: number) => readonly Buffer[];

/** A heartbeat that has yet to get its count, and its path where that is not the first one. */
type Draft = Omit<Heartbeat, 'version' | 'counter' | 'path' | 'ahead' | 'sentMs'> &
  Pick<{ -readonly [Name in keyof Heartbeat]: Heartbeat[Name] }, 'counter' | 'path' | 'ahead' | 'sentMs'>;

/** A way to say the same: in which format, signed by which key. */
interface Variant {
  readonly version: 2 | 3;
  readonly key: EnvelopeKey;
}

function idsOf({ keys }: HeartbeatIdentity): readonly string[] {
  return keys.map(({ id }) => id);
}

/** All that a farewell says, without what is within. */
function valuesOf({ lease, ...report }: PeerReport): readonly unknown[] {
  return [...Object.values(report), ...(lease === undefined ? [] : Object.values(lease))];
}

function isEqual(some: readonly unknown[], others: readonly unknown[]): boolean {
  return some.length === others.length && some.every((value, i) => value === others[i]);
}

/** What this process says: its name for itself, its count, and in which formats and with which keys it speaks. */
export class HeartbeatWriter {
  readonly #nonce: string;
  readonly #v2: V2Nonce;
  #identity: HeartbeatIdentity;
  #counter = 0;
  /** What `farewell` made last: of what, and for how long it is good. */
  #farewell:
    | { readonly said: readonly unknown[]; readonly until: number; readonly datagram: Buffer }
    | undefined;
  /** By key and way. */
  readonly #passes = new Map<string, number>();
  /** Ids of the identity's keys. */
  #keyIds: readonly string[];

  /** @param nonce boot nonce of this process */
  constructor(nonce: string, identity: HeartbeatIdentity, now: number) {
    this.#nonce = nonce;
    this.#identity = identity;
    this.#keyIds = idsOf(identity);
    this.#v2 = new V2Nonce(nonce, now);
  }

  get v2(): V2Nonce {
    return this.#v2;
  }

  rekey(identity: HeartbeatIdentity): void {
    this.#identity = identity;
    this.#keyIds = idsOf(identity);
    this.#passes.clear();
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
    const first = variants.map((variant) => {
      heartbeat.counter = ++this.#counter;
      return this.#encode(variant, heartbeat, context.ways[0]);
    });
    return (path) =>
      path === 0
        ? first
        : variants.map((variant, i) => this.#onPath(variant, first[i]!, path, context.ways[path]));
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
    const { version, key } = variant!;
    const way = context.ways[path];
    const said = [...valuesOf(report), group, path, way, version, key, session.current, this.#v2.nonce];
    const last = this.#farewell;
    if (last === undefined || !isEqual(last.said, said) || this.#counter > last.until) {
      const heartbeat = this.#heartbeat(group, session, report, context, now);
      heartbeat.path = path;
      heartbeat.counter = this.#counter + FAREWELL_AHEAD * groups * MAX_VARIANTS;
      heartbeat.ahead = true;
      heartbeat.sentMs = Math.floor(now + FAREWELL_ROUNDS * report.intervalMs + deadTimeMs);
      const datagram = this.#encode(variant!, heartbeat, way);
      this.#farewell = { said, until: this.#counter + FAREWELL_ROUNDS * groups, datagram };
      return datagram;
    }
    return last.datagram;
  }

  #heartbeat(
    group: string,
    session: PeerSession,
    report: PeerReport,
    { digest, sectionDigests, paths, lifetimeMs, twin }: WriterContext,
    now: number,
  ): Draft {
    return {
      instance: this.#nonce,
      ...report,
      group,
      configDigest: digest.slice(0, 16),
      sectionDigests,
      nonce: this.#nonce,
      counter: 0,
      sentMs: Math.floor(now),
      path: 0,
      ahead: false,
      echoes: [...session.echoes(now, lifetimeMs), ...twin.echoes(now, lifetimeMs)],
      keys: this.#keyIds,
      paths,
    };
  }

  /** All that somebody may wait for; the first one is for the peer's current process. */
  #variants(session: PeerSession, { peerKeys, lifetimeMs }: WriterContext, now: number): Variant[] {
    const heard = session.versionsHeard(now, lifetimeMs);
    const isForAll = session.current === undefined;
    const { keys } = this.#identity;
    const known = keys.find(({ id }) => peerKeys.includes(id));
    const signing = known !== undefined && session.isProven(now, lifetimeMs) ? [known] : keys;
    const variants: Variant[] = [];
    for (const version of session.version === 2 ? V2_FIRST : V3_FIRST)
      if (isForAll || heard.has(version)) for (const key of signing) variants.push({ version, key });
    return variants;
  }

  #encode({ version, key }: Variant, heartbeat: Omit<Heartbeat, 'version'>, way = ''): Buffer {
    if (version === 3) return encodeHeartbeat(this.#identity, heartbeat, key, this.#pass(key, way));
    return encodeV2(this.#identity, heartbeat, v2Stamp(this.#v2.nonce, heartbeat.echoes), key);
  }

  #onPath({ version, key }: Variant, data: Buffer, path: number, way = ''): Buffer {
    return version === 3 ? onPath(data, path, key, this.#pass(key, way)) : v2OnPath(data, path, key);
  }

  #pass(key: EnvelopeKey, way: string): number {
    const name = `${key.id} ${way}`;
    const pass = this.#passes.get(name) ?? passOf(key, this.#identity.self, way);
    this.#passes.set(name, pass);
    return pass;
  }
}

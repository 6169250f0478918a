import type { Role } from '../common/control.ts';
import type { PeerReport } from './election-types.ts';
import {
  type EnvelopeDrop,
  type EnvelopeIdentity,
  type EnvelopeKey,
  envelopeKey,
  nameHash,
  open,
  PASS_AT,
  resealed,
  SECTION_HEAD,
  SECTIONS_AT,
  type Sections,
  seal,
  writeSectionHead,
} from './envelope.ts';
import { readFields, writeFields } from './heartbeat-fields.ts';
import { HexReader, writeHex } from './hex.ts';

/**
 * The heartbeat inside its envelope (`envelope.ts`): what a node says of itself, to whom, and what makes it fresh. The
 * codec is pure; what is fresh and what is replayed is for `PeerSession` to say. Sections, all but the first two
 * optional, longer ones than here read as far as they are known:
 *
 * ```
 * 1 state:  role 1 | priority 1 | flags 2 | interval, ms 4 | epoch 4
 * 2 stamp:  boot nonce 8 | counter 6 | sent at, ms 6 | path 1 | group hash 8
 * 3 config: digest 8 | section digests
 * 4 echoes: (boot nonce 8 | sent at, ms 6) × n
 * 5 keys that the sender accepts: id 4 × n
 * 6 paths on which the sender speaks: id 4 × n
 * from 16 on: see `heartbeat-fields.ts`
 * ```
 */
const KIND = 1;
const STATE = 1;
const STAMP = 2;
const CONFIG = 3;
const ECHOES = 4;
const KEYS = 5;
const PATHS = 6;

const STATE_BYTES = 12;
const STAMP_BYTES = 29;
const PATH_IN_STAMP = 20;
/** In the whole datagram: the two first sections are always the same, and as long. */
const PATH_AT = SECTIONS_AT + SECTION_HEAD + STATE_BYTES + SECTION_HEAD + PATH_IN_STAMP;
const DIGEST_BYTES = 8;
const ECHO_BYTES = 14;
const ID_BYTES = 4;
/** More are cut off, by the sender and by the receiver. */
const MAX_ECHOES = 8;
const MAX_KEYS = 4;
const MAX_PATHS = 40;
const MAX_SECTION_DIGEST_BYTES = 128;
/** What is in all datagrams of one peer is one string each. */
const HEX = new HexReader();
export const ROLES: readonly Role[] = ['init', 'standby', 'active', 'fault'];
/** Those that a later version adds are ignored. */
export const FLAGS = {
  healthy: 0x01,
  request: 0x02,
  probe: 0x04,
  finishing: 0x08,
  forwards: 0x10,
  ask: 0x20,
  ahead: 0x40,
} as const;

/** In place of a group: the datagram is about every group of the sender. */
export const ALL_GROUPS = '0000000000000000';
export const NO_NONCE = '0000000000000000';

/** A VIP group as datagrams name it, 16 hexadecimal digits. */
export function groupHash(name: string): string {
  return nameHash('group', name).toString('hex');
}

/** That the sender has heard a process, and what that one's clock said in the latest datagram that was heard. */
export interface Echo {
  /** Boot nonce of the process that was heard. */
  readonly nonce: string;
  /** Its clock. In the format of the last release a nonce is renewed instead, and this is 0. */
  readonly sentMs: number;
}

/** What a node says of itself, to whom, and what makes it fresh. */
export interface Heartbeat extends PeerReport {
  /** The format: that of the last release, or this one. */
  readonly version: 2 | 3;
  /** The VIP group that it is about, see `groupHash`, or `ALL_GROUPS`. */
  readonly group: string;
  /** First 8 bytes of the config's digest, 16 hexadecimal digits. */
  readonly configDigest: string;
  /** Short digests of the config's sections, see `common/digest.ts`. */
  readonly sectionDigests: string;
  /** Random for each process start, 16 hexadecimal digits. */
  readonly nonce: string;
  /** Grows with every round of heartbeats. 1 to 2^48 - 1. */
  readonly counter: number;
  /** Whole milliseconds of the sender's monotonic clock. 0 to 2^48 - 1. */
  readonly sentMs: number;
  /** Made in advance: `counter` and `sentMs` are of a time that was still to come. */
  readonly ahead: boolean;
  /** Index of the path in the sender's config. 0 to 255. */
  readonly path: number;
  /** Processes of the receiver's name that the sender hears; first the one that is known to be alive. */
  readonly echoes: readonly Echo[];
  /** Ids of the keys that the sender accepts; see `EnvelopeKey`. */
  readonly keys: readonly string[];
  /** Ids of the paths on which the sender speaks, see `pathId`; empty: it does not say. */
  readonly paths: readonly string[];
}

/**
 * Why a datagram was thrown away. `cluster` and `self` are how a network is; `replay` and `twin` are about
 * when it was sent and by whom; the others are no heartbeat or one that cannot be understood.
 */
export const DROP_CAUSES = [
  'truncated',
  'magic',
  'version',
  'cluster',
  'self',
  'sender',
  'key',
  'auth',
  'malformed',
  'group',
  'replay',
  'twin',
] as const;
export type DropCause = (typeof DROP_CAUSES)[number];

export type Decoded =
  | {
      readonly ok: true;
      readonly heartbeat: Heartbeat;
      /** It claims the receiver's own name. */
      readonly self: boolean;
      /** Which key signed it. */
      readonly keyId: string;
      /** In the format of the last release, by a process that speaks this one as well. */
      readonly marked?: boolean;
    }
  | { readonly ok: false; readonly cause: DropCause };

export type HeartbeatIdentity = EnvelopeIdentity;

/** @param keys of the heartbeats, from `deriveKey(secret, 'heartbeat', cluster)`: that of the secret, then that of a previous one */
export function createIdentity(
  keys: Buffer | readonly [Buffer, ...Buffer[]],
  cluster: string,
  self: string,
  peer: string,
): HeartbeatIdentity {
  return {
    keys: [keys].flat().map(envelopeKey),
    cluster: nameHash('cluster', cluster),
    self: nameHash('node', self),
    peer: nameHash('node', peer),
  };
}

/** Whether two identities sign and accept with the same keys. */
export function sameKeys(a: HeartbeatIdentity, b: HeartbeatIdentity): boolean {
  return a.keys.map(({ id }) => id).join() === b.keys.map(({ id }) => id).join();
}

/**
 * @param key one of the identity's
 * @param pass see `pass.ts`; 0: none
 */
export function encodeHeartbeat(
  identity: HeartbeatIdentity,
  heartbeat: Omit<Heartbeat, 'version'>,
  key: EnvelopeKey = identity.keys[0]!,
  pass = 0,
): Buffer {
  return seal(identity, key, KIND, (out, at) => write(heartbeat, out, at), pass);
}

/**
 * The same heartbeat for another path.
 *
 * @param data made by `encodeHeartbeat` with the same key
 */
export function onPath(data: Buffer, path: number, key: EnvelopeKey, pass = 0): Buffer {
  return resealed(key, data, (out) => {
    out[PATH_AT] = path;
    out.writeUInt32BE(pass, PASS_AT);
  });
}

/** Writes the sections. @returns where they end */
function write(heartbeat: Omit<Heartbeat, 'version'>, out: Buffer, at: number): number {
  const state = writeSectionHead(out, at, STATE, STATE_BYTES);
  out[state] = ROLES.indexOf(heartbeat.role);
  out[state + 1] = heartbeat.priority;
  out.writeUInt16BE(writeFlags(heartbeat), state + 2);
  out.writeUInt32BE(heartbeat.intervalMs, state + 4);
  out.writeUInt32BE(heartbeat.epoch, state + 8);
  const stamp = writeSectionHead(out, state + STATE_BYTES, STAMP, STAMP_BYTES);
  writeHex(out, stamp, heartbeat.nonce);
  out.writeUIntBE(heartbeat.counter, stamp + 8, 6);
  out.writeUIntBE(heartbeat.sentMs, stamp + 14, 6);
  out[stamp + PATH_IN_STAMP] = heartbeat.path;
  writeHex(out, stamp + 21, heartbeat.group);
  const { configDigest, sectionDigests } = heartbeat;
  let next = writeSectionHead(
    out,
    stamp + STAMP_BYTES,
    CONFIG,
    (configDigest.length + sectionDigests.length) / 2,
  );
  next = writeHex(out, writeHex(out, next, configDigest), sectionDigests);
  const echoes = Math.min(MAX_ECHOES, heartbeat.echoes.length);
  next = writeSectionHead(out, next, ECHOES, echoes * ECHO_BYTES);
  for (let i = 0; i < echoes; i++) {
    const { nonce, sentMs } = heartbeat.echoes[i]!;
    writeHex(out, next, nonce);
    out.writeUIntBE(sentMs, next + 8, 6);
    next += ECHO_BYTES;
  }
  next = writeIds(out, next, KEYS, heartbeat.keys, MAX_KEYS);
  next = writeIds(out, next, PATHS, heartbeat.paths, MAX_PATHS);
  return writeFields(heartbeat, out, next);
}

function writeIds(out: Buffer, at: number, type: number, ids: readonly string[], most: number): number {
  const count = Math.min(most, ids.length);
  let next = writeSectionHead(out, at, type, count * ID_BYTES);
  for (let i = 0; i < count; i++) next = writeHex(out, next, ids[i]!);
  return next;
}

/** What tells a datagram apart from others of its sender. */
export type Mark = Pick<Heartbeat, 'group' | 'nonce' | 'counter' | 'path'>;

/**
 * Checks and reads one datagram in this format.
 *
 * @param isOld whether one with this mark was there before: then the rest is not read, which a flood of them would make dear
 */
export function decodeHeartbeat(
  identity: HeartbeatIdentity,
  data: Buffer,
  isOld: (mark: Mark) => boolean = () => false,
): Decoded {
  const opened = open(identity, data);
  if (!opened.ok) return drop(opened.cause);
  const stamp = opened.sections.find(STAMP);
  if (opened.kind !== KIND || opened.sections.lengthAt(stamp) < STAMP_BYTES) return drop('malformed');
  const mark = readMark(data, stamp);
  if (!opened.self && isOld(mark)) return drop('replay');
  const heartbeat = read(opened.sections, mark, data.readUIntBE(stamp + 14, 6));
  if (heartbeat === undefined) return drop('malformed');
  return { ok: true, heartbeat, self: opened.self, keyId: opened.keyId };
}

/** @returns undefined when it has values that do not exist */
function read(
  sections: Sections,
  { nonce, counter, path, group }: Mark,
  sentMs: number,
): Heartbeat | undefined {
  const { data } = sections;
  const state = sections.find(STATE);
  if (sections.lengthAt(state) < STATE_BYTES) return undefined;
  const config = sections.find(CONFIG);
  const configBytes = sections.lengthAt(config);
  const digestBytes = Math.min(DIGEST_BYTES, configBytes);
  const bits = data.readUInt16BE(state + 2);
  const heartbeat: Heartbeat = {
    version: 3,
    role: ROLES[data[state]!]!,
    priority: data[state + 1]!,
    intervalMs: data.readUInt32BE(state + 4),
    epoch: data.readUInt32BE(state + 8),
    ...readFlags(bits),
    nonce,
    counter,
    path,
    group,
    sentMs,
    configDigest: HEX.read(data, config, digestBytes),
    sectionDigests: HEX.read(
      data,
      config + digestBytes,
      Math.min(MAX_SECTION_DIGEST_BYTES, configBytes - digestBytes),
    ),
    echoes: readEchoes(sections),
    keys: readIds(sections, KEYS, MAX_KEYS),
    paths: readIds(sections, PATHS, MAX_PATHS),
  };
  if (!isSound(heartbeat)) return undefined;
  readFields(sections, heartbeat);
  return heartbeat;
}

function readEchoes(sections: Sections): Echo[] {
  const at = sections.find(ECHOES);
  const echoes: Echo[] = [];
  const end = at + countIn(sections, at, ECHO_BYTES, MAX_ECHOES) * ECHO_BYTES;
  for (let echo = at; echo < end; echo += ECHO_BYTES)
    echoes.push({ nonce: HEX.read(sections.data, echo, 8), sentMs: sections.data.readUIntBE(echo + 8, 6) });
  return echoes;
}

function readIds(sections: Sections, type: number, most: number): string[] {
  const at = sections.find(type);
  const ids: string[] = [];
  const end = at + countIn(sections, at, ID_BYTES, most) * ID_BYTES;
  for (let id = at; id < end; id += ID_BYTES) ids.push(HEX.read(sections.data, id, ID_BYTES));
  return ids;
}

/** So many whole ones are in a section; more than `most` are cut off. */
function countIn(sections: Sections, at: number, bytes: number, most: number): number {
  return Math.min(most, Math.floor(sections.lengthAt(at) / bytes));
}

function readMark(data: Buffer, stamp: number): Mark {
  return {
    nonce: HEX.read(data, stamp, 8),
    counter: data.readUIntBE(stamp + 8, 6),
    path: data[stamp + PATH_IN_STAMP]!,
    group: HEX.read(data, stamp + 21, 8),
  };
}

/** Booleans as bits, see `FLAGS`. */
export function writeFlags(report: Partial<Record<keyof typeof FLAGS, boolean | undefined>>): number {
  return (
    (report.healthy ? FLAGS.healthy : 0) |
    (report.request ? FLAGS.request : 0) |
    (report.probe ? FLAGS.probe : 0) |
    (report.finishing ? FLAGS.finishing : 0) |
    (report.forwards ? FLAGS.forwards : 0) |
    (report.ask ? FLAGS.ask : 0) |
    (report.ahead ? FLAGS.ahead : 0)
  );
}

/** The same, the other way round: what is no flag is left out. */
export function readFlags(bits: number): Record<keyof typeof FLAGS, boolean> {
  return {
    healthy: (bits & FLAGS.healthy) !== 0,
    request: (bits & FLAGS.request) !== 0,
    probe: (bits & FLAGS.probe) !== 0,
    finishing: (bits & FLAGS.finishing) !== 0,
    forwards: (bits & FLAGS.forwards) !== 0,
    ask: (bits & FLAGS.ask) !== 0,
    ahead: (bits & FLAGS.ahead) !== 0,
  };
}

/** Values that every version has. */
export function isSound({
  role,
  priority,
  intervalMs,
  counter,
  nonce,
}: Pick<Heartbeat, 'priority' | 'intervalMs' | 'counter' | 'nonce'> & { role: Role | undefined }): boolean {
  return (
    role !== undefined &&
    priority <= 254 &&
    intervalMs >= 10 &&
    intervalMs <= 60_000 &&
    counter > 0 &&
    nonce !== NO_NONCE
  );
}

/** Made once: a flood of datagrams that are thrown away must not fill the heap. */
const DROPS = Object.fromEntries(
  DROP_CAUSES.map((cause) => [cause, Object.freeze({ ok: false, cause })]),
) as Readonly<Record<DropCause, Decoded>>;

export function drop(cause: DropCause | EnvelopeDrop): Decoded {
  return DROPS[cause];
}

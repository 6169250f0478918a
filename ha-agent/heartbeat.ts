import type { Role } from '../common/control.ts';
import type { PeerReport } from './election-types.ts';
import {
  type EnvelopeDrop,
  type EnvelopeIdentity,
  type EnvelopeKey,
  envelopeKey,
  nameHash,
  open,
  type Sections,
  seal,
} from './envelope.ts';
import { FIELDS } from './heartbeat-fields.ts';

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
const DIGEST_BYTES = 8;
const ECHO_BYTES = 14;
const ID_BYTES = 4;
/** More are cut off, by the sender and by the receiver. */
const MAX_ECHOES = 8;
const MAX_KEYS = 4;
const MAX_PATHS = 40;
const MAX_SECTION_DIGEST_BYTES = 128;
export const ROLES: readonly Role[] = ['init', 'standby', 'active', 'fault'];
/** Bits by their order. Those that a later version adds are ignored. */
const FLAGS = ['healthy', 'request', 'probe', 'finishing', 'forwards', 'ask', 'ahead'] as const;

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
 * Why a datagram was thrown away. `cluster`, `self` and `aside` are how a network is; `replay` and `twin` are about
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
  'aside',
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

/** @param key one of the identity's */
export function encodeHeartbeat(
  identity: HeartbeatIdentity,
  heartbeat: Omit<Heartbeat, 'version'>,
  key: EnvelopeKey = identity.keys[0]!,
): Buffer {
  const state = Buffer.alloc(STATE_BYTES);
  state[0] = ROLES.indexOf(heartbeat.role);
  state[1] = heartbeat.priority;
  state.writeUInt16BE(
    FLAGS.reduce((bits, name, bit) => bits | (heartbeat[name] ? 1 << bit : 0), 0),
    2,
  );
  state.writeUInt32BE(heartbeat.intervalMs, 4);
  state.writeUInt32BE(heartbeat.epoch, 8);
  const stamp = Buffer.alloc(STAMP_BYTES);
  stamp.write(heartbeat.nonce, 0, 8, 'hex');
  stamp.writeUIntBE(heartbeat.counter, 8, 6);
  stamp.writeUIntBE(heartbeat.sentMs, 14, 6);
  stamp[20] = heartbeat.path;
  stamp.write(heartbeat.group, 21, 8, 'hex');
  const config = Buffer.from(heartbeat.configDigest + heartbeat.sectionDigests, 'hex');
  const echoes = heartbeat.echoes.slice(0, MAX_ECHOES);
  const echoed = Buffer.alloc(echoes.length * ECHO_BYTES);
  for (const [i, { nonce, sentMs }] of echoes.entries()) {
    echoed.write(nonce, i * ECHO_BYTES, 8, 'hex');
    echoed.writeUIntBE(sentMs, i * ECHO_BYTES + 8, 6);
  }
  const sections = new Map<number, Buffer>([
    [STATE, state],
    [STAMP, stamp],
    [CONFIG, config],
    [ECHOES, echoed],
    [KEYS, Buffer.from(heartbeat.keys.slice(0, MAX_KEYS).join(''), 'hex')],
    [PATHS, Buffer.from(heartbeat.paths.slice(0, MAX_PATHS).join(''), 'hex')],
  ]);
  for (const { type, write } of FIELDS) {
    const value = write(heartbeat);
    if (value !== undefined) sections.set(type, value);
  }
  return seal(identity, key, KIND, sections);
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
  const stamp = opened.sections.get(STAMP);
  if (opened.kind !== KIND || stamp === undefined || stamp.length < STAMP_BYTES) return drop('malformed');
  const mark = readMark(stamp);
  if (!opened.self && isOld(mark)) return drop('replay');
  const heartbeat = read(opened.sections, mark, stamp.readUIntBE(14, 6));
  if (heartbeat === undefined) return drop('malformed');
  return { ok: true, heartbeat, self: opened.self, keyId: opened.keyId };
}

/** @returns undefined when it has values that do not exist */
function read(sections: Sections, mark: Mark, sentMs: number): Heartbeat | undefined {
  const state = sections.get(STATE);
  if (state === undefined || state.length < STATE_BYTES) return undefined;
  const config = sections.get(CONFIG);
  const heartbeat = {
    version: 3 as const,
    role: ROLES[state[0]!]!,
    priority: state[1]!,
    intervalMs: state.readUInt32BE(4),
    epoch: state.readUInt32BE(8),
    ...readFlags(state.readUInt16BE(2), FLAGS),
    ...mark,
    sentMs,
    configDigest: config?.toString('hex', 0, DIGEST_BYTES) ?? '',
    sectionDigests: config?.toString('hex', DIGEST_BYTES, DIGEST_BYTES + MAX_SECTION_DIGEST_BYTES) ?? '',
    echoes: parts(sections.get(ECHOES), ECHO_BYTES, MAX_ECHOES).map((echo) => ({
      nonce: echo.toString('hex', 0, 8),
      sentMs: echo.readUIntBE(8, 6),
    })),
    keys: parts(sections.get(KEYS), ID_BYTES, MAX_KEYS).map((id) => id.toString('hex')),
    paths: parts(sections.get(PATHS), ID_BYTES, MAX_PATHS).map((id) => id.toString('hex')),
  };
  if (!isSound(heartbeat)) return undefined;
  const more = Object.assign({}, ...FIELDS.map(({ type, read }) => readField(sections.get(type), read)));
  return { ...heartbeat, ...more };
}

function readMark(stamp: Buffer): Mark {
  return {
    nonce: stamp.toString('hex', 0, 8),
    counter: stamp.readUIntBE(8, 6),
    path: stamp[20]!,
    group: stamp.toString('hex', 21, 29),
  };
}

/** Booleans as bits, by their order. */
export function writeFlags<N extends string>(
  values: Readonly<Partial<Record<N, boolean | undefined>>>,
  names: readonly N[],
): number {
  return names.reduce((bits, name, bit) => bits | (values[name] ? 1 << bit : 0), 0);
}

export function readFlags<N extends string>(bits: number, names: readonly N[]): Record<N, boolean> {
  const flags = names.map((name, bit) => [name, (bits & (1 << bit)) !== 0]);
  return Object.fromEntries(flags) as Record<N, boolean>;
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

function readField(
  value: Buffer | undefined,
  read: (value: Buffer) => Partial<PeerReport> | undefined,
): Partial<PeerReport> | undefined {
  return value === undefined ? undefined : read(value);
}

function parts(section: Buffer | undefined, bytes: number, most: number): Buffer[] {
  if (section === undefined) return [];
  const count = Math.min(most, Math.floor(section.length / bytes));
  return Array.from({ length: count }, (_, i) => section.subarray(i * bytes, (i + 1) * bytes));
}

/** Made once: a flood of datagrams that are thrown away must not fill the heap. */
const DROPS = Object.fromEntries(
  DROP_CAUSES.map((cause) => [cause, Object.freeze({ ok: false, cause })]),
) as Readonly<Record<DropCause, Decoded>>;

export function drop(cause: DropCause | EnvelopeDrop): Decoded {
  return DROPS[cause];
}

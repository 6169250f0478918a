import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { Role } from '../common/control.ts';
import { SECTION_DIGEST_BYTES } from '../common/digest.ts';
import type { PeerReport } from './election-types.ts';

/**
 * The heartbeat on the wire. Big endian, always `HEARTBEAT_BYTES` long:
 *
 * ```
 *  0 magic 4        | 4 version 1 | 5 flags 1 | 6 role 1 | 7 priority 1
 *  8 path 1         | 9 zero 1    | 10 interval, ms 2    | 12 epoch 4
 * 16 cluster hash 8 | 24 sender hash 8 | 32 config digest 8
 * 40 boot nonce 8   | 48 echo 8        | 56 hello echo 8 | 64 zero 2, counter 6
 * 72 group hash 8   | 80 section digests, then zeros 40
 * 120 HMAC-SHA256 over bytes 0–119, not truncated (RFC 2104)
 * ```
 *
 * The codec is pure; what is fresh and what is replayed is for `PeerSession` to say.
 */
export const HEARTBEAT_BYTES = 152;

const MAGIC = 0x544e444d;
const VERSION = 2;
const GROUP_AT = 72;
const SECTIONS_AT = 80;
const SECTIONS_END = SECTIONS_AT + SECTION_DIGEST_BYTES;
const MAC_AT = 120;
const ROLES: readonly Role[] = ['init', 'standby', 'active', 'fault'];
const HEALTHY = 1;
const REQUEST = 2;
const PROBE = 4;
const FINISHING = 8;
const FORWARDS = 16;
const ASK = 32;
const FLAGS = HEALTHY | REQUEST | PROBE | FINISHING | FORWARDS | ASK;

/** No nonce heard yet. A boot nonce is random, so it is this with a chance of 2^-64 only. */
export const NO_NONCE = '0000000000000000';

/** In place of a group: the datagram is about every group of the sender. */
export const ALL_GROUPS = '0000000000000000';

/** A VIP group as datagrams name it, 16 hexadecimal digits. */
export function groupHash(name: string): string {
  return nameHash('group', name).toString('hex');
}

/** What a node says of itself, to whom, and what makes it fresh. */
export interface Heartbeat extends PeerReport {
  /** The VIP group that it is about, see `groupHash`, or `ALL_GROUPS`. */
  readonly group: string;
  /** First 8 bytes of the config's digest, 16 hexadecimal digits. */
  readonly configDigest: string;
  /** Short digests of the config's sections, see `common/digest.ts`. */
  readonly sectionDigests: string;
  /** Random for each process start, 16 hexadecimal digits. */
  readonly nonce: string;
  /** Nonce of the peer's process that is known to be alive, or `NO_NONCE`. */
  readonly echo: string;
  /** Nonce of the latest process of the peer that has not proved yet that it is alive, or `NO_NONCE`. */
  readonly helloEcho: string;
  /** Grows with every round of heartbeats. 1 to 2^48 - 1. */
  readonly counter: number;
  /** Index of the path in the sender's config. 0 to 255. */
  readonly path: number;
}

/** Why a datagram was thrown away. `replay` and `self` are no sign of a wrong configuration, the others are. */
export const DROP_CAUSES = [
  'truncated',
  'magic',
  'version',
  'cluster',
  'self',
  'sender',
  'auth',
  'malformed',
  'group',
  'replay',
] as const;
export type DropCause = (typeof DROP_CAUSES)[number];

export type Decoded =
  | { readonly ok: true; readonly heartbeat: Heartbeat }
  | { readonly ok: false; readonly cause: DropCause };

/** Who may speak to whom. Derived once at start from the config. */
export interface HeartbeatIdentity {
  readonly key: Buffer;
  readonly cluster: Buffer;
  readonly self: Buffer;
  readonly peer: Buffer;
}

/** @param key of the heartbeats, from `deriveKey(secret, 'heartbeat', cluster)` */
export function createIdentity(key: Buffer, cluster: string, self: string, peer: string): HeartbeatIdentity {
  return {
    key,
    cluster: nameHash('cluster', cluster),
    self: nameHash('node', self),
    peer: nameHash('node', peer),
  };
}

function nameHash(kind: string, name: string): Buffer {
  return createHash('sha256').update(`${kind}\0${name}`).digest().subarray(0, 8);
}

export function encodeHeartbeat(identity: HeartbeatIdentity, heartbeat: Heartbeat): Buffer {
  const out = Buffer.alloc(HEARTBEAT_BYTES);
  out.writeUInt32BE(MAGIC, 0);
  out[4] = VERSION;
  out[5] =
    (heartbeat.healthy ? HEALTHY : 0) |
    (heartbeat.request ? REQUEST : 0) |
    (heartbeat.probe ? PROBE : 0) |
    (heartbeat.finishing ? FINISHING : 0) |
    (heartbeat.forwards ? FORWARDS : 0) |
    (heartbeat.ask ? ASK : 0);
  out[6] = ROLES.indexOf(heartbeat.role);
  out[7] = heartbeat.priority;
  out[8] = heartbeat.path;
  out.writeUInt16BE(heartbeat.intervalMs, 10);
  out.writeUInt32BE(heartbeat.epoch, 12);
  identity.cluster.copy(out, 16);
  identity.self.copy(out, 24);
  out.write(heartbeat.configDigest, 32, 8, 'hex');
  out.write(heartbeat.nonce, 40, 8, 'hex');
  out.write(heartbeat.echo, 48, 8, 'hex');
  out.write(heartbeat.helloEcho, 56, 8, 'hex');
  out.writeUIntBE(heartbeat.counter, 66, 6);
  out.write(heartbeat.group, GROUP_AT, 8, 'hex');
  out.write(heartbeat.sectionDigests, SECTIONS_AT, SECTION_DIGEST_BYTES, 'hex');
  mac(identity.key, out).copy(out, MAC_AT);
  return out;
}

/**
 * Checks and reads one datagram. The cheap checks come first, so that a flood of foreign datagrams costs no
 * HMAC; nothing of the content is believed before the HMAC.
 */
export function decodeHeartbeat(identity: HeartbeatIdentity, data: Buffer): Decoded {
  if (data.length < HEARTBEAT_BYTES) return drop('truncated');
  if (data.readUInt32BE(0) !== MAGIC) return drop('magic');
  if (data[4] !== VERSION) return drop('version');
  if (data.length > HEARTBEAT_BYTES) return drop('malformed');
  if (!same(data, 16, identity.cluster)) return drop('cluster');
  if (same(data, 24, identity.self)) return drop('self');
  if (!same(data, 24, identity.peer)) return drop('sender');
  if (!timingSafeEqual(mac(identity.key, data), data.subarray(MAC_AT))) return drop('auth');
  const role = ROLES[data[6]!];
  const flags = data[5]!;
  const heartbeat = {
    group: data.toString('hex', GROUP_AT, GROUP_AT + 8),
    role: role ?? 'init',
    priority: data[7]!,
    epoch: data.readUInt32BE(12),
    intervalMs: data.readUInt16BE(10),
    healthy: (flags & HEALTHY) !== 0,
    request: (flags & REQUEST) !== 0,
    probe: (flags & PROBE) !== 0,
    finishing: (flags & FINISHING) !== 0,
    forwards: (flags & FORWARDS) !== 0,
    ask: (flags & ASK) !== 0,
    configDigest: data.toString('hex', 32, 40),
    sectionDigests: data.toString('hex', SECTIONS_AT, SECTIONS_END),
    nonce: data.toString('hex', 40, 48),
    echo: data.toString('hex', 48, 56),
    helloEcho: data.toString('hex', 56, 64),
    counter: data.readUIntBE(66, 6),
    path: data[8]!,
  };
  const sound =
    role !== undefined &&
    (flags & ~FLAGS) === 0 &&
    heartbeat.priority <= 254 &&
    heartbeat.intervalMs >= 10 &&
    heartbeat.intervalMs <= 60_000 &&
    heartbeat.counter > 0 &&
    heartbeat.nonce !== NO_NONCE &&
    data[9] === 0 &&
    data.readUIntBE(SECTIONS_END, MAC_AT - SECTIONS_END) === 0 &&
    data.readUInt16BE(64) === 0;
  return sound ? { ok: true, heartbeat } : drop('malformed');
}

/** Made once: a flood of datagrams that are thrown away must not fill the heap. */
const DROPS = Object.fromEntries(
  DROP_CAUSES.map((cause) => [cause, Object.freeze({ ok: false, cause })]),
) as Readonly<Record<DropCause, Decoded>>;

function drop(cause: DropCause): Decoded {
  return DROPS[cause];
}

function same(data: Buffer, at: number, expected: Buffer): boolean {
  return data.compare(expected, 0, expected.length, at, at + expected.length) === 0;
}

function mac(key: Buffer, data: Buffer): Buffer {
  return createHmac('sha256', key).update(data.subarray(0, MAC_AT)).digest();
}

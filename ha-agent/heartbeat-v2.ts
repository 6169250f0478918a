import { timingSafeEqual } from 'node:crypto';
import { claimsPeer, type EnvelopeKey, MAC_BYTES, MAGIC, mac, resealed, same } from './envelope.ts';
import {
  type Decoded,
  decodeHeartbeat,
  drop,
  type Echo,
  FLAGS,
  type Heartbeat,
  type HeartbeatIdentity,
  isSound,
  type Mark,
  NO_NONCE,
  ROLES,
  readFlags,
  writeFlags,
} from './heartbeat.ts';
import { writeHex } from './hex.ts';

/**
 * The heartbeat of the last release, which a pair speaks while it is upgraded node by node. Big endian, always
 * `V2_BYTES` long:
 *
 * ```
 *  0 magic 4        | 4 version 1 | 5 flags 1 | 6 role 1 | 7 priority 1
 *  8 path 1         | 9 zero 1    | 10 interval, ms 2    | 12 epoch 4
 * 16 cluster hash 8 | 24 sender hash 8 | 32 config digest 8
 * 40 boot nonce 8   | 48 echo 8        | 56 hello echo 8 | 64 zero 2, counter 6
 * 72 group hash 8   | 80 section digests 34, zeros 6
 * 120 HMAC-SHA256 over bytes 0–119
 * ```
 *
 * A process of today marks its own by the highest bit of the path, which that release does not look at.
 */
export const V2_BYTES = 152;
export const V2 = 2;

const PATH_AT = 8;
export const V2_CLUSTER_AT = 16;
export const V2_SENDER_AT = 24;
const SECTIONS_AT = 80;
const SECTION_BYTES = 34;
const MAC_AT = V2_BYTES - MAC_BYTES;
const MARK = 0x80;
/** Flags that the last release has; it knows no other. */
const KNOWN = FLAGS.ahead - 1;

/** What only this format has. */
export interface V2Stamp {
  readonly nonce: string;
  /** Nonce of the peer's process that is known to be alive, or `NO_NONCE`. */
  readonly echo: string;
  /** Nonce of a process of the peer that has not proved yet that it is alive, or `NO_NONCE`. */
  readonly helloEcho: string;
}

export function encodeV2(
  identity: HeartbeatIdentity,
  heartbeat: Omit<Heartbeat, 'version' | 'nonce'>,
  { nonce, echo, helloEcho }: V2Stamp,
  key: EnvelopeKey = identity.keys[0]!,
): Buffer {
  const out = Buffer.alloc(V2_BYTES);
  out.writeUInt32BE(MAGIC, 0);
  out[4] = V2;
  out[5] = writeFlags(heartbeat) & KNOWN;
  out[6] = ROLES.indexOf(heartbeat.role);
  out[7] = heartbeat.priority;
  out[PATH_AT] = heartbeat.path | MARK;
  out.writeUInt16BE(heartbeat.intervalMs, 10);
  out.writeUInt32BE(heartbeat.epoch, 12);
  identity.cluster.copy(out, V2_CLUSTER_AT);
  identity.self.copy(out, V2_SENDER_AT);
  writeHex(out, 32, heartbeat.configDigest);
  writeHex(out, 40, nonce);
  writeHex(out, 48, echo);
  writeHex(out, 56, helloEcho);
  out.writeUIntBE(heartbeat.counter, 66, 6);
  writeHex(out, 72, heartbeat.group);
  out.write(heartbeat.sectionDigests, SECTIONS_AT, SECTION_BYTES, 'hex');
  mac(key.key, out, MAC_AT).copy(out, MAC_AT);
  return out;
}

/**
 * The same heartbeat for another path.
 *
 * @param data made by `encodeV2` with the same key
 */
export function v2OnPath(data: Buffer, path: number, key: EnvelopeKey): Buffer {
  return resealed(key, data, (out) => {
    out[PATH_AT] = path | MARK;
  });
}

export function decodeV2(identity: HeartbeatIdentity, data: Buffer): Decoded {
  if (data.length < V2_BYTES) return drop('truncated');
  if (data.length > V2_BYTES) return drop('malformed');
  if (!same(data, V2_CLUSTER_AT, identity.cluster)) return drop('cluster');
  const self = same(data, V2_SENDER_AT, identity.self);
  if (!self && !same(data, V2_SENDER_AT, identity.peer)) return drop('sender');
  const key = identity.keys.find((one) => timingSafeEqual(mac(one.key, data, MAC_AT), data.subarray(MAC_AT)));
  if (key === undefined) return drop('auth');
  const bits = data[5]!;
  const heartbeat: Heartbeat = {
    version: V2,
    role: ROLES[data[6]!]!,
    priority: data[7]!,
    intervalMs: data.readUInt16BE(10),
    epoch: data.readUInt32BE(12),
    ...readFlags(bits & KNOWN),
    group: data.toString('hex', 72, 80),
    configDigest: data.toString('hex', 32, 40),
    sectionDigests: data.toString('hex', SECTIONS_AT, SECTIONS_AT + SECTION_BYTES),
    nonce: data.toString('hex', 40, 48),
    counter: data.readUIntBE(66, 6),
    sentMs: 0,
    path: data[PATH_AT]! & ~MARK,
    echoes: [data.toString('hex', 48, 56), data.toString('hex', 56, 64)]
      .filter((nonce) => nonce !== NO_NONCE)
      .map((nonce) => ({ nonce, sentMs: 0 })),
    keys: [key.id],
    paths: [],
  };
  const sound =
    isSound(heartbeat) &&
    (bits & ~KNOWN) === 0 &&
    data[9] === 0 &&
    data.readUIntBE(SECTIONS_AT + SECTION_BYTES, 6) === 0 &&
    data.readUInt16BE(64) === 0;
  if (!sound) return drop('malformed');
  return { ok: true, heartbeat, self, keyId: key.id, marked: (data[PATH_AT]! & MARK) !== 0 };
}

/** The processes of the last release among those that are echoed: their clocks say nothing. */
export function v2Stamp(nonce: string, echoes: readonly Echo[]): V2Stamp {
  const [echo, helloEcho] = echoes.filter(({ sentMs }) => sentMs === 0);
  return { nonce, echo: echo?.nonce ?? NO_NONCE, helloEcho: helloEcho?.nonce ?? NO_NONCE };
}

/** Checks and reads one datagram in either format. */
export function readDatagram(
  identity: HeartbeatIdentity,
  data: Buffer,
  isOld: (mark: Mark) => boolean,
): Decoded {
  return isV2(data) ? decodeV2(identity, data) : decodeHeartbeat(identity, data, isOld);
}

/** Whether a datagram that was not understood names the peer as its sender. Anybody can write that. */
export function seemsOfPeer(identity: HeartbeatIdentity, data: Buffer): boolean {
  if (!isV2(data)) return claimsPeer(identity, data);
  return (
    data.length === V2_BYTES &&
    same(data, V2_CLUSTER_AT, identity.cluster) &&
    same(data, V2_SENDER_AT, identity.peer)
  );
}

function isV2(data: Buffer): boolean {
  return data.length > 4 && data[4] === V2 && data.readUInt32BE(0) === MAGIC;
}

import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

/**
 * What surrounds everything that agents say by datagrams. It stays as it is across versions: a later one adds sections
 * and kinds, and a receiver skips those that it does not know. Big endian:
 *
 * ```
 *  0 magic 4         | 4 version 1 | 5 kind 1 | 6 length of the whole 2
 *  8 cluster hash 8  | 16 sender hash 8
 * 24 key id 4        | 28 zero 4, not looked at
 * 32 sections, each: type 1 | length 2 | value
 * at the end: HMAC-SHA256 over all before it, not truncated (RFC 2104)
 * ```
 *
 * Pure. Nothing of the content is believed before the HMAC, and what comes before it costs next to nothing.
 */
export const MAX_ENVELOPE_BYTES = 1200;

export const MAGIC = 0x544e444d;
/** Versions from this one on have the header above. */
const VERSION = 3;
const KIND_AT = 5;
const LENGTH_AT = 6;
const CLUSTER_AT = 8;
const SENDER_AT = 16;
const KEY_AT = 24;
const SECTIONS_AT = 32;
const SECTION_HEAD = 3;
export const HASH_BYTES = 8;
export const MAC_BYTES = 32;
const KEY_ID_BYTES = 4;
const MIN_BYTES = SECTIONS_AT + MAC_BYTES;

/** A key and the name by which datagrams call it, which tells nothing about the key. */
export interface EnvelopeKey {
  readonly key: Buffer;
  /** 8 hexadecimal digits. */
  readonly id: string;
}

/** Who may speak to whom. */
export interface EnvelopeIdentity {
  /** The first one signs where nothing else is asked for; what any of them has signed is accepted. At least one. */
  readonly keys: readonly EnvelopeKey[];
  readonly cluster: Buffer;
  readonly self: Buffer;
  readonly peer: Buffer;
}

/** What is inside: sections by their type, 0 to 255. */
export type Sections = ReadonlyMap<number, Buffer>;

export type EnvelopeDrop =
  | 'truncated'
  | 'magic'
  | 'version'
  | 'cluster'
  | 'sender'
  | 'key'
  | 'auth'
  | 'malformed';

export type Opened =
  | {
      readonly ok: true;
      readonly kind: number;
      /** It claims the receiver's own name: its own datagram, or that of another machine. */
      readonly self: boolean;
      readonly keyId: string;
      readonly sections: Sections;
    }
  | { readonly ok: false; readonly cause: EnvelopeDrop };

export function envelopeKey(key: Buffer): EnvelopeKey {
  const id = createHash('sha256')
    .update('key id\0')
    .update(key)
    .digest('hex')
    .slice(0, 2 * KEY_ID_BYTES);
  return { key, id };
}

/** A name as datagrams have it. */
export function nameHash(kind: string, name: string): Buffer {
  return createHash('sha256').update(`${kind}\0${name}`).digest().subarray(0, HASH_BYTES);
}

/**
 * @param kind 0 to 255: what the sections mean
 * @throws RangeError when it is longer than `MAX_ENVELOPE_BYTES`
 */
export function seal(identity: EnvelopeIdentity, key: EnvelopeKey, kind: number, sections: Sections): Buffer {
  let length = MIN_BYTES;
  for (const value of sections.values()) length += SECTION_HEAD + value.length;
  if (length > MAX_ENVELOPE_BYTES) throw new RangeError(`a datagram of ${length} bytes is too long`);
  const out = Buffer.alloc(length);
  out.writeUInt32BE(MAGIC, 0);
  out[4] = VERSION;
  out[KIND_AT] = kind;
  out.writeUInt16BE(length, LENGTH_AT);
  identity.cluster.copy(out, CLUSTER_AT);
  identity.self.copy(out, SENDER_AT);
  out.write(key.id, KEY_AT, KEY_ID_BYTES, 'hex');
  let at = SECTIONS_AT;
  for (const [type, value] of sections) {
    out[at] = type;
    out.writeUInt16BE(value.length, at + 1);
    value.copy(out, at + SECTION_HEAD);
    at += SECTION_HEAD + value.length;
  }
  mac(key.key, out, at).copy(out, at);
  return out;
}

/** Checks and parts one datagram. */
export function open(identity: EnvelopeIdentity, data: Buffer): Opened {
  if (data.length < MIN_BYTES) return DROPS.truncated;
  if (data.readUInt32BE(0) !== MAGIC) return DROPS.magic;
  if (data[4] !== VERSION) return DROPS.version;
  if (data.length > MAX_ENVELOPE_BYTES || data.readUInt16BE(LENGTH_AT) !== data.length)
    return DROPS.malformed;
  if (!same(data, CLUSTER_AT, identity.cluster)) return DROPS.cluster;
  const self = same(data, SENDER_AT, identity.self);
  if (!self && !same(data, SENDER_AT, identity.peer)) return DROPS.sender;
  const keyId = data.toString('hex', KEY_AT, KEY_AT + KEY_ID_BYTES);
  const key = identity.keys.find(({ id }) => id === keyId);
  if (key === undefined) return DROPS.key;
  const end = data.length - MAC_BYTES;
  if (!timingSafeEqual(mac(key.key, data, end), data.subarray(end))) return DROPS.auth;
  const sections = partsOf(data, end);
  return sections === undefined ? DROPS.malformed : { ok: true, kind: data[KIND_AT]!, self, keyId, sections };
}

/**
 * Whether a datagram that was not understood names the peer as its sender, in this version or a later one. Anybody can
 * write that.
 */
export function claimsPeer(identity: EnvelopeIdentity, data: Buffer): boolean {
  return (
    data.length >= MIN_BYTES &&
    data.readUInt32BE(0) === MAGIC &&
    data[4]! >= VERSION &&
    same(data, CLUSTER_AT, identity.cluster) &&
    same(data, SENDER_AT, identity.peer)
  );
}

/** @returns undefined when they do not end where the signature begins. Of two with one type the first one counts. */
function partsOf(data: Buffer, end: number): Sections | undefined {
  const sections = new Map<number, Buffer>();
  let at = SECTIONS_AT;
  while (at < end) {
    if (at + SECTION_HEAD > end) return undefined;
    const valueAt = at + SECTION_HEAD;
    const next = valueAt + data.readUInt16BE(at + 1);
    if (next > end) return undefined;
    const type = data[at]!;
    if (!sections.has(type)) sections.set(type, data.subarray(valueAt, next));
    at = next;
  }
  return sections;
}

export function same(data: Buffer, at: number, expected: Buffer): boolean {
  return data.compare(expected, 0, expected.length, at, at + expected.length) === 0;
}

/** @param end how many bytes are signed */
export function mac(key: Buffer, data: Buffer, end: number): Buffer {
  return createHmac('sha256', key).update(data.subarray(0, end)).digest();
}

/** Made once: a flood of datagrams that are thrown away must not fill the heap. */
const DROPS = {
  truncated: drop('truncated'),
  magic: drop('magic'),
  version: drop('version'),
  cluster: drop('cluster'),
  sender: drop('sender'),
  key: drop('key'),
  auth: drop('auth'),
  malformed: drop('malformed'),
} as const;

function drop(cause: EnvelopeDrop): Opened {
  return Object.freeze({ ok: false, cause });
}

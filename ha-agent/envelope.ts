import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { HexReader, writeHex } from './hex.ts';

/**
 * What surrounds everything that agents say by datagrams. It stays as it is across versions: a later one adds sections
 * and kinds, and a receiver skips those that it does not know. Big endian:
 *
 * ```
 *  0 magic 4         | 4 version 1 | 5 kind 1 | 6 length of the whole 2
 *  8 cluster hash 8  | 16 sender hash 8
 * 24 key id 4        | 28 pass 4, for the kernel's filter alone: see `pass.ts`
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
export const CLUSTER_AT = 8;
export const SENDER_AT = 16;
const KEY_AT = 24;
/** Not looked at here, so that former releases may leave it 0. */
export const PASS_AT = 28;
export const SECTIONS_AT = 32;
export const SECTION_HEAD = 3;
export const HASH_BYTES = 8;
export const MAC_BYTES = 32;
const KEY_ID_BYTES = 4;
export const MIN_BYTES = SECTIONS_AT + MAC_BYTES;

/** Also of datagrams that nobody believes: each takes the place of another one. */
const KEY_IDS = new HexReader();

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

/**
 * What is inside one datagram that was opened: sections by their type, 0 to 255. Of two with one type the first one
 * counts.
 */
export class Sections {
  readonly data: Buffer;
  readonly #end: number;

  /** @param end where the signature begins */
  constructor(data: Buffer, end: number) {
    this.data = data;
    this.#end = end;
  }

  /** Where the value of a section begins; -1: there is none. */
  find(type: number): number {
    const { data } = this;
    for (let at = SECTIONS_AT; at < this.#end; at += SECTION_HEAD + data.readUInt16BE(at + 1))
      if (data[at] === type) return at + SECTION_HEAD;
    return -1;
  }

  /** Bytes of a value. @param at as `find` says; 0 for a section that is not there */
  lengthAt(at: number): number {
    return at < 0 ? 0 : this.data.readUInt16BE(at - 2);
  }

  /** Whether the last one ends where the signature begins. */
  get isWhole(): boolean {
    let at = SECTIONS_AT;
    while (at + SECTION_HEAD <= this.#end) at += SECTION_HEAD + this.data.readUInt16BE(at + 1);
    return at === this.#end;
  }
}

/** Writes the head of a section. @returns where its value goes */
export function writeSectionHead(out: Buffer, at: number, type: number, length: number): number {
  out[at] = type;
  out[at + 1] = length >>> 8;
  out[at + 2] = length;
  return at + SECTION_HEAD;
}

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

/** One datagram at a time is made here: how long it gets is known at its end. */
const draft = Buffer.alloc(2 * MAX_ENVELOPE_BYTES);

/**
 * @param kind 0 to 255: what the sections mean
 * @param write writes the sections from `at` on, each after its head, see `writeSectionHead`. @returns where they end
 * @param pass see `pass.ts`; 0: none
 * @throws RangeError when it is longer than `MAX_ENVELOPE_BYTES`
 */
export function seal(
  identity: EnvelopeIdentity,
  key: EnvelopeKey,
  kind: number,
  write: (out: Buffer, at: number) => number,
  pass = 0,
): Buffer {
  const end = write(draft, SECTIONS_AT);
  const length = end + MAC_BYTES;
  if (length > MAX_ENVELOPE_BYTES) throw new RangeError(`a datagram of ${length} bytes is too long`);
  draft.writeUInt32BE(MAGIC, 0);
  draft[4] = VERSION;
  draft[KIND_AT] = kind;
  draft.writeUInt16BE(length, LENGTH_AT);
  identity.cluster.copy(draft, CLUSTER_AT);
  identity.self.copy(draft, SENDER_AT);
  writeHex(draft, KEY_AT, key.id);
  draft.writeUInt32BE(pass, PASS_AT);
  const out = Buffer.allocUnsafe(length);
  draft.copy(out, 0, 0, end);
  mac(key.key, out, end).copy(out, end);
  return out;
}

/**
 * The same once more, with something that is different.
 *
 * @param key the one that has signed it
 */
export function resealed(key: EnvelopeKey, data: Buffer, change: (out: Buffer) => void): Buffer {
  const out = Buffer.from(data);
  const end = data.length - MAC_BYTES;
  change(out);
  mac(key.key, out, end).copy(out, end);
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
  const keyId = KEY_IDS.read(data, KEY_AT, KEY_ID_BYTES);
  const key = identity.keys.find(({ id }) => id === keyId);
  if (key === undefined) return DROPS.key;
  const end = data.length - MAC_BYTES;
  if (!timingSafeEqual(mac(key.key, data, end), data.subarray(end))) return DROPS.auth;
  const sections = new Sections(data, end);
  return sections.isWhole ? { ok: true, kind: data[KIND_AT]!, self, keyId, sections } : DROPS.malformed;
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

export function same(data: Buffer, at: number, expected: Buffer): boolean {
  // Of a few bytes this is faster than a call out of JavaScript.
  for (let i = 0; i < expected.length; i++) if (data[at + i] !== expected[i]) return false;
  return true;
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

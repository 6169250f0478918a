import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

/**
 * What a node asks of the witness that grants leases, and what it answers. Big endian, always
 * `LEASE_MESSAGE_BYTES` long both ways, so that an answer is never longer than its question:
 *
 * ```
 *  0 magic 4        | 4 version 1 | 5 kind 1 | 6 operation or verdict 1 | 7 zero 1
 *  8 cluster hash 8 | 16 node hash 8 | 24 group hash 8
 * 32 process 8      | 40 token 8  | 48 zero 2, counter 6
 * 56 time, ms 4     | 60 epoch 4  | 64 silence, ms 4 | 68 zero 4
 * 72 HMAC-SHA256 over bytes 0–71, not truncated (RFC 2104)
 * ```
 *
 * The codec is pure; what is granted is for `lease-witness.ts` to say, what it is worth for `lease.ts`.
 */
export const LEASE_MESSAGE_BYTES = 104;

const MAGIC = 0x544e4457;
const VERSION = 1;
const QUESTION = 1;
const ANSWER = 2;
const CLUSTER_AT = 8;
const MAC_AT = 72;
const MAX_32 = 2 ** 32 - 1;

/**
 * - `take`: grant the lease, or more time for it;
 * - `release`: it is not needed any more, and the VIPs are gone;
 * - `look`: only say how things are.
 */
const OPERATIONS = ['take', 'release', 'look'] as const;
export type LeaseOperation = (typeof OPERATIONS)[number];

/**
 * - `granted`: for `timeMs` from when the question was sent;
 * - `denied`: another one holds it, for `timeMs` more;
 * - `vacant`: nobody else holds it;
 * - `prove`: nothing was decided; ask again with this token, which shows that the question is of now;
 * - `starting`: it grants nothing for `timeMs`, because it does not know what it granted before it started;
 * - `too-long`: it grants `timeMs` at most;
 * - `unheard`: not to a sender that hears no answers.
 */
const VERDICTS = ['granted', 'denied', 'vacant', 'prove', 'starting', 'too-long', 'unheard'] as const;
export type LeaseVerdict = (typeof VERDICTS)[number];

/** No token yet. */
export const NO_TOKEN = '0000000000000000';

/** Names are hashes of 16 hexadecimal digits, see `groupHash`. */
export interface LeaseQuestion {
  readonly operation: LeaseOperation;
  readonly node: string;
  /** The VIP group. */
  readonly group: string;
  /** Random for each start of an agent, 16 hexadecimal digits. */
  readonly process: string;
  readonly token: string;
  /** Grows with every question of the process. 1 to 2^48 - 1. */
  readonly counter: number;
  /** The lease is wanted for so long. 1 to 2^32 - 1. */
  readonly timeMs: number;
  /** Of the sender's leadership. 0 to 2^32 - 1. */
  readonly epoch: number;
  /** So long ago it sent the latest question to which it got an answer. 0 to 2^32 - 1. */
  readonly silenceMs: number;
}

/** `node`, `group`, `process` and `counter` are those of the question. */
export interface LeaseAnswer {
  readonly verdict: LeaseVerdict;
  readonly node: string;
  readonly group: string;
  readonly process: string;
  readonly counter: number;
  readonly token: string;
  /** See `LeaseVerdict`. */
  readonly timeMs: number;
  /** The highest one with which the group's lease was taken. */
  readonly epoch: number;
  /** So long no other node of the cluster has asked; at most the age of the witness. */
  readonly silenceMs: number;
}

/** A cluster as datagrams name it, 16 hexadecimal digits, and its key. */
export interface LeaseIdentity {
  readonly cluster: string;
  /** From `deriveKey(secret, 'witness', cluster)`. */
  readonly key: Buffer;
}

/** @param key from `deriveKey(secret, 'witness', cluster)` */
export function leaseIdentity(cluster: string, key: Buffer): LeaseIdentity {
  return { cluster: hashOf('cluster', cluster), key };
}

/** A node as datagrams name it. */
export function nodeHash(name: string): string {
  return hashOf('node', name);
}

export function encodeQuestion(identity: LeaseIdentity, question: LeaseQuestion): Buffer {
  return encode(identity, QUESTION, OPERATIONS.indexOf(question.operation), question);
}

export function encodeAnswer(identity: LeaseIdentity, answer: LeaseAnswer): Buffer {
  return encode(identity, ANSWER, VERDICTS.indexOf(answer.verdict), answer);
}

/**
 * The cluster that a datagram claims to be of, by which its key is found. Cheap, and not authenticated.
 *
 * @returns undefined when it is no question
 */
export function clusterOfQuestion(data: Buffer): string | undefined {
  return isMessage(data, QUESTION) ? hex(data, CLUSTER_AT) : undefined;
}

/** @returns undefined when it is not an authentic question of the cluster */
export function decodeQuestion(identity: LeaseIdentity, data: Buffer): LeaseQuestion | undefined {
  const operation = open(identity, QUESTION, data) ? OPERATIONS[data[6]!] : undefined;
  if (operation === undefined) return undefined;
  const question = { operation, ...fields(data) };
  return question.counter > 0 && question.timeMs > 0 ? question : undefined;
}

/** @returns undefined when it is not an authentic answer of the cluster's witness */
export function decodeAnswer(identity: LeaseIdentity, data: Buffer): LeaseAnswer | undefined {
  const verdict = open(identity, ANSWER, data) ? VERDICTS[data[6]!] : undefined;
  return verdict && { verdict, ...fields(data) };
}

function encode(
  { cluster, key }: LeaseIdentity,
  kind: number,
  what: number,
  message: Omit<LeaseAnswer, 'verdict'>,
): Buffer {
  const out = Buffer.alloc(LEASE_MESSAGE_BYTES);
  out.writeUInt32BE(MAGIC, 0);
  out[4] = VERSION;
  out[5] = kind;
  out[6] = what;
  out.write(cluster, CLUSTER_AT, 8, 'hex');
  out.write(message.node, 16, 8, 'hex');
  out.write(message.group, 24, 8, 'hex');
  out.write(message.process, 32, 8, 'hex');
  out.write(message.token, 40, 8, 'hex');
  out.writeUIntBE(message.counter, 50, 6);
  out.writeUInt32BE(clamp(message.timeMs), 56);
  out.writeUInt32BE(clamp(message.epoch), 60);
  out.writeUInt32BE(clamp(message.silenceMs), 64);
  mac(key, out).copy(out, MAC_AT);
  return out;
}

function fields(data: Buffer) {
  return {
    node: hex(data, 16),
    group: hex(data, 24),
    process: hex(data, 32),
    token: hex(data, 40),
    counter: data.readUIntBE(50, 6),
    timeMs: data.readUInt32BE(56),
    epoch: data.readUInt32BE(60),
    silenceMs: data.readUInt32BE(64),
  };
}

/** The cheap checks come first, so that a flood of foreign datagrams costs no HMAC. */
function isMessage(data: Buffer, kind: number): boolean {
  return (
    data.length === LEASE_MESSAGE_BYTES &&
    data.readUInt32BE(0) === MAGIC &&
    data[4] === VERSION &&
    data[5] === kind
  );
}

function open({ cluster, key }: LeaseIdentity, kind: number, data: Buffer): boolean {
  return (
    isMessage(data, kind) &&
    hex(data, CLUSTER_AT) === cluster &&
    timingSafeEqual(mac(key, data), data.subarray(MAC_AT))
  );
}

function hashOf(kind: string, name: string): string {
  return createHash('sha256').update(`${kind}\0${name}`).digest('hex').slice(0, 16);
}

function hex(data: Buffer, at: number): string {
  return data.toString('hex', at, at + 8);
}

function clamp(value: number): number {
  return Math.min(Math.max(Math.round(value), 0), MAX_32);
}

function mac(key: Buffer, data: Buffer): Buffer {
  return createHmac('sha256', key).update(data.subarray(0, MAC_AT)).digest();
}

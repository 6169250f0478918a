import { bytesFrame, FRAME, MAX_PAYLOAD, ProtocolError } from '../session/sync-frame.ts';
import { isIpv6, KEY_CHARS_IPV4, KEY_CHARS_IPV6, STATUS, TCP, UDP } from './flow.ts';

/** Kinds of `flows` frames: the first word of the payload. Numbers are on the wire; never reuse one. */
export const KIND = { state: 1, begin: 2, records: 3, end: 4, ack: 5, digest: 6, again: 7 } as const;

/** Flows in one frame: a slice of about a millisecond. */
export const RECORDS_PER_FRAME = 512;
/** VIPs of a node; more than a config can have. */
const MAX_ADDRESSES = 1024;
const MAX_CAUSE_BYTES = 256;
/** A week, more than the kernel's five days for an established connection. */
export const MAX_TIMEOUT_S = 604_800;

/** Head of a record: flags, status, two zeros, mark, timeout. */
const RECORD_HEAD = 12;
const TUPLES_IPV4 = 2 * KEY_CHARS_IPV4 - 1;
const TUPLES_IPV6 = 2 * KEY_CHARS_IPV6 - 1;
const RECORD = { ended: 1, ipv6: 2 } as const;

/** What a record tells: a flow as it is now, or that the one with this key has ended. */
export interface FlowRecord {
  /** Of an ended flow only the key counts. */
  readonly tuples: string;
  readonly ended: boolean;
  readonly mark: number;
  readonly status: number;
  readonly timeoutS: number;
}

/** Number and sum of what a sender has told, to compare tables by. */
export interface FlowDigest {
  readonly count: number;
  /** Sum of `flowHash` modulo 2^32. */
  readonly sum: number;
}

export type FlowFrame =
  /** First frame: whether this node can write flows, else why not. */
  | { readonly kind: typeof KIND.state; readonly usable: boolean; readonly why: string }
  /** A snapshot begins: all flows to these addresses (latin1 bytes) follow, others have no owner here. */
  | { readonly kind: typeof KIND.begin; readonly addresses: readonly string[] }
  | { readonly kind: typeof KIND.records; readonly first: number; readonly records: readonly FlowRecord[] }
  /** The snapshot is complete, and what was told sums up to this. */
  | { readonly kind: typeof KIND.end; readonly digest: FlowDigest }
  /** All records before this sequence number are in the kernel. */
  | { readonly kind: typeof KIND.ack; readonly applied: number; readonly filled: boolean }
  | { readonly kind: typeof KIND.digest; readonly digest: FlowDigest }
  /** The receiver lost something: a new snapshot, please. */
  | { readonly kind: typeof KIND.again };

/** Fills one `records` frame. */
export class RecordsBuilder {
  readonly #buffer = Buffer.alloc(MAX_PAYLOAD);
  #at = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** @param first sequence number of the first record */
  begin(first: number): void {
    this.#buffer.writeUInt32LE(KIND.records, 0);
    this.#buffer.writeDoubleLE(first, 4);
    this.#at = 16;
    this.#count = 0;
  }

  add({ tuples, ended, mark, status, timeoutS }: FlowRecord): void {
    const flags = (ended ? RECORD.ended : 0) | (isIpv6(tuples) ? RECORD.ipv6 : 0);
    this.#buffer.writeUInt32LE(flags | (status << 8), this.#at);
    this.#buffer.writeUInt32LE(mark >>> 0, this.#at + 4);
    this.#buffer.writeUInt32LE(timeoutS, this.#at + 8);
    const chars = isIpv6(tuples) ? TUPLES_IPV6 : TUPLES_IPV4;
    this.#buffer.fill(0, this.#at + RECORD_HEAD, this.#at + RECORD_HEAD + chars + 3);
    this.#buffer.latin1Write(tuples, this.#at + RECORD_HEAD);
    this.#at += (RECORD_HEAD + chars + 3) & ~3;
    this.#count++;
  }

  finish(): Buffer {
    this.#buffer.writeUInt32LE(this.#count, 12);
    return bytesFrame(FRAME.flows, this.#buffer.subarray(0, this.#at));
  }
}

/** Any frame but `records`, whole. */
export function flowFrame(frame: Exclude<FlowFrame, { kind: typeof KIND.records }>): Buffer {
  return bytesFrame(FRAME.flows, payloadOf(frame));
}

function payloadOf(frame: Exclude<FlowFrame, { kind: typeof KIND.records }>): Buffer {
  const { kind } = frame;
  if (kind === KIND.state) {
    const why = Buffer.from(frame.why).subarray(0, MAX_CAUSE_BYTES);
    return Buffer.concat([words(kind, frame.usable ? 1 : 0), why]);
  }
  if (kind === KIND.begin) {
    const list = frame.addresses.slice(0, MAX_ADDRESSES);
    const parts = list.map((it) => Buffer.from(String.fromCharCode(it.length) + it, 'latin1'));
    return Buffer.concat([words(kind, list.length), ...parts]);
  }
  if (kind === KIND.end || kind === KIND.digest) return words(kind, frame.digest.count, frame.digest.sum);
  if (kind === KIND.again) return words(kind);
  const payload = Buffer.alloc(16);
  payload.writeUInt32LE(kind, 0);
  payload.writeUInt32LE(frame.filled ? 1 : 0, 4);
  payload.writeDoubleLE(frame.applied, 8);
  return payload;
}

/** @throws ProtocolError with what is wrong with the payload */
export function parseFlowFrame(payload: Buffer): FlowFrame {
  const kind = payload.readUInt32LE(0);
  if (kind === KIND.records) return parseRecords(payload);
  if (kind === KIND.state && payload.length >= 8 && payload.length <= 8 + MAX_CAUSE_BYTES) {
    const why = payload.toString('utf8', 8).replaceAll(/[^ -~]/g, '?');
    return { kind, usable: payload.readUInt32LE(4) === 1, why };
  }
  if (kind === KIND.begin && payload.length >= 8) return parseBegin(payload);
  if ((kind === KIND.end || kind === KIND.digest) && payload.length === 12)
    return { kind, digest: { count: payload.readUInt32LE(4), sum: payload.readUInt32LE(8) } };
  if (kind === KIND.ack && payload.length === 16)
    return { kind, filled: payload.readUInt32LE(4) === 1, applied: sequenceAt(payload, 8) };
  if (kind === KIND.again && payload.length === 4) return { kind };
  throw new ProtocolError(`flows frame of kind ${kind} with ${payload.length} bytes`);
}

function parseBegin(payload: Buffer): FlowFrame {
  const count = payload.readUInt32LE(4);
  const addresses: string[] = [];
  let at = 8;
  while (at < payload.length && addresses.length < count) {
    const length = payload[at]!;
    if ((length !== 4 && length !== 16) || at + 1 + length > payload.length)
      throw new ProtocolError(`an address of ${length} bytes`);
    addresses.push(payload.latin1Slice(at + 1, at + 1 + length));
    at += 1 + length;
  }
  if (addresses.length !== count || at !== payload.length || count > MAX_ADDRESSES)
    throw new ProtocolError(`${count} addresses in ${payload.length} bytes`);
  return { kind: KIND.begin, addresses };
}

function parseRecords(payload: Buffer): FlowFrame {
  if (payload.length < 16) throw new ProtocolError(`flow records in ${payload.length} bytes`);
  const count = payload.readUInt32LE(12);
  const records: FlowRecord[] = [];
  let at = 16;
  while (at < payload.length && records.length < count) {
    if (at + RECORD_HEAD > payload.length) throw new ProtocolError('a flow record is cut short');
    const bits = payload.readUInt32LE(at);
    const chars = bits & RECORD.ipv6 ? TUPLES_IPV6 : TUPLES_IPV4;
    const end = (at + RECORD_HEAD + chars + 3) & ~3;
    const ended = (bits & RECORD.ended) !== 0;
    const status = (bits >>> 8) & 0xff;
    const timeoutS = payload.readUInt32LE(at + 8);
    const protocol = payload[at + RECORD_HEAD];
    if (end > payload.length) throw new ProtocolError('a flow record is cut short');
    if ((protocol !== TCP && protocol !== UDP) || timeoutS > MAX_TIMEOUT_S)
      throw new ProtocolError(`a flow of protocol ${protocol} with ${timeoutS} s to live`);
    const own = bits & ~(RECORD.ended | RECORD.ipv6 | ((STATUS.seenReply | STATUS.assured) << 8));
    if (own !== 0) throw new ProtocolError(`a flow record with unknown bits ${bits.toString(16)}`);
    const shown = ended ? (bits & RECORD.ipv6 ? KEY_CHARS_IPV6 : KEY_CHARS_IPV4) : chars;
    const tuples = payload.latin1Slice(at + RECORD_HEAD, at + RECORD_HEAD + shown);
    records.push({ tuples, ended, status, mark: payload.readUInt32LE(at + 4), timeoutS });
    at = end;
  }
  if (count < 1 || count > RECORDS_PER_FRAME || records.length !== count || at !== payload.length)
    throw new ProtocolError(`${count} flow records in ${payload.length} bytes`);
  return { kind: KIND.records, first: sequenceAt(payload, 4), records };
}

function sequenceAt(payload: Buffer, at: number): number {
  const value = payload.readDoubleLE(at);
  if (!Number.isSafeInteger(value) || value < 0) throw new ProtocolError(`sequence number ${value}`);
  return value;
}

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [i, value] of values.entries()) bytes.writeUInt32LE(value >>> 0, i * 4);
  return bytes;
}

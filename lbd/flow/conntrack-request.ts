import { ATTRIBUTE, CONNTRACK_HEAD, FLAG, MESSAGE } from './conntrack-message.ts';
import { isIpv6, protocolOf, STATUS, TCP, TCP_STATE, toldStatus } from './flow.ts';
import { NETLINK_HEAD } from './netlink-socket.ts';

/** No request has more. */
const MAX_REQUEST_BYTES = 512;

const [AF_INET, AF_INET6] = [2, 10];
const NESTED = 0x8000;
/** NLMSG_NOOP. */
const NOOP = 1;
/**
 * IP_CT_TCP_FLAG_SACK_PERM and IP_CT_TCP_FLAG_BE_LIBERAL, value and mask. The kernel has not seen the handshake, so it
 * does not know the window scaling, and would drop packets as outside of the window (what `conntrack -I` sets, too).
 */
const LIBERAL = 0x0a0a;
/** Attributes of a TCP flow's protocol information. */
const TCP_INFO = { state: 1, flagsOriginal: 4, flagsReply: 5 } as const;

/** What is written about a flow. */
export interface FlowWrite {
  readonly tuples: string;
  readonly mark: number;
  readonly status: number;
  readonly timeoutS: number;
}

/** Requests about flows, written one after the other. */
export interface FlowBatch {
  /** Requests in it. */
  readonly count: number;
  /** So many more fit. */
  readonly room: number;
  /** Makes a flow that the kernel does not have; EOPNOTSUPP where it has it. */
  insert(sequence: number, flow: FlowWrite): void;
  /**
   * Gives a flow that the kernel has a new life, and some bits of its mark, and lets it take packets of any window; ENOENT
   * where it does not have it.
   *
   * @param has the status that it has there: bits cannot be taken back, trying is an error
   * @param marks bits of the mark that are set as in `flow`; the others stay
   */
  update(sequence: number, flow: FlowWrite, has: number, marks: number): void;
  /** @param tuples or a key */
  delete(sequence: number, tuples: string): void;
  /** Asks for all flows of all families. */
  dump(sequence: number): void;
  /** Asks for nothing: the answer comes after all that the kernel had to tell before. */
  nothing(sequence: number): void;
  /**
   * The bytes of all requests, and an empty batch again. The last one asks for an answer in any case, so that its answer
   * shows that all have been read. The buffer is used again by the next batch.
   */
  take(): Buffer;
}

/** Requests as the kernel reads them. */
export class RequestBatch implements FlowBatch {
  readonly #buffer: Buffer;
  readonly #capacity: number;
  #count = 0;
  /** Where the request begins that is written now, or was last. */
  #start = 0;
  #at = 0;

  /** @param capacity most requests in a batch */
  constructor(capacity: number) {
    this.#capacity = capacity;
    this.#buffer = Buffer.alloc(capacity * MAX_REQUEST_BYTES);
  }

  get count(): number {
    return this.#count;
  }

  get room(): number {
    return this.#capacity - this.#count;
  }

  insert(sequence: number, flow: FlowWrite): void {
    const { tuples } = flow;
    this.#begin(MESSAGE.new, FLAG.request | FLAG.create, sequence, isIpv6(tuples));
    this.#originalTuple(tuples);
    this.#inverseTuple(tuples);
    this.#word(ATTRIBUTE.status, STATUS.confirmed | toldStatus(tuples, flow.status));
    this.#word(ATTRIBUTE.timeout, flow.timeoutS);
    if (flow.mark !== 0) this.#word(ATTRIBUTE.mark, flow.mark);
    if (protocolOf(tuples) === TCP) this.#tcp(true);
    this.#nat(tuples);
    this.#finish();
  }

  update(sequence: number, flow: FlowWrite, has: number, marks: number): void {
    const { tuples } = flow;
    this.#begin(MESSAGE.new, FLAG.request, sequence, isIpv6(tuples));
    this.#originalTuple(tuples);
    const known = has & (STATUS.seenReply | STATUS.assured);
    this.#word(ATTRIBUTE.status, STATUS.confirmed | known | toldStatus(tuples, flow.status));
    this.#word(ATTRIBUTE.timeout, flow.timeoutS);
    if (marks !== 0) {
      this.#word(ATTRIBUTE.mark, flow.mark);
      this.#word(ATTRIBUTE.markMask, marks);
    }
    if (protocolOf(tuples) === TCP) this.#tcp(false);
    this.#finish();
  }

  delete(sequence: number, tuples: string): void {
    this.#begin(MESSAGE.delete, FLAG.request, sequence, isIpv6(tuples));
    this.#originalTuple(tuples);
    this.#finish();
  }

  dump(sequence: number): void {
    this.#begin(MESSAGE.get, FLAG.request | FLAG.dump, sequence, false);
    this.#buffer[this.#at - 4] = 0;
    this.#finish();
  }

  nothing(sequence: number): void {
    this.#begin(NOOP, FLAG.request, sequence, false);
    this.#finish();
  }

  take(): Buffer {
    const last = this.#start + 6;
    this.#buffer.writeUInt16LE(this.#buffer.readUInt16LE(last) | FLAG.ack, last);
    const bytes = this.#buffer.subarray(0, this.#at);
    this.#count = this.#start = this.#at = 0;
    return bytes;
  }

  #begin(type: number, flags: number, sequence: number, ipv6: boolean): void {
    const start = this.#at;
    this.#start = start;
    this.#buffer.fill(0, start, start + MAX_REQUEST_BYTES);
    this.#buffer.writeUInt16LE(type, start + 4);
    this.#buffer.writeUInt16LE(flags, start + 6);
    this.#buffer.writeUInt32LE(sequence, start + 8);
    this.#buffer[start + NETLINK_HEAD] = ipv6 ? AF_INET6 : AF_INET;
    this.#at = start + CONNTRACK_HEAD;
  }

  #finish(): void {
    this.#buffer.writeUInt32LE(this.#at - this.#start, this.#start);
    this.#count++;
  }

  #attribute(type: number, valueBytes: number): void {
    this.#buffer.writeUInt16LE(4 + valueBytes, this.#at);
    this.#buffer.writeUInt16LE(type, this.#at + 2);
    this.#at += 4;
  }

  #word(type: number, value: number): void {
    this.#attribute(type, 4);
    this.#at = this.#buffer.writeUInt32BE(value >>> 0, this.#at);
  }

  #port(type: number, tuples: string, from: number): void {
    this.#attribute(type, 2);
    this.#buffer.latin1Write(tuples.slice(from, from + 2), this.#at);
    this.#at += 4;
  }

  #address(type: number, tuples: string, from: number, bytes: number): void {
    this.#attribute(type, bytes);
    this.#buffer.latin1Write(tuples.slice(from, from + bytes), this.#at);
    this.#at += bytes;
  }

  #originalTuple(tuples: string): void {
    const bytes = isIpv6(tuples) ? 16 : 4;
    this.#tuple(ATTRIBUTE.tupleOriginal, tuples, bytes, 1, 1 + bytes, 1 + 2 * bytes, 3 + 2 * bytes);
  }

  /** The reply without any translation; what `#nat` adds makes the kernel change it. */
  #inverseTuple(tuples: string): void {
    const bytes = isIpv6(tuples) ? 16 : 4;
    this.#tuple(ATTRIBUTE.tupleReply, tuples, bytes, 1 + bytes, 1, 3 + 2 * bytes, 1 + 2 * bytes);
  }

  /** The last four are places in `tuples`. */
  #tuple(
    type: number,
    tuples: string,
    bytes: number,
    source: number,
    destination: number,
    sourcePort: number,
    destinationPort: number,
  ): void {
    const ip = bytes === 16 ? 3 : 1;
    const ipBytes = 2 * (4 + bytes);
    this.#attribute(type | NESTED, 4 + ipBytes + 4 + 24);
    this.#attribute(1 | NESTED, ipBytes);
    this.#address(ip, tuples, source, bytes);
    this.#address(ip + 1, tuples, destination, bytes);
    this.#attribute(2 | NESTED, 24);
    this.#attribute(1, 1);
    this.#buffer[this.#at] = protocolOf(tuples);
    this.#at += 4;
    this.#port(2, tuples, sourcePort);
    this.#port(3, tuples, destinationPort);
  }

  #tcp(isNew: boolean): void {
    const infoBytes = isNew ? 24 : 16;
    this.#attribute(ATTRIBUTE.protocolInfo | NESTED, 4 + infoBytes);
    this.#attribute(1 | NESTED, infoBytes);
    if (isNew) {
      this.#attribute(TCP_INFO.state, 1);
      this.#buffer[this.#at] = TCP_STATE.established;
      this.#at += 4;
    }
    for (const type of [TCP_INFO.flagsOriginal, TCP_INFO.flagsReply]) {
      this.#attribute(type, 2);
      this.#buffer.writeUInt16BE(LIBERAL, this.#at);
      this.#at += 4;
    }
  }

  /** Translations of the destination and the source, as the reply direction shows them. */
  #nat(tuples: string): void {
    const bytes = isIpv6(tuples) ? 16 : 4;
    const portsAt = 1 + 2 * bytes;
    const replyAt = portsAt + 4;
    const replyPortsAt = replyAt + 2 * bytes;
    const same = (a: number, b: number, length: number) =>
      tuples.slice(a, a + length) === tuples.slice(b, b + length);
    if (!same(1 + bytes, replyAt, bytes) || !same(portsAt + 2, replyPortsAt, 2))
      this.#range(ATTRIBUTE.natDestination, tuples, replyAt, replyPortsAt, bytes);
    if (!same(1, replyAt + bytes, bytes) || !same(portsAt, replyPortsAt + 2, 2))
      this.#range(ATTRIBUTE.natSource, tuples, replyAt + bytes, replyPortsAt + 2, bytes);
  }

  #range(type: number, tuples: string, address: number, port: number, bytes: number): void {
    this.#attribute(type | NESTED, 4 + bytes + 4 + 16);
    // CTA_NAT_V4_MINIP or CTA_NAT_V6_MINIP; without a maximum it is one address.
    this.#address(bytes === 16 ? 4 : 1, tuples, address, bytes);
    this.#attribute(3 | NESTED, 16);
    this.#port(1, tuples, port);
    this.#port(2, tuples, port);
  }
}

import type { Flow } from './flow.ts';
import { TCP, UDP } from './flow.ts';
import { NETLINK_HEAD } from './netlink-socket.ts';

/** Types of netlink messages (include/uapi/linux/netlink.h) and of conntrack (nfnetlink_conntrack.h). */
export const MESSAGE = { error: 2, done: 3, new: 0x100, get: 0x101, delete: 0x102 } as const;
/** Flags of netlink messages. */
export const FLAG = {
  request: 0x1,
  multi: 0x2,
  ack: 0x4,
  interrupted: 0x10,
  dump: 0x300,
  create: 0x400,
} as const;
/** Attributes of a flow (`enum ctattr_type`). */
export const ATTRIBUTE = {
  tupleOriginal: 1,
  tupleReply: 2,
  status: 3,
  protocolInfo: 4,
  natSource: 6,
  timeout: 7,
  mark: 8,
  countersOriginal: 9,
  countersReply: 10,
  natDestination: 13,
  zone: 18,
  markMask: 21,
} as const;
/** After the netlink header: family, version, resource (`struct nfgenmsg`). */
export const CONNTRACK_HEAD = NETLINK_HEAD + 4;
/** Type bits that are no part of the type: nested, byte order. */
const TYPE_MASK = 0x3fff;
const ATTRIBUTE_HEAD = 4;
const TUPLE_BYTES_MAX = 73;

/**
 * Reads flows out of conntrack's netlink messages, without an object for each: the fields hold what `read` found last.
 * Whatever is not TCP or UDP, is in a zone, or is malformed reads as "not ours", as does what the filter refuses.
 */
export class ConntrackMessage implements Flow {
  tuples = '';
  mark = 0;
  status = 0;
  tcpState = 0;
  timeoutS = 0;
  /** Both directions; 0 where the kernel does not count (`nf_conntrack_acct`). */
  bytes = 0;

  /** Where the filter looks: protocol, source, destination, source port, destination port, as in a key. */
  readonly original: Buffer = Buffer.alloc(TUPLE_BYTES_MAX);
  #length = 0;

  /**
   * @param filter sees `original` and its length and says whether the rest matters; most events are of other flows
   * @returns whether the fields are filled
   */
  read(
    bytes: Buffer,
    at: number,
    end: number,
    filter: (original: Buffer, length: number) => boolean,
  ): boolean {
    this.tuples = '';
    this.mark = this.status = this.tcpState = this.timeoutS = this.bytes = 0;
    let place = at + CONNTRACK_HEAD;
    while (place + ATTRIBUTE_HEAD <= end) {
      const length = bytes.readUInt16LE(place);
      const type = bytes.readUInt16LE(place + 2) & TYPE_MASK;
      const [from, to] = [place + ATTRIBUTE_HEAD, place + length];
      if (length < ATTRIBUTE_HEAD || to > end) return false;
      const word = to - from === 4 ? bytes.readUInt32BE(from) : 0;
      if (type === ATTRIBUTE.tupleOriginal) {
        this.#length = readTuple(bytes, from, to, this.original, 0);
        if (this.#length === 0 || !filter(this.original, this.#length)) return false;
      } else if (type === ATTRIBUTE.tupleReply) {
        // Kernels send the original direction first, always.
        if (this.#length === 0 || readTuple(bytes, from, to, reply, 0) !== this.#length) return false;
        this.tuples = this.original.latin1Slice(0, this.#length) + reply.latin1Slice(1, this.#length);
      } else if (type === ATTRIBUTE.status) this.status = word;
      else if (type === ATTRIBUTE.timeout) this.timeoutS = word;
      else if (type === ATTRIBUTE.mark) this.mark = word;
      else if (type === ATTRIBUTE.protocolInfo) this.tcpState = readTcpState(bytes, from, to);
      else if (type === ATTRIBUTE.countersOriginal || type === ATTRIBUTE.countersReply)
        this.bytes += readBytes(bytes, from, to);
      else if (type === ATTRIBUTE.zone) return false;
      place += (length + 3) & ~3;
    }
    return this.tuples !== '';
  }
}

const reply = Buffer.alloc(TUPLE_BYTES_MAX);

/**
 * Writes protocol, addresses and ports of a tuple to `into`.
 *
 * @returns its length; 0 where it is none of TCP or UDP
 */
function readTuple(bytes: Buffer, from: number, to: number, into: Buffer, at: number): number {
  let addressBytes = 0;
  let found = 0;
  // Two levels: IP (1) with source and destination (1, 2 or for IPv6 3, 4), protocol (2) with number and ports.
  for (let outer = from; outer + ATTRIBUTE_HEAD <= to; ) {
    const outerLength = bytes.readUInt16LE(outer);
    const group = bytes.readUInt16LE(outer + 2) & TYPE_MASK;
    const outerEnd = outer + outerLength;
    if (outerLength < ATTRIBUTE_HEAD || outerEnd > to) return 0;
    for (let inner = outer + ATTRIBUTE_HEAD; group <= 2 && inner + ATTRIBUTE_HEAD <= outerEnd; ) {
      const length = bytes.readUInt16LE(inner);
      const type = bytes.readUInt16LE(inner + 2) & TYPE_MASK;
      const value = inner + ATTRIBUTE_HEAD;
      if (length < ATTRIBUTE_HEAD || inner + length > outerEnd) return 0;
      const valueBytes = length - ATTRIBUTE_HEAD;
      if (group === 1 && type >= 1 && type <= 4) {
        const size = type <= 2 ? 4 : 16;
        if (valueBytes !== size || (addressBytes !== 0 && addressBytes !== size)) return 0;
        addressBytes = size;
        bytes.copy(into, at + 1 + (type % 2 === 1 ? 0 : size), value, value + size);
        found |= type % 2 === 1 ? 1 : 2;
      } else if (group === 2 && type === 1) {
        if (valueBytes !== 1) return 0;
        const protocol = bytes[value]!;
        if (protocol !== TCP && protocol !== UDP) return 0;
        into[at] = protocol;
        found |= 4;
      } else if (group === 2 && (type === 2 || type === 3)) {
        if (valueBytes !== 2 || addressBytes === 0) return 0;
        bytes.copy(into, at + 1 + 2 * addressBytes + (type - 2) * 2, value, value + 2);
        found |= type === 2 ? 8 : 16;
      }
      inner += (length + 3) & ~3;
    }
    // A zone of one direction.
    if (group > 2) return 0;
    outer += (outerLength + 3) & ~3;
  }
  return found === 31 ? 1 + 2 * addressBytes + 4 : 0;
}

/** CTA_PROTOINFO_TCP (1) › CTA_PROTOINFO_TCP_STATE (1). */
function readTcpState(bytes: Buffer, from: number, to: number): number {
  const inner = from + ATTRIBUTE_HEAD;
  if (inner + ATTRIBUTE_HEAD + 1 > to || (bytes.readUInt16LE(from + 2) & TYPE_MASK) !== 1) return 0;
  const isState = (bytes.readUInt16LE(inner + 2) & TYPE_MASK) === 1 && bytes.readUInt16LE(inner) === 5;
  return isState ? bytes[inner + ATTRIBUTE_HEAD]! : 0;
}

/** CTA_COUNTERS_BYTES (2) among the counters. */
function readBytes(bytes: Buffer, from: number, to: number): number {
  for (let place = from; place + ATTRIBUTE_HEAD <= to; ) {
    const length = bytes.readUInt16LE(place);
    if (length < ATTRIBUTE_HEAD || place + length > to) return 0;
    if ((bytes.readUInt16LE(place + 2) & TYPE_MASK) === 2 && length === 12)
      return bytes.readUInt32BE(place + 4) * 2 ** 32 + bytes.readUInt32BE(place + 8);
    place += (length + 3) & ~3;
  }
  return 0;
}

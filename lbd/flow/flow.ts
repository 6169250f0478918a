/** Protocol numbers of IP. */
export const TCP = 6;
export const UDP = 17;
export type FlowProtocol = typeof TCP | typeof UDP;

/** Bits of conntrack's status (`enum ip_conntrack_status` of the kernel). */
export const STATUS = { seenReply: 2, assured: 4, confirmed: 8 } as const;

/** States of TCP in conntrack (`enum tcp_conntrack` of the kernel). */
export const TCP_STATE = { none: 0, established: 3, lastAck: 6 } as const;

/** Characters of a key: protocol, source, destination, two ports. */
export const KEY_CHARS_IPV4 = 13;
export const KEY_CHARS_IPV6 = 37;

/**
 * What makes a flow the same flow on either node. `tuples` has one character a byte (latin1), because strings are what
 * a Map compares fast: the protocol, then for each direction source address, destination address, source port,
 * destination port. 25 characters for IPv4, 73 for IPv6.
 */
export interface Flow {
  readonly tuples: string;
  readonly mark: number;
  /** Bits of STATUS. */
  readonly status: number;
  /** Of TCP_STATE; 0 for UDP. */
  readonly tcpState: number;
  /** Life that the kernel gave it at its last change. */
  readonly timeoutS: number;
}

/** What the kernel finds a flow by: protocol and original direction. */
export function keyOf(tuples: string): string {
  return tuples.slice(0, isIpv6(tuples) ? KEY_CHARS_IPV6 : KEY_CHARS_IPV4);
}

/** Works for keys, too. */
export function isIpv6(tuples: string): boolean {
  return tuples.length > 2 * KEY_CHARS_IPV4;
}

export function protocolOf(tuples: string): number {
  return tuples.charCodeAt(0);
}

/** Address that the client asked, as latin1 bytes. */
export function destinationOf(tuples: string): string {
  return isIpv6(tuples) ? tuples.slice(17, 33) : tuples.slice(5, 9);
}

/** Address of the client, as latin1 bytes. */
export function sourceOf(tuples: string): string {
  return isIpv6(tuples) ? tuples.slice(1, 17) : tuples.slice(1, 5);
}

/**
 * Whether a flow is worth having on the other node: TCP from the end of the handshake until both sides have closed.
 * Before, a client sends its SYN again; after, nothing is left to lose.
 */
export function lives({ tuples, tcpState }: Flow): boolean {
  return protocolOf(tuples) !== TCP || (tcpState >= TCP_STATE.established && tcpState <= TCP_STATE.lastAck);
}

/** Whether both sides have closed, or one has reset: the kernel forgets it in a while, and takes no segment of it. */
export function hasEnded({ tuples, tcpState }: Flow): boolean {
  return protocolOf(tuples) === TCP && tcpState > TCP_STATE.lastAck;
}

/**
 * What the other node must know of a flow, in 32 bits: it is told when this changes, and tables are compared by the
 * sums. The state of TCP is left out, because the other node takes every living flow for established and the kernel
 * goes on from there.
 */
export function flowHash({ tuples, mark, status }: Flow): number {
  let hash = 0x811c9dc5 ^ mark;
  for (let i = 0; i < tuples.length; i++) hash = Math.imul(hash ^ tuples.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ toldStatus(tuples, status), 0x01000193);
  // FNV-1a leaves its last byte in the low bits; the finalizer of MurmurHash3 spreads it.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Status as the other node is told: TCP is established, so it has seen both. */
export function toldStatus(tuples: string, status: number): number {
  return protocolOf(tuples) === TCP
    ? STATUS.seenReply | STATUS.assured
    : status & (STATUS.seenReply | STATUS.assured);
}

/** Where a flow leads after translation, for people. */
export function endText(tuples: string): string {
  const bytes = isIpv6(tuples) ? 16 : 4;
  const [at, portAt] = [5 + 2 * bytes, 5 + 4 * bytes];
  const address = Buffer.from(tuples.slice(at, at + bytes), 'latin1');
  const port = tuples.charCodeAt(portAt) * 256 + tuples.charCodeAt(portAt + 1);
  if (bytes === 4) return `${address.join('.')}:${port}`;
  const words = Array.from({ length: 8 }, (_, i) => address.readUInt16BE(2 * i).toString(16));
  return `[${words.join(':')}]:${port}`;
}

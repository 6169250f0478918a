import { OperatorError } from '../../common/errors.ts';
import { errorText, libc, MSG, SO, SOCK, SOL_SOCKET } from '../../common/libc.ts';

/** A message of the kernel that cannot be one. */
export class NetlinkError extends Error {
  override readonly name = 'NetlinkError';
}

/** Messages were lost: they came faster than they were read. */
export class NetlinkOverrun extends Error {
  override readonly name = 'NetlinkOverrun';
}

/** `struct nlmsghdr`: length, type, flags, sequence, port; in the byte order of the host. */
export const NETLINK_HEAD = 16;

/** Called with a whole message at `at` of `bytes`, valid during the call only; `end` is after its last byte. */
export type OnNetlinkMessage = (bytes: Buffer, at: number, end: number) => void;

/** A socket to a part of the kernel; never blocks. */
export interface NetlinkSocket {
  /**
   * Reads what one call brings, at most some hundred messages, in the order in which the kernel sent them. `onMessage` may close the socket.
   *
   * @returns whether there may be more
   * @throws NetlinkOverrun, NetlinkError, OperatorError
   */
  read(onMessage: OnNetlinkMessage): boolean;
  /**
   * Sends whole requests of a batch that fits this socket. When the kernel has carried them out, `onAnswers` of whoever
   * opened it is called: its answers can be read then.
   *
   * @throws OperatorError
   */
  write(requests: Buffer): void;
  close(): void;
}

const [AF_NETLINK, NETLINK_NETFILTER] = [16, 12];
/** Groups 1, 2 and 3: new flows, updates, ends. */
const CONNTRACK_EVENTS = 0x7;
/** Room in the kernel for events that are not read yet: some 30,000 of them, a second and more. */
const RECEIVE_BYTES = 32 * 1024 * 1024;
/** SOL_NETLINK: NETLINK_CAP_ACK, so that an answer does not bring the request back. */
const [SOL_NETLINK, CAP_ACK] = [270, 10];
/** Datagrams read by one call. */
const SLOTS = 32;
/** The kernel makes none of more: NLMSG_GOODSIZE, and no more than this reader takes at a time. */
const SLOT_BYTES = 8192;
/** `struct mmsghdr` and the places in it, and `struct iovec`; of 64-bit systems. */
const MMSGHDR = { bytes: 64, iov: 16, iovCount: 24, flags: 48, length: 56 } as const;
const IOVEC_BYTES = 16;
const [EPERM, EAGAIN, ENOBUFS] = [1, 11, 105];

/**
 * Opens a socket that hears of every flow of the kernel's connection tracking and takes requests about them.
 *
 * @param onAnswers called during each write: the kernel answers at once
 * @throws OperatorError
 */
export function openConntrack(onAnswers: () => void = () => {}): NetlinkSocket {
  return new ConntrackSocket(conntrackDescriptor(), onAnswers);
}

/**
 * Opens such a socket for whoever will read from it; requests need the capability when it is opened and when they are sent.
 *
 * @returns its descriptor, which the caller closes
 * @throws OperatorError
 */
export function conntrackDescriptor(): number {
  const { socket, bind, connect, errno, close } = libc();
  const fd = socket(AF_NETLINK, SOCK.raw | SOCK.nonBlocking | SOCK.closeOnExec, NETLINK_NETFILTER);
  if (fd < 0) throw refused('socket', errno());
  enlarge(fd);
  setOption(fd, SOL_NETLINK, CAP_ACK, 1);
  const address = Buffer.alloc(12);
  address.writeUInt16LE(AF_NETLINK);
  const kernel = Buffer.from(address);
  address.writeUInt32LE(CONNTRACK_EVENTS, 8);
  for (const [name, result] of [
    ['bind', () => bind(fd, address, address.length)],
    // From now on only the kernel can send to it.
    ['connect', () => connect(fd, kernel, kernel.length)],
  ] as const)
    if (result() < 0) {
      const error = refused(name, errno());
      close(fd);
      throw error;
    }
  return fd;
}

/** A socket to the kernel's connection tracking that is open already. */
export class ConntrackSocket implements NetlinkSocket {
  readonly #libc = libc();
  readonly #fd: number;
  readonly #onAnswers: () => void;
  readonly #bytes = Buffer.allocUnsafeSlow(SLOTS * SLOT_BYTES);
  readonly #vectors = Buffer.allocUnsafeSlow(SLOTS * IOVEC_BYTES).fill(0);
  readonly #heads = Buffer.allocUnsafeSlow(SLOTS * MMSGHDR.bytes).fill(0);
  #closed = false;

  /** @param fd closed by `close` */
  constructor(fd: number, onAnswers: () => void = () => {}) {
    this.#fd = fd;
    this.#onAnswers = onAnswers;
    const { addressOf } = this.#libc;
    const [bytes, vectors] = [addressOf(this.#bytes), addressOf(this.#vectors)];
    for (let i = 0; i < SLOTS; i++) {
      this.#vectors.writeBigUInt64LE(bytes + BigInt(i * SLOT_BYTES), i * IOVEC_BYTES);
      this.#vectors.writeBigUInt64LE(BigInt(SLOT_BYTES), i * IOVEC_BYTES + 8);
      this.#heads.writeBigUInt64LE(vectors + BigInt(i * IOVEC_BYTES), i * MMSGHDR.bytes + MMSGHDR.iov);
      this.#heads.writeBigUInt64LE(1n, i * MMSGHDR.bytes + MMSGHDR.iovCount);
    }
  }

  read(onMessage: OnNetlinkMessage): boolean {
    if (this.#closed) return false;
    const { recvmmsg, errno } = this.#libc;
    const count = recvmmsg(this.#fd, this.#heads, SLOTS, MSG.dontWait, 0n);
    if (count < 0) {
      const error = errno();
      if (error === EAGAIN) return false;
      if (error === ENOBUFS) throw new NetlinkOverrun('events of the kernel came faster than they were read');
      throw refused('recvmmsg', error);
    }
    for (let i = 0; i < count; i++) {
      const head = i * MMSGHDR.bytes;
      const length = this.#heads.readUInt32LE(head + MMSGHDR.length);
      if (this.#heads.readUInt32LE(head + MMSGHDR.flags) & MSG.truncated)
        throw new NetlinkError(`a netlink datagram of more than ${SLOT_BYTES} bytes`);
      this.#datagram(i * SLOT_BYTES, i * SLOT_BYTES + length, onMessage);
    }
    return count === SLOTS && !this.#closed;
  }

  write(requests: Buffer): void {
    if (this.#closed) return;
    const sent = this.#libc.send(this.#fd, requests, BigInt(requests.length), MSG.dontWait);
    if (sent < 0n) throw refused('send', this.#libc.errno());
    this.#onAnswers();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#libc.close(this.#fd);
  }

  #datagram(from: number, to: number, onMessage: OnNetlinkMessage): void {
    eachMessage(this.#bytes, from, to, (bytes, at, end) => {
      if (!this.#closed) onMessage(bytes, at, end);
    });
  }
}

/**
 * The messages of a datagram, which are padded to four bytes each.
 *
 * @throws NetlinkError for an impossible length
 */
export function eachMessage(bytes: Buffer, from: number, to: number, onMessage: OnNetlinkMessage): void {
  for (let at = from; at < to; ) {
    const length = at + NETLINK_HEAD <= to ? bytes.readUInt32LE(at) : 0;
    if (length < NETLINK_HEAD || at + length > to)
      throw new NetlinkError(
        `a netlink message of ${length} bytes, expected ${NETLINK_HEAD} to the ${to - at} of its datagram`,
      );
    onMessage(bytes, at, at + length);
    at += (length + 3) & ~3;
  }
}

/** As large as this process may: beyond `net.core.rmem_max` it needs CAP_NET_ADMIN. */
function enlarge(fd: number): void {
  if (setOption(fd, SOL_SOCKET, SO.rcvbufForce, RECEIVE_BYTES) < 0)
    setOption(fd, SOL_SOCKET, SO.rcvbuf, RECEIVE_BYTES);
}

function setOption(fd: number, level: number, option: number, value: number): number {
  const word = Buffer.alloc(4);
  word.writeInt32LE(value);
  return libc().setsockopt(fd, level, option, word, word.length);
}

function refused(call: string, errno: number): OperatorError {
  return errno === EPERM
    ? new OperatorError(
        'PERMISSION',
        'the kernel does not let this process see its flows: it needs CAP_NET_ADMIN',
      )
    : new OperatorError(
        'NETLINK',
        `the kernel's connection tracking cannot be reached: ${call}: ${errorText(errno)}`,
      );
}

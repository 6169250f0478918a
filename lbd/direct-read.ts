import { OperatorError } from '../common/errors.ts';
import { errorText, type Libc, libc } from '../common/libc.ts';
import type { RelaySocket } from './relay-socket.ts';
import { endsConnection, socketError } from './socket-error.ts';

const MOST_EVENTS = 64;
const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLLIN = 1;
/** Edge-triggered, so that what Node has read meanwhile is not told again and again. */
const EPOLLET = 0x80000000;

/** 32-bit words of `struct epoll_event`, which is packed on x86-64 only. */
const PACKED = process.arch === 'x64';
const EVENT_WORDS = PACKED ? 3 : 4;
const DATA_WORD = PACKED ? 1 : 2;

/** Of `struct iovec`. */
const IOVEC_BYTES = 16;

/**
 * Reads from sockets beside Node, between two turns of its event loop: for a short message, what Node does around a read
 * costs as much as the reading. Node goes on watching all of these sockets. So whatever is not an ordinary piece of data
 * is left alone here, and found by Node: the end, an error, what comes while a socket is paused.
 */
export class DirectReader {
  readonly #libc: Libc;
  readonly #epoll: number;
  readonly #buffer: Buffer;
  // Memory of their own, which never moves.
  readonly #iovec = Buffer.from(new ArrayBuffer(IOVEC_BYTES));
  readonly #interest = Buffer.from(new ArrayBuffer(EVENT_WORDS * 4));
  readonly #events = new Int32Array(MOST_EVENTS * EVENT_WORDS);
  readonly #iovecAddress: bigint;
  readonly #interestAddress: bigint;
  readonly #eventsAddress: bigint;
  /** By descriptor. */
  readonly #sockets: (RelaySocket | undefined)[] = [];

  /**
   * @param buffer that all sockets read into, one after the other
   * @throws OperatorError where the runtime cannot call the C library, or no file is left
   */
  constructor(buffer: Buffer) {
    const c = libc();
    this.#libc = c;
    this.#buffer = buffer;
    this.#iovecAddress = c.addressOf(this.#iovec);
    this.#interestAddress = c.addressOf(this.#interest);
    this.#eventsAddress = c.addressOf(Buffer.from(this.#events.buffer));
    this.#iovec.writeBigUInt64LE(c.addressOf(buffer), 0);
    this.#iovec.writeBigUInt64LE(BigInt(buffer.length), 8);
    // It lasts as long as the thread; of one that dies, one descriptor is left behind.
    this.#epoll = c.epoll_create1(EPOLL_CLOEXEC);
    if (this.#epoll < 0) throw new OperatorError('FILES', `cannot watch sockets: ${errorText(c.errno())}`);
  }

  /** Reads from this socket as well from now on, until it is gone. */
  watch(socket: RelaySocket): void {
    const { fd } = socket;
    if (fd < 0) return;
    this.#interest.writeUInt32LE(EPOLLIN + EPOLLET, 0);
    this.#interest.writeInt32LE(fd, DATA_WORD * 4);
    // Where it fails, Node reads, and it is not tried again.
    socket.reader = this;
    this.#sockets[fd] = socket;
    this.#libc.epoll_ctl(this.#epoll, EPOLL_CTL_ADD, fd, this.#interestAddress);
  }

  /** A descriptor is about to be closed. */
  forget(fd: number): void {
    this.#sockets[fd] = undefined;
  }

  /**
   * Reads once from each socket at which something has come, at most 64 of them.
   *
   * @returns from how many
   */
  round(): number {
    const events = this.#events;
    const count = this.#libc.epoll_wait(this.#epoll, this.#eventsAddress, MOST_EVENTS, 0);
    let read = 0;
    for (let at = 0; at < count * EVENT_WORDS; at += EVENT_WORDS) {
      if (events[at] !== EPOLLIN) continue;
      const socket = this.#sockets[events[at + DATA_WORD]!];
      if (socket !== undefined && this.read(socket)) read++;
    }
    return read;
  }

  /** @returns whether it had something */
  read(socket: RelaySocket): boolean {
    const { fd, sink } = socket;
    if (fd < 0 || sink === undefined || socket.isPaused()) return false;
    const length = this.#libc.readv(fd, this.#iovecAddress, 1);
    if (length < 0) {
      const errno = this.#libc.errno();
      if (endsConnection(errno)) socket.destroy(socketError('read', errno));
      return false;
    }
    // The end is told to Node as well.
    if (length === 0) return false;
    sink.onBytes(this.#buffer, length);
    return true;
  }
}

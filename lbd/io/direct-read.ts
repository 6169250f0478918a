import { OperatorError } from '../../common/errors.ts';
import { errorText, type Libc, libc } from '../../common/libc.ts';
import type { RelaySocket } from './relay-socket.ts';
import { FEW, RING_ENTRIES, type Ring } from './ring.ts';
import { endsConnection, socketError } from './socket-error.ts';

const MOST_EVENTS = RING_ENTRIES;
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

/** Room for what is read from each of several sockets at once: for a message, not for a large body. */
const ROOM_BYTES = 4096;
/** The rooms do not begin at the same place of a page, where they would drive each other out of the processor's cache. */
const ROOM_STRIDE = ROOM_BYTES + 320;

/**
 * Reads from sockets beside Node, between two turns of its event loop: for a short message, what Node does around a read
 * costs as much as the reading. Node goes on watching all of these sockets. So whatever is not an ordinary piece of data
 * is left alone here, and found by Node: the end, an error, what comes while a socket is paused.
 */
export class DirectReader {
  readonly #libc: Libc;
  /** By which sockets are watched. It lasts as long as the thread, and does not end with it. */
  readonly epoll: number;
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
  readonly #ring: Ring | undefined;
  /** Those that are read together. */
  readonly #together: (RelaySocket | undefined)[] = [];
  readonly #rooms: Buffer[] = [];
  readonly #roomAddresses: number[] = [];
  /** Descriptors that are read one by one in this round. */
  readonly #left = new Int32Array(MOST_EVENTS);

  /**
   * @param buffer that all sockets read into, one after the other
   * @param ring reads from several at once; undefined where that is not to be had
   * @throws OperatorError where the runtime cannot call the C library, or no file is left
   */
  constructor(buffer: Buffer, ring?: Ring) {
    const c = libc();
    this.#libc = c;
    this.#ring = ring;
    if (ring !== undefined) this.#makeRooms();
    this.#buffer = buffer;
    this.#iovecAddress = c.addressOf(this.#iovec);
    this.#interestAddress = c.addressOf(this.#interest);
    this.#eventsAddress = c.addressOf(Buffer.from(this.#events.buffer));
    this.#iovec.writeBigUInt64LE(c.addressOf(buffer), 0);
    this.#iovec.writeBigUInt64LE(BigInt(buffer.length), 8);
    this.epoll = c.epoll_create1(EPOLL_CLOEXEC);
    if (this.epoll < 0) throw new OperatorError('FILES', `cannot watch sockets: ${errorText(c.errno())}`);
  }

  #makeRooms(): void {
    const memory = Buffer.allocUnsafeSlow(RING_ENTRIES * ROOM_STRIDE);
    for (let at = 0; at < memory.length; at += ROOM_STRIDE) {
      const room = memory.subarray(at, at + ROOM_BYTES);
      this.#rooms.push(room);
      this.#roomAddresses.push(Number(this.#libc.addressOf(room)));
    }
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
    this.#libc.epoll_ctl(this.epoll, EPOLL_CTL_ADD, fd, this.#interestAddress);
  }

  /** A descriptor is about to be closed. */
  forget(fd: number): void {
    this.#sockets[fd] = undefined;
  }

  /**
   * Reads once from each socket at which something has come, at most 64 of them. Several are read together, before the bytes
   * of the first are handed on; a socket that is paused meanwhile keeps its own until it is resumed.
   *
   * @returns from how many
   */
  round(): number {
    const events = this.#events;
    const count = this.#libc.epoll_wait(this.epoll, this.#eventsAddress, MOST_EVENTS, 0);
    const together = this.#ring !== undefined && count >= FEW;
    let read = 0;
    let left = 0;
    for (let at = 0; at < count * EVENT_WORDS; at += EVENT_WORDS) {
      if (events[at] !== EPOLLIN) continue;
      const fd = events[at + DATA_WORD]!;
      const socket = this.#sockets[fd];
      if (socket === undefined) continue;
      if (together && canJoin(socket)) this.#join(socket);
      else this.#left[left++] = fd;
    }
    if (together) read += this.#readTogether();
    // Only now: whoever gets bytes may close a connection, and what waits in the ring would be done to another one.
    for (let i = 0; i < left; i++) {
      const socket = this.#sockets[this.#left[i]!];
      if (socket !== undefined && this.read(socket)) read++;
    }
    return read;
  }

  #join(socket: RelaySocket): void {
    const { count } = this.#ring!;
    this.#together[count] = socket;
    this.#ring!.addReceive(socket.fd, this.#roomAddresses[count]!, ROOM_BYTES);
  }

  /** @returns from how many sockets it has read */
  #readTogether(): number {
    const { count, results } = this.#ring!;
    if (count === 0) return 0;
    this.#ring!.submit();
    let read = 0;
    for (let i = 0; i < count; i++) {
      const socket = this.#together[i]!;
      this.#together[i] = undefined;
      if (this.#take(socket, this.#rooms[i]!, results[i]!)) read++;
      // There is more, and more to come: it has the large buffer to itself.
      if (results[i] === ROOM_BYTES) this.read(socket);
    }
    return read;
  }

  /** @returns whether it had something */
  read(socket: RelaySocket): boolean {
    const { fd, sink } = socket;
    if (fd < 0 || sink === undefined || socket.isPaused()) return false;
    if (socket.hasEarly) {
      socket.handOnEarly();
      return true;
    }
    const length = this.#libc.readv(fd, this.#iovecAddress, 1);
    socket.readsMuch = length > ROOM_BYTES;
    return this.#take(socket, this.#buffer, length < 0 ? -this.#libc.errno() : length);
  }

  /** @param result of reading from it @returns whether it had something */
  #take(socket: RelaySocket, buffer: Buffer, result: number): boolean {
    if (result < 0) {
      if (endsConnection(-result)) socket.destroy(socketError('read', -result));
      return false;
    }
    // The end is told to Node as well.
    if (result === 0) return false;
    socket.handOn(buffer, result);
    return true;
  }
}

/** Whether one message is expected of it, which may be read before another socket's bytes are handled. */
function canJoin(socket: RelaySocket): boolean {
  return (
    socket.fd >= 0 && socket.sink !== undefined && !socket.isPaused() && !socket.readsMuch && !socket.hasEarly
  );
}

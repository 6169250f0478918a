import { type Libc, libc, MSG } from '../../common/libc.ts';
import type { Ring } from './ring.ts';

/** Of `struct msghdr` on 64-bit Linux, with one `struct iovec` behind it. */
const MESSAGE_BYTES = 72;
const IOVEC_POINTER = 16;
const IOVEC_COUNT = 24;
const IOVEC = 56;

const HALF = 2 ** 32;

/**
 * Writes out of one buffer straight to the kernel. A write of Node goes through a stream, a request object and libuv, which
 * for a short message cost as much as all that a proxy does with it.
 */
export class DirectWriter {
  readonly #libc: Libc;
  readonly #buffer: Buffer;
  readonly #address: number;
  /** Memory of its own, which never moves. */
  readonly #message = Buffer.from(new ArrayBuffer(MESSAGE_BYTES));
  readonly #messageAddress: bigint;
  /** Base and length of the iovec, in halves. */
  readonly #iovec: Uint32Array;
  /** Writes several at once; undefined where that is not to be had. */
  readonly ring: Ring | undefined;

  /**
   * @param buffer what is written lies in it
   * @throws OperatorError where the runtime cannot call the C library
   */
  constructor(buffer: Buffer, ring?: Ring) {
    this.ring = ring;
    this.#libc = libc();
    const { addressOf } = this.#libc;
    this.#buffer = buffer;
    // Addresses of a process have 47 bits, on arm64 48: a number holds them.
    this.#address = Number(addressOf(buffer));
    const message = this.#message;
    this.#messageAddress = addressOf(message);
    message.writeBigUInt64LE(this.#messageAddress + BigInt(IOVEC), IOVEC_POINTER);
    message.writeUInt32LE(1, IOVEC_COUNT);
    this.#iovec = new Uint32Array(message.buffer, IOVEC, 4);
  }

  /**
   * @param fd of a stream socket that is open
   * @returns how many bytes the kernel took; below 0: none, and the number of the error, such as -EAGAIN where it is full
   */
  write(fd: number, start: number, length: number): number {
    const from = this.#addressOf(start, length);
    const iovec = this.#iovec;
    iovec[0] = from % HALF;
    iovec[1] = from / HALF;
    iovec[2] = length;
    const sent = this.#libc.sendmsg(fd, this.#messageAddress, MSG.dontWait | MSG.noSignal);
    return sent < 0 ? -this.#libc.errno() : sent;
  }
  /**
   * Adds a write to those that `ring` carries out at its next `submit`.
   *
   * @param fd of a stream socket that is open
   */
  add(fd: number, start: number, length: number): void {
    this.ring!.addSend(fd, this.#addressOf(start, length), length);
  }

  #addressOf(start: number, length: number): number {
    if (start < 0 || length < 0 || start + length > this.#buffer.length)
      throw new RangeError(`${length} bytes at ${start} are not within ${this.#buffer.length}`);
    return this.#address + start;
  }
}

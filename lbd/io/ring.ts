import { OperatorError } from '../../common/errors.ts';
import { giveBack, type Holdings, type MemoryMap } from '../../common/holdings.ts';
import { errorText, type Libc, libc, MSG } from '../../common/libc.ts';

/** Operations of one `submit`. */
export const RING_ENTRIES = 64;

/** Fewer are done by a system call of their own. */
export const FEW = 2;

/** Numbers of system calls and offsets for `mmap`, the same on all architectures. */
const [IO_URING_SETUP, IO_URING_ENTER] = [425n, 426n];
const [RINGS_OFFSET, ENTRIES_OFFSET] = [0n, 0x10000000n];
const READ_WRITE = 3;
const SHARED_POPULATE = 0x8001;
const MAP_FAILED = 2n ** 64n - 1n;
/** An operation that is refused does not stop those behind it; Linux 5.18, which has both rings in one map. */
const SUBMIT_ALL = 1 << 7;
const GET_EVENTS = 1;
const OPERATION = { send: 26, receive: 27 } as const;
const [EINTR, EAGAIN] = [4, 11];

/** `struct io_uring_params`: its size, places in it, and where the offsets of the two rings begin. */
const PARAMS = { bytes: 120, cqEntries: 4, flags: 8, sqOffsets: 40, cqOffsets: 80 } as const;
/** Places among these offsets, the same in both; behind them: array of the first, entries of the second. */
const OFFSET = { head: 0, tail: 4, mask: 8, array: 24, cqes: 20 } as const;
/** `struct io_uring_sqe` and `struct io_uring_cqe`. */
const [SQE_BYTES, CQE_BYTES] = [64, 16];
const [SQE_WORDS, CQE_WORDS] = [SQE_BYTES / 4, CQE_BYTES / 4];

const HALF = 2 ** 32;

/**
 * Sends and receives on many sockets by one system call, which for short messages costs less than one each: `io_uring`
 * of the kernel (io_uring(7)), used for no more than that. No operation waits, and each is over when `submit` returns;
 * so the kernel never holds on to a socket or to memory of ours.
 */
export class Ring {
  /** What became of each operation of the latest `submit`, in the order of `add`: bytes, or below 0 the number of the error. */
  readonly results = new Int32Array(RING_ENTRIES);
  readonly #libc: Libc;
  readonly #fd: number;
  /** Both rings, in 32-bit words, and places in them. */
  readonly #words: Uint32Array;
  readonly #sqHead: number;
  readonly #sqTail: number;
  readonly #cqHead: number;
  readonly #cqTail: number;
  readonly #cqMask: number;
  readonly #sqes: Uint32Array;
  readonly #cqes: Int32Array;
  readonly #maps: MemoryMap[] = [];
  #count = 0;

  /** @throws OperatorError where the kernel or the runtime has no such thing, or it is forbidden to this process */
  constructor(c = libc()) {
    this.#libc = c;
    // Memory of its own, which does not move.
    const params = Buffer.from(new ArrayBuffer(PARAMS.bytes));
    params.writeUInt32LE(SUBMIT_ALL, PARAMS.flags);
    this.#fd = c.syscall(IO_URING_SETUP, RING_ENTRIES, c.addressOf(params), 0, 0, 0n, 0n);
    if (this.#fd < 0) throw refused('io_uring_setup', c.errno());
    try {
      const word = (at: number) => params.readUInt32LE(at);
      const [sq, cq] = [PARAMS.sqOffsets, PARAMS.cqOffsets];
      const cqBytes = word(cq + OFFSET.cqes) + word(PARAMS.cqEntries) * CQE_BYTES;
      const sqBytes = word(sq + OFFSET.array) + RING_ENTRIES * 4;
      const rings = this.#map(Math.max(cqBytes, sqBytes), RINGS_OFFSET);
      this.#words = new Uint32Array(rings);
      this.#cqes = new Int32Array(rings, word(cq + OFFSET.cqes), word(PARAMS.cqEntries) * CQE_WORDS);
      this.#sqes = new Uint32Array(this.#map(RING_ENTRIES * SQE_BYTES, ENTRIES_OFFSET));
      this.#sqHead = word(sq + OFFSET.head) / 4;
      this.#sqTail = word(sq + OFFSET.tail) / 4;
      this.#cqHead = word(cq + OFFSET.head) / 4;
      this.#cqTail = word(cq + OFFSET.tail) / 4;
      this.#cqMask = this.#words[word(cq + OFFSET.mask) / 4]!;
      // Place i of the ring is entry i, for ever.
      const array = word(sq + OFFSET.array) / 4;
      for (let i = 0; i < RING_ENTRIES; i++) this.#words[array + i] = i;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Operations that wait for `submit`; the next one will have this place among the results. */
  get count(): number {
    return this.#count;
  }

  /** @param address of the bytes, which stay as they are until `submit` returns @param length at least 1 */
  addSend(fd: number, address: number, length: number): void {
    this.#add(OPERATION.send, fd, address, length, MSG.dontWait | MSG.noSignal);
  }

  /** @param address of the room that they go to @param length of the room, at least 1 */
  addReceive(fd: number, address: number, length: number): void {
    this.#add(OPERATION.receive, fd, address, length, MSG.dontWait);
  }

  /** At most RING_ENTRIES of them between two `submit`. */
  #add(operation: number, fd: number, address: number, length: number, flags: number): void {
    const index = this.#count++;
    const sqes = this.#sqes;
    const at = ((this.#words[this.#sqTail]! + index) % RING_ENTRIES) * SQE_WORDS;
    // The high bytes of the first word: flags of the entry and priority, none. The others stay 0.
    sqes[at] = operation;
    sqes[at + 1] = fd;
    sqes[at + 4] = address % HALF;
    sqes[at + 5] = address / HALF;
    sqes[at + 6] = length;
    sqes[at + 7] = flags;
    sqes[at + 8] = index;
  }

  /**
   * Carries out what has been added. What the kernel does not take is not done, with EAGAIN as its result.
   *
   * @throws OperatorError where the kernel does not give an operation back: it may still use the memory
   */
  submit(): void {
    const count = this.#count;
    this.#count = 0;
    this.results.fill(-EAGAIN, 0, count);
    const words = this.#words;
    const tail = words[this.#sqTail]!;
    words[this.#sqTail] = tail + count;
    const taken = Math.max(0, this.#enter(count, 0, 0));
    // Nor is it to be done with the next ones.
    if (taken < count) words[this.#sqTail] = words[this.#sqHead]!;
    let over = this.#reap();
    // It does not happen: such operations end within the call.
    while (over < taken) {
      if (this.#enter(0, taken - over, GET_EVENTS) < 0 && this.#libc.errno() !== EINTR)
        throw refused('io_uring_enter', this.#libc.errno());
      over += this.#reap();
    }
  }

  /** A ring lasts as long as its thread; this outlasts both. */
  get holdings(): Holdings {
    return { descriptors: [this.#fd], maps: this.#maps };
  }

  /** Nobody may use it any more. */
  close(): void {
    giveBack(this.holdings);
  }

  #enter(submit: number, wait: number, flags: number): number {
    return this.#libc.syscall(IO_URING_ENTER, this.#fd, BigInt(submit), wait, flags, 0n, 0n);
  }

  /** @returns how many operations are over */
  #reap(): number {
    const words = this.#words;
    const cqes = this.#cqes;
    const tail = words[this.#cqTail]!;
    let head = words[this.#cqHead]!;
    let over = 0;
    for (; head !== tail; head = (head + 1) >>> 0, over++) {
      const at = (head & this.#cqMask) * CQE_WORDS;
      this.results[cqes[at]!] = cqes[at + 2]!;
    }
    words[this.#cqHead] = head;
    return over;
  }

  #map(bytes: number, offset: bigint): ArrayBuffer {
    const whole = (bytes + 7) & ~7;
    const address = this.#libc.mmap(0n, BigInt(whole), READ_WRITE, SHARED_POPULATE, this.#fd, offset);
    if (address === MAP_FAILED) throw refused('mmap', this.#libc.errno());
    this.#maps.push({ address, bytes: whole });
    return this.#libc.memoryAt(address, whole);
  }
}

function refused(call: string, errno: number): OperatorError {
  return new OperatorError('RUNTIME', `io_uring cannot be used: ${call}: ${errorText(errno)}`);
}

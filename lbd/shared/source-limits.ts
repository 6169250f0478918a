import { parseAddress } from '../../common/ip-words.ts';
import { halfSipHash } from '../session/half-siphash.ts';

/** Cells of the table: as many clients may be connected at the same time, give or take a full bucket. */
const CELLS = 65_536;
const BUCKET = 8;
const BUCKETS = CELLS / BUCKET;
const COUNT_BITS = 24n;
const COUNT_MASK = (1n << COUNT_BITS) - 1n;
const HASH_KEY_WORDS = 4;

/** `enter`: the client has as many as it may. */
export const OVER_LIMIT = -1;
/** `enter`: both buckets of the client are full of others; it is let in uncounted. */
export const UNCOUNTED = -2;

export interface SourceBuffers {
  /** CELLS 64-bit cells: 40 bits that tell the client, 24 bits that count. */
  readonly cells: SharedArrayBuffer;
  /** For each worker and cell, what of the count is its own, so that those of a dead one can be taken off. */
  readonly shares: SharedArrayBuffer;
  readonly hashKey: SharedArrayBuffer;
}

/** Pages that no client touches cost no memory. */
export function createSourceBuffers(workers: number): SourceBuffers {
  const hashKey = new SharedArrayBuffer(HASH_KEY_WORDS * 4);
  crypto.getRandomValues(new Uint8Array(hashKey.byteLength)).forEach((byte, i) => {
    new Uint8Array(hashKey)[i] = byte;
  });
  return {
    cells: new SharedArrayBuffer(CELLS * 8),
    shares: new SharedArrayBuffer(workers * CELLS * 4),
    hashKey,
  };
}

/**
 * How many connections or flows each client has open on each frontend, exact over all workers: a hash table in shared
 * memory whose cells change by compare-and-exchange. A client is an IPv4 address or, because one subscriber has so many
 * addresses, an IPv6 /64. A client without a connection has no cell. The hash is keyed, so that nobody can aim
 * addresses at one bucket.
 */
export class SourceLimits {
  readonly #cells: BigUint64Array;
  readonly #shares: Int32Array;
  readonly #hashKey: Int32Array;
  readonly #worker: number;
  readonly #words = new Int32Array(5);
  readonly #hash = new Int32Array(2);

  /** @param worker index of this worker; -1 for the control plane, which only forgets */
  constructor(buffers: SourceBuffers, worker: number) {
    this.#cells = new BigUint64Array(buffers.cells);
    this.#shares = new Int32Array(buffers.shares);
    this.#hashKey = new Int32Array(buffers.hashKey);
    this.#worker = worker;
  }

  /**
   * One more connection of a client. Pair it with one `leave` where it gives back a cell.
   *
   * @param frontend row of the frontend
   * @param limit at least 1
   * @returns a cell, `OVER_LIMIT` or `UNCOUNTED`
   */
  enter(frontend: number, address: string, limit: number): number {
    const words = this.#words;
    if (!parseAddress(address, words)) return UNCOUNTED;
    if (words[0] !== 0 || words[1] !== 0) words[2] = words[3] = 0;
    words[4] = frontend;
    const [k0, k1, k2] = this.#hashKey;
    halfSipHash(words, 5, k0!, k1!, 1, 3, this.#hash, 0);
    const places = this.#hash[0]! >>> 0;
    const tag = ((BigInt(this.#hash[1]! >>> 0) << 8n) | BigInt((places ^ k2!) >>> 24) | 1n) << COUNT_BITS;
    const first = (places % BUCKETS) * BUCKET;
    const second = ((places >>> 16) % BUCKETS) * BUCKET;
    for (;;) {
      const known = this.#find(first, tag) ?? this.#find(second, tag);
      if (known !== undefined) {
        const entered = this.#add(known, tag, limit);
        if (entered !== undefined) return entered ? this.#share(known) : OVER_LIMIT;
        continue;
      }
      // The emptier of two: both are full only when nearly all cells are taken.
      const [one, other] = this.#used(first) <= this.#used(second) ? [first, second] : [second, first];
      const free = this.#claim(one, tag) ?? this.#claim(other, tag);
      if (free === undefined) return UNCOUNTED;
      // Two workers may have made a cell for the same client: the one in front counts.
      const twin = this.#find(first, tag) ?? this.#find(second, tag);
      if (twin === undefined || twin === free) return this.#share(free);
      this.#subtract(free, 1);
    }
  }

  /** @param cell from `enter`; what is no cell is ignored */
  leave(cell: number): void {
    if (cell < 0) return;
    this.#shares[this.#worker * CELLS + cell]!--;
    this.#subtract(cell, 1);
  }

  /** Control plane: a worker died, and its clients' connections with it. */
  forgetWorker(worker: number): void {
    const start = worker * CELLS;
    for (let cell = 0; cell < CELLS; cell++) {
      const share = this.#shares[start + cell]!;
      if (share === 0) continue;
      this.#shares[start + cell] = 0;
      this.#subtract(cell, share);
    }
  }

  #share(cell: number): number {
    this.#shares[this.#worker * CELLS + cell]!++;
    return cell;
  }

  #find(bucket: number, tag: bigint): number | undefined {
    for (let cell = bucket; cell < bucket + BUCKET; cell++) {
      const value = Atomics.load(this.#cells, cell);
      if ((value & ~COUNT_MASK) === tag && (value & COUNT_MASK) !== 0n) return cell;
    }
    return undefined;
  }

  #used(bucket: number): number {
    let used = 0;
    for (let cell = bucket; cell < bucket + BUCKET; cell++)
      if ((Atomics.load(this.#cells, cell) & COUNT_MASK) !== 0n) used++;
    return used;
  }

  /** @returns undefined: it is another client's by now */
  #add(cell: number, tag: bigint, limit: number): boolean | undefined {
    for (;;) {
      const value = Atomics.load(this.#cells, cell);
      const count = value & COUNT_MASK;
      if ((value & ~COUNT_MASK) !== tag || count === 0n) return undefined;
      if (count >= BigInt(limit)) return false;
      if (Atomics.compareExchange(this.#cells, cell, value, value + 1n) === value) return true;
    }
  }

  /** Takes a cell that counts nobody. */
  #claim(bucket: number, tag: bigint): number | undefined {
    for (let cell = bucket; cell < bucket + BUCKET; cell++) {
      const value = Atomics.load(this.#cells, cell);
      if ((value & COUNT_MASK) !== 0n) continue;
      if (Atomics.compareExchange(this.#cells, cell, value, tag | 1n) === value) return cell;
    }
    return undefined;
  }

  #subtract(cell: number, by: number): void {
    for (;;) {
      const value = Atomics.load(this.#cells, cell);
      const count = value & COUNT_MASK;
      const less = count > BigInt(by) ? value - BigInt(by) : value & ~COUNT_MASK;
      if (Atomics.compareExchange(this.#cells, cell, value, less) === value) return;
    }
  }
}

/** As of the longest path of Linux. */
const PATH_BYTES = 4096;
const [COUNT, LENGTH] = [0, 1];
const HEAD_BYTES = 8;

/**
 * Which file the thread that reads certificates is at, in shared memory: where it hangs in a file that gives no answer, it
 * can tell nobody.
 */
export class ReadingMark {
  readonly memory: SharedArrayBuffer;
  readonly #head: Int32Array;
  readonly #path: Uint8Array;

  /** @param memory that of another thread's */
  constructor(memory = new SharedArrayBuffer(HEAD_BYTES + PATH_BYTES)) {
    this.memory = memory;
    this.#head = new Int32Array(memory, 0, 2);
    this.#path = new Uint8Array(memory, HEAD_BYTES);
  }

  /** The next file is looked at. */
  at(path: string): void {
    const bytes = Buffer.from(path).subarray(0, PATH_BYTES);
    this.#path.set(bytes);
    Atomics.store(this.#head, LENGTH, bytes.length);
    Atomics.add(this.#head, COUNT, 1);
  }

  /** Differs when another file is looked at. */
  get count(): number {
    return Atomics.load(this.#head, COUNT);
  }

  /** Empty: none so far. */
  get path(): string {
    return Buffer.from(this.#path.subarray(0, Atomics.load(this.#head, LENGTH))).toString();
  }
}

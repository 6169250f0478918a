/** An address to which no connection came about is passed over for so long, while there are others. */
const SHUN_MS = 2_000;

/** The addresses of one backend, which take new connections by turns. Those that fail are passed over for a while. */
export class AddressTurn {
  #all: readonly string[];
  #turn: number;
  /** Until when each one that failed is passed over; undefined: none. */
  #shunned: Map<string, number> | undefined;
  readonly #now: () => number;

  /** @param now monotonic milliseconds; another one only in tests */
  constructor(addresses: readonly string[], now: () => number = () => performance.now()) {
    this.#all = addresses;
    this.#now = now;
    // Workers do not all begin with the same address.
    this.#turn = Math.floor(Math.random() * 64);
  }

  get all(): readonly string[] {
    return this.#all;
  }

  /** @returns whether anything changed */
  replace(addresses: readonly string[]): boolean {
    if (addresses.length === this.#all.length && addresses.every((it, i) => it === this.#all[i]))
      return false;
    this.#all = addresses;
    this.#shunned = undefined;
    return true;
  }

  /** What `next` would return, without moving the turn. */
  peek(): string {
    if (this.#all.length <= 1) return this.#all[0] ?? '';
    return this.#all[this.#index()]!;
  }

  /** The address of the next connection; empty: there is none. */
  next(): string {
    if (this.#all.length <= 1) return this.#all[0] ?? '';
    const index = this.#index();
    this.#turn = index + 1;
    return this.#all[index]!;
  }

  failed(address: string): void {
    if (this.#all.length <= 1) return;
    this.#shunned ??= new Map();
    this.#shunned.set(address, this.#now() + SHUN_MS);
  }

  /** Whether one address of several has not failed lately. */
  get hasAlternative(): boolean {
    return this.#all.length > 1 && !this.#isShunned(this.#all[this.#index()]!);
  }

  #index(): number {
    const { length } = this.#all;
    const first = this.#turn % length;
    if (this.#shunned === undefined) return first;
    for (let i = 0; i < length; i++) {
      const index = (first + i) % length;
      if (!this.#isShunned(this.#all[index]!)) return index;
    }
    return first;
  }

  #isShunned(address: string): boolean {
    const untilMs = this.#shunned?.get(address);
    if (untilMs === undefined) return false;
    if (this.#now() < untilMs) return true;
    this.#shunned!.delete(address);
    if (this.#shunned!.size === 0) this.#shunned = undefined;
    return false;
  }
}

import { OperatorError } from '../../common/errors.ts';

/**
 * Which row of the shared memory belongs to which name, stable across reloads. A row whose owner left the
 * config is given away only when nothing is in flight on it any more, the row that is free for the longest
 * time last of all: workers may count on it until they have applied the new plan.
 */
export class SlotMap {
  readonly #what: string;
  readonly #capacity: number;
  readonly #inFlight: (row: number) => number;
  readonly #rows = new Map<string, number>();
  /** Rows without an owner, in the order in which they are given away. */
  #free: number[];

  /**
   * @param what plural for the error text: `backends`, `frontends`
   * @param capacity rows 0 to capacity - 1
   * @param inFlight what is still open on a row; 0 means that it may change its owner
   */
  constructor(what: string, capacity: number, inFlight: (row: number) => number) {
    this.#what = what;
    this.#capacity = capacity;
    this.#inFlight = inFlight;
    this.#free = Array.from({ length: capacity }, (_, row) => row);
  }

  /** @throws OperatorError `TOO_MANY` when `assign` would not have enough rows */
  checkRoom(names: readonly string[]): void {
    const added = this.#added(names).length;
    const idle = this.#idle().length;
    if (added <= idle) return;
    throw new OperatorError(
      'TOO_MANY',
      `${names.length} ${this.#what} do not fit: there is room for ${this.#capacity}, ${idle} of it free now`,
    );
  }

  /**
   * Makes `names` the owners: who stays keeps its row, who is new gets one, who is missing loses it.
   *
   * @param names each one once
   * @returns row by name, and the names that are new
   * @throws OperatorError `TOO_MANY`; nothing is changed then
   */
  assign(names: readonly string[]): { rows: Record<string, number>; added: string[] } {
    this.checkRoom(names);
    const added = this.#added(names);
    const given = this.#idle().slice(0, added.length);
    for (const [i, name] of added.entries()) this.#rows.set(name, given[i]!);
    const wanted = new Set(names);
    const left: number[] = [];
    for (const [name, row] of this.#rows) {
      if (wanted.has(name)) continue;
      this.#rows.delete(name);
      left.push(row);
    }
    const taken = new Set(given);
    this.#free = [...this.#free.filter((row) => !taken.has(row)), ...left];
    return { rows: Object.fromEntries(this.#rows), added };
  }

  /** Row of a name, undefined when it has none. */
  get(name: string): number | undefined {
    return this.#rows.get(name);
  }

  /** Rows that have an owner. */
  rows(): Iterable<number> {
    return this.#rows.values();
  }

  #added(names: readonly string[]): string[] {
    return names.filter((name) => !this.#rows.has(name));
  }

  #idle(): number[] {
    return this.#free.filter((row) => this.#inFlight(row) === 0);
  }
}

import { NAME_END, NAME_START } from './static-table.ts';

/** RFC 7541 §4.1: what an entry counts beside its bytes. */
export const ENTRY_OVERHEAD = 32;

const NOTHING = Buffer.alloc(0);
const NO_ROWS = new Int32Array(0);
/** For the fields of one browser's request, more or less. */
const FIRST_BYTES = 1024;
const FIRST_ROWS = 32;
/** Name (length, or `~index` of the static table), start of its bytes, length of the value, note. */
const WORDS = 4;

/**
 * The dynamic table of a decoder (RFC 7541 §2.3.2), with no object an entry: bytes of all entries stand in one buffer, the
 * newest last, and are moved to its front where room behind them ends. A name of the static table takes no bytes. Memory
 * is made as entries come, and up to two times the table's size.
 */
export class DynamicTable {
  /** Of entries, and room behind them. `reserve` moves them. */
  bytes: Buffer = NOTHING;
  /** Entries. */
  count = 0;
  /** As RFC 7541 §4.1 counts. */
  size = 0;
  maxSize: number;
  /** A ring: the newest entry is the one before `#next`. */
  #rows = NO_ROWS;
  #next = 0;
  #tail = 0;

  constructor(maxSize: number) {
    this.maxSize = maxSize;
  }

  /** @param index 1 is the newest @returns what the other functions ask for; -1: there is none */
  row(index: number): number {
    return index <= this.count ? this.#rowAt(this.#next - index) : -1;
  }

  /** @returns the name's index in the static table; 0: its bytes are here */
  staticName(row: number): number {
    const name = this.#rows[row]!;
    return name < 0 ? ~name : 0;
  }

  /** Where the name's bytes start, unless it is one of the static table. */
  nameStart(row: number): number {
    return this.#rows[row + 1]!;
  }

  /** Where the value's bytes start, and the name's end. */
  valueStart(row: number): number {
    const name = this.#rows[row]!;
    return this.#rows[row + 1]! + Math.max(name, 0);
  }

  valueLength(row: number): number {
    return this.#rows[row + 2]!;
  }

  note(row: number): number {
    return this.#rows[row + 3]!;
  }

  /**
   * Makes room for bytes of an entry, name before value, that `add` then takes.
   *
   * @param length not more than `maxSize`
   * @returns where in `bytes`
   */
  reserve(length: number): number {
    if (this.#tail + length > this.bytes.length) this.#makeRoom(length);
    return this.#tail;
  }

  /**
   * Adds an entry (RFC 7541 §4.4): old ones go, and where it does not fit at all, all of them.
   *
   * @param staticName 0: the name's bytes stand before the value's where `reserve` said
   */
  add(staticName: number, nameLength: number, valueLength: number, note: number): void {
    const size = nameLength + valueLength + ENTRY_OVERHEAD;
    this.#evict(this.maxSize - size);
    if (size > this.maxSize) return;
    if (this.count * WORDS === this.#rows.length) this.#growRows();
    const rows = this.#rows;
    const row = this.#rowAt(this.#next);
    this.#next = (this.#next + 1) & (rows.length / WORDS - 1);
    rows[row] = staticName > 0 ? ~staticName : nameLength;
    rows[row + 1] = this.#tail;
    rows[row + 2] = valueLength;
    rows[row + 3] = note;
    this.#tail += valueLength + (staticName > 0 ? 0 : nameLength);
    this.count++;
    this.size += size;
  }

  /** RFC 7541 §4.3 */
  resize(maxSize: number): void {
    this.maxSize = maxSize;
    this.#evict(maxSize);
    if (maxSize > 0) return;
    this.bytes = NOTHING;
    this.#rows = NO_ROWS;
    this.#next = 0;
    this.#tail = 0;
  }

  #rowAt(place: number): number {
    return (place * WORDS) & (this.#rows.length - 1);
  }

  #evict(maxSize: number): void {
    while (this.size > maxSize && this.count > 0) {
      const row = this.row(this.count);
      const name = this.#rows[row]!;
      const nameLength = name < 0 ? NAME_END[~name]! - NAME_START[~name]! : name;
      this.size -= nameLength + this.#rows[row + 2]! + ENTRY_OVERHEAD;
      this.count--;
    }
  }

  #makeRoom(length: number): void {
    const from = this.count === 0 ? this.#tail : this.#rows[this.row(this.count) + 1]!;
    const used = this.#tail - from;
    const needed = used + length;
    const old = this.bytes;
    // A quarter free at least, so that entries are not moved for each one that comes.
    let wanted = Math.max(FIRST_BYTES, old.length);
    while (needed * 4 > wanted * 3) wanted *= 2;
    wanted = Math.min(wanted, Math.max(2 * this.maxSize, needed));
    if (wanted > old.length) this.bytes = Buffer.allocUnsafeSlow(wanted);
    old.copy(this.bytes, 0, from, this.#tail);
    this.#tail = used;
    for (let index = 1; index <= this.count; index++) this.#rows[this.row(index) + 1]! -= from;
  }

  #growRows(): void {
    const grown = new Int32Array(Math.max(FIRST_ROWS * WORDS, 2 * this.#rows.length));
    for (let index = 1; index <= this.count; index++) {
      const row = this.row(index);
      grown.set(this.#rows.subarray(row, row + WORDS), (this.count - index) * WORDS);
    }
    this.#rows = grown;
    this.#next = this.count;
  }
}

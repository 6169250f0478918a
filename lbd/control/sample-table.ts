import type { MetricKind } from './exposition.ts';

/** Rows that become bytes at one go: some 50 µs. */
const BLOCK_ROWS = 128;

/** One metric of every row, or a part of one: those with one name follow each other. */
export interface Column {
  readonly name: string;
  readonly kind: MetricKind;
  readonly help: string;
  /** More labels, for all rows, such as `class="2xx"`; or for each by its value, which then is shown as 1. */
  readonly more?: string | readonly string[];
}

interface Block {
  isStale: boolean;
  bytes: Buffer;
}

/**
 * Samples of many rows with the same metrics, such as backends. It is kept from one scrape to the next, so that what has not
 * changed is not made again: most of it stays as it is for a minute, even on a busy node.
 */
export class SampleTable {
  readonly #columns: readonly Column[];
  readonly #heads: readonly Buffer[];
  /** Of each row, as text. */
  readonly #labels: string[] = [];
  /** By row: one value for each column. */
  #values = new Float64Array(0);
  /** By column. */
  readonly #blocks: Block[][];

  constructor(columns: readonly Column[]) {
    this.#columns = columns;
    this.#heads = columns.map(({ name, kind, help }) =>
      Buffer.from(`# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n`),
    );
    this.#blocks = columns.map(() => []);
  }

  /**
   * Sets a row. Rows are set in order, from 0, and `end` follows.
   *
   * @param labels as `labelText` makes them
   * @param values one for each column; copied
   */
  set(row: number, labels: string, values: Float64Array): void {
    const width = this.#columns.length;
    const at = row * width;
    if (at >= this.#values.length) this.#grow(row + 1);
    const isOther = this.#labels[row] !== labels;
    if (isOther) this.#labels[row] = labels;
    const stored = this.#values;
    for (let column = 0; column < width; column++) {
      if (!isOther && stored[at + column] === values[column]) continue;
      stored[at + column] = values[column]!;
      this.#touch(column, row);
    }
  }

  /** There are so many rows. */
  end(rows: number): void {
    if (rows === this.#labels.length) return;
    this.#labels.length = rows;
    const blocks = Math.ceil(rows / BLOCK_ROWS);
    for (const column of this.#columns.keys()) {
      this.#blocks[column]!.length = blocks;
      if (rows > 0) this.#touch(column, rows - 1);
    }
  }

  /** All as bytes, column after column; after each step the rest may wait. */
  *pieces(): Generator<void, Buffer[]> {
    const pieces: Buffer[] = [];
    for (const [column, blocks] of this.#blocks.entries()) {
      // Columns that follow each other may be of one metric.
      if (this.#columns[column]!.name !== this.#columns[column - 1]?.name) pieces.push(this.#heads[column]!);
      for (const [at, block] of blocks.entries()) {
        if (block.isStale) {
          // Former bytes may be on their way to somebody.
          block.bytes = Buffer.from(this.#text(column, at * BLOCK_ROWS));
          block.isStale = false;
          yield;
        }
        pieces.push(block.bytes);
      }
    }
    return pieces;
  }

  #text(column: number, from: number): string {
    const { name, more } = this.#columns[column]!;
    const width = this.#columns.length;
    const end = Math.min(from + BLOCK_ROWS, this.#labels.length);
    const fixed = typeof more === 'string' ? `,${more}} ` : '} ';
    let text = '';
    for (let row = from; row < end; row++) {
      const value = this.#values[row * width + column]!;
      text +=
        typeof more === 'object'
          ? `${name}{${this.#labels[row]},${more[value]}} 1\n`
          : `${name}{${this.#labels[row]}${fixed}${value}\n`;
    }
    return text;
  }

  #touch(column: number, row: number): void {
    const blocks = this.#blocks[column]!;
    const at = Math.floor(row / BLOCK_ROWS);
    const block = blocks[at];
    if (block === undefined) blocks[at] = { isStale: true, bytes: Buffer.alloc(0) };
    else block.isStale = true;
  }

  #grow(rows: number): void {
    const values = new Float64Array(
      Math.max(rows, BLOCK_ROWS, this.#labels.length * 2) * this.#columns.length,
    );
    values.set(this.#values);
    this.#values = values;
  }
}

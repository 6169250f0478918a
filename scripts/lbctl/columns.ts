import { stripVTControlCharacters } from 'node:util';
import { paint, table } from './format.ts';

/** Narrower than this, nothing is made to fit. */
const NARROWEST = 40;

/** Columns of the terminal; undefined: it is none, and lines may be as long as they are, for `grep` and `awk`. */
export function terminalWidth(): number | undefined {
  const { isTTY, columns } = process.stdout;
  return isTTY && columns >= NARROWEST ? columns : undefined;
}

/** What can be done with a table that is wider than its terminal. */
export interface Spare {
  /** Titles of columns that may be left out, the first one first. */
  readonly columns: readonly string[];
  /** The last column may stand below its row. */
  readonly below: boolean;
}

/** A table whose lines fit, where that can be: first the last column goes below each row, then spare ones go. */
export function fittingTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  { columns, below }: Spare,
  width = terminalWidth(),
): string {
  const whole = table(head, rows);
  if (width === undefined || fits(whole, width)) return whole;
  const last = head.length - 1;
  let kept = head.map((_, i) => i).filter((i) => !below || i < last);
  const made = () =>
    table(
      kept.map((i) => head[i]!),
      rows.map((row) => kept.map((i) => row[i]!)),
    );
  let text = made();
  for (const spare of columns) {
    if (fits(text, width)) break;
    kept = kept.filter((i) => head[i] !== spare);
    text = made();
  }
  if (!below) return text;
  const [title = '', ...lines] = text.split('\n');
  return [title, ...lines.flatMap((line, i) => [line, ...notes(rows[i]?.[last] ?? '', width)])].join('\n');
}

/** Rows of a name and facts about it, with facts that do not fit on further lines. */
export function fittingFacts(rows: readonly (readonly string[])[], width = terminalWidth()): string {
  if (width === undefined) return table([], rows);
  const margin = Math.max(0, ...rows.map(([name = '']) => name.length)) + 2;
  return rows
    .flatMap(([name = '', text = '']) =>
      wrapped(text, width - margin).map((line, i) =>
        `${(i === 0 ? name : '').padEnd(margin)}${line}`.trimEnd(),
      ),
    )
    .join('\n');
}

function notes(text: string, width: number): string[] {
  return text === '' ? [] : wrapped(text, width - 2).map((line) => `  ${paint('dim', line)}`);
}

function fits(text: string, width: number): boolean {
  return text.split('\n').every((line) => visible(line) <= width);
}

function visible(line: string): number {
  return stripVTControlCharacters(line).length;
}

/** Breaks at blanks, and nowhere within a word, however long it is. */
export function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && visible(line) + 1 + visible(word) > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

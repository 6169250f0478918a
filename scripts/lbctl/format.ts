import { type InspectColor, styleText } from 'node:util';
import Table from 'cli-table3';

/** Colour on a terminal that wants it (NO_COLOR, FORCE_COLOR); plain text everywhere else. */
export function paint(color: InspectColor, text: string): string {
  return styleText(color, text, { stream: process.stdout });
}

/** A word in its colour; one that only a newer daemon knows is shown as it is. */
export function paintWord(colors: Readonly<Record<string, InspectColor>>, word: string): string {
  return Object.hasOwn(colors, word) ? paint(colors[word]!, word) : word;
}

/** `-` where nothing was measured lately: the average of an idle backend fades to nothing. */
export function latencyText(ms: number): string {
  const text = ms.toFixed(1);
  return text === '0.0' ? '-' : `${text}ms`;
}

/** Columns without borders, so that a line is also good for `grep` and `awk`. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const view = new Table({
    head: head.map((title) => paint('dim', title)),
    chars: {
      ...{ top: '', 'top-mid': '', 'top-left': '', 'top-right': '' },
      ...{ bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '' },
      ...{ left: '', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: '  ' },
    },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
  view.push(...rows.map((row) => [...row]));
  return view
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

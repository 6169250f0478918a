/** What means something in a text, but for `_` within a word. */
const SIGNS = /[*<>|[\]\\]|(?<!\w)_|_(?!\w)/g;

/** A text of ours as Markdown: what is in backticks is code, and nothing else means anything. */
export function prose(text: string): string {
  return text
    .split(/(`[^`]+`)/)
    .map((part, i) => (i % 2 === 0 ? part.replaceAll(SIGNS, '\\$&') : part.replaceAll('|', '\\|')))
    .join('');
}

export function code(text: string): string {
  return `\`${text}\``;
}

/** @param rows of cells, in Markdown */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/** Where a heading of this text is linked to, as GitHub makes it. */
export function anchor(heading: string): string {
  return `#${heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-')}`;
}

/** More names only make a line unreadable. */
const MAX_LISTED = 12;

/**
 * The candidate that a misspelt word probably means. Optimal string alignment distance (Damerau-Levenshtein
 * with adjacent swaps), upper and lower case alike; at most a third of the word's length may be wrong.
 *
 * @returns undefined where no candidate is near
 */
export function suggest(word: string, candidates: Iterable<string>): string | undefined {
  // Nobody misspells a word of this length, and the distance costs the product of both lengths.
  if (word.length > 64) return undefined;
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - word.length) >= bestDistance) continue;
    const d = distance(word.toLowerCase(), candidate.toLowerCase());
    if (d < bestDistance) [best, bestDistance] = [candidate, d];
  }
  return best ?? completion(word, candidates);
}

/** `; did you mean "x"?`, or nothing where no candidate is near: to append to a message. */
export function didYouMean(word: string, candidates: Iterable<string>): string {
  const meant = suggest(word, candidates);
  return meant === undefined ? '' : `; did you mean "${meant}"?`;
}

/** Of a name that stands for nothing: what there is, at most 12 of it, and what was probably meant. */
export function noSuch(kind: string, name: string, known: readonly string[]): string {
  const more = known.length - MAX_LISTED;
  const listed = `${known.slice(0, MAX_LISTED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
  const there =
    known.length === 0 ? `there are no ${kind}s` : `there ${known.length === 1 ? 'is' : 'are'} ${listed}`;
  return `no such ${kind}: ${name}; ${there}${didYouMean(name, known)}`;
}

/** `least-conn` is far from `least-connections` in edits, yet nobody doubts what it means. */
function completion(word: string, candidates: Iterable<string>): string | undefined {
  if (word.length < 3) return undefined;
  const starts = [...candidates].filter((c) => c.toLowerCase().startsWith(word.toLowerCase()));
  return starts.length === 1 ? starts[0] : undefined;
}

function distance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitute = last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      let cost = Math.min(substitute, last[j]! + 1, row[j - 1]! + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        cost = Math.min(cost, beforeLast[j - 2]! + 1);
      row.push(cost);
    }
    [beforeLast, last] = [last, row];
  }
  return last[b.length]!;
}

/**
 * A set of UTF-16 code units as ranges: low, high, low, high …, in order, none touching the next. JavaScript without
 * the flag `u` matches code units, and what comes from the network is one each.
 */
export type CodeUnits = readonly number[];

const LAST = 0xffff;

const DIGITS: CodeUnits = [0x30, 0x39];
const WORD: CodeUnits = [0x30, 0x39, 0x41, 0x5a, 0x5f, 0x5f, 0x61, 0x7a];
/** ECMA-262: WhiteSpace and LineTerminator. */
const SPACES: CodeUnits = [
  ...[0x09, 0x0d, 0x20, 0x20, 0xa0, 0xa0, 0x1680, 0x1680, 0x2000, 0x200a, 0x2028, 0x2029],
  ...[0x202f, 0x202f, 0x205f, 0x205f, 0x3000, 0x3000, 0xfeff, 0xfeff],
];
const LINE_ENDS: CodeUnits = [0x0a, 0x0a, 0x0d, 0x0d, 0x2028, 0x2029];

/** By the letter of their escape, such as `d` of `\d`; `.` is all but line ends. */
export const NAMED: Readonly<Record<string, CodeUnits>> = {
  d: DIGITS,
  D: inverted(DIGITS),
  w: WORD,
  W: inverted(WORD),
  s: SPACES,
  S: inverted(SPACES),
  '.': inverted(LINE_ENDS),
};

/** Whether `\b` sees a letter of a word in it. */
export function isWord(unit: number): boolean {
  return includes(WORD, unit);
}

export function includes(units: CodeUnits, unit: number): boolean {
  for (let i = 0; i < units.length; i += 2) if (unit >= units[i]! && unit <= units[i + 1]!) return true;
  return false;
}

/** @param ranges in any order, overlapping or not */
export function united(ranges: readonly number[]): CodeUnits {
  const pairs: [low: number, high: number][] = [];
  for (let i = 0; i < ranges.length; i += 2) pairs.push([ranges[i]!, ranges[i + 1]!]);
  const out: number[] = [];
  for (const [low, high] of pairs.toSorted((a, b) => a[0] - b[0]))
    if (out.length > 0 && low <= out.at(-1)! + 1) out[out.length - 1] = Math.max(out.at(-1)!, high);
    else out.push(low, high);
  return out;
}

export function inverted(units: CodeUnits): CodeUnits {
  const out: number[] = [];
  let low = 0;
  for (let i = 0; i < units.length; i += 2) {
    if (units[i]! > low) out.push(low, units[i]! - 1);
    low = units[i + 1]! + 1;
  }
  return low > LAST ? out : [...out, low, LAST];
}

/** All that the flag `i` takes for one of these. */
export function inAnyCase(units: CodeUnits): CodeUnits {
  const out = [...units];
  for (const letters of sameLetters())
    if (letters.some((unit) => includes(units, unit))) for (const unit of letters) out.push(unit, unit);
  return united(out);
}

let letters: readonly (readonly number[])[] | undefined;

/** Code units that differ in case alone: those of which ECMA-262 `Canonicalize` makes the same. */
function sameLetters(): readonly (readonly number[])[] {
  if (letters !== undefined) return letters;
  const byCase = new Map<number, number[]>();
  for (let unit = 0; unit <= LAST; unit++) {
    const one = canonical(unit);
    if (one !== unit) byCase.set(one, [...(byCase.get(one) ?? [one]), unit]);
  }
  letters = [...byCase.values()];
  return letters;
}

function canonical(unit: number): number {
  const upper = String.fromCharCode(unit).toUpperCase();
  const code = upper.charCodeAt(0);
  return upper.length !== 1 || (unit >= 128 && code < 128) ? unit : code;
}

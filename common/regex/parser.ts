import { type CodeUnits, inAnyCase, inverted, NAMED, united } from './code-units.ts';

/** A regular expression, taken apart. */
export type Part =
  | { readonly kind: 'unit'; readonly units: CodeUnits }
  | { readonly kind: 'sequence'; readonly parts: readonly Part[] }
  | { readonly kind: 'choice'; readonly parts: readonly Part[] }
  /** `max` may be Infinity. */
  | { readonly kind: 'repeat'; readonly part: Part; readonly min: number; readonly max: number }
  | { readonly kind: 'assertion'; readonly where: Where };

/** What holds between two code units: `^`, `$`, `\b` and `\B`. */
export type Where = 'start' | 'end' | 'edge' | 'no-edge';

/** What is a regular expression of JavaScript, and yet not one of ours. The message is the expectation. */
export class RegexRefusal extends Error {
  /** @param at offset in the expression */
  constructor(expected: string, source: string, at: number, length: number) {
    super(`${expected}, not "${source.slice(at, at + length)}" as at character ${at + 1}`);
  }
}

const NAMED_UNITS = new Set(Object.values(NAMED));

const QUANTIFIER = /(?:([*+?])|\{(\d+)(,(\d*))?\})\??/y;
const GROUP = /\((?!\?)|\(\?:|\(\?<[^=!>][^>]*>|\(\?i:/y;
const AROUND = /\(\?<?[=!]/y;
const ESCAPE = /\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|c[A-Za-z]|0(?!\d)|[tnvfr]|[^A-Za-z0-9])/y;
const BACKREFERENCE = /\\(?:[1-9]\d*|k<[^>]*>?)/y;
const CONTROL: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, 0: 0 };

/**
 * Parses a regular expression as JavaScript does without flags, but for what no automaton can do (lookaround,
 * backreferences) and what only looks like something (`\A`, `\z`, octal numbers).
 *
 * @param source that `RegExp` takes: brackets are in pairs, quantifiers have something to repeat
 * @throws RegexRefusal
 */
export function parseRegex(source: string): Part {
  return new Parser(source).choice();
}

class Parser {
  readonly #source: string;
  #at = 0;
  #anyCase = false;

  constructor(source: string) {
    this.#source = source;
  }

  choice(): Part {
    const parts = [this.#sequence()];
    while (this.#take('|')) parts.push(this.#sequence());
    return parts.length === 1 ? parts[0]! : { kind: 'choice', parts };
  }

  #sequence(): Part {
    const parts: Part[] = [];
    for (let next = this.#source[this.#at]; next !== undefined && next !== '|' && next !== ')'; ) {
      parts.push(this.#repeated(this.#term(next)));
      next = this.#source[this.#at];
    }
    return parts.length === 1 ? parts[0]! : { kind: 'sequence', parts };
  }

  #repeated(part: Part): Part {
    const found = this.#match(QUANTIFIER);
    if (found === undefined) return part;
    const [, sign, low, comma, high] = found;
    const min = sign === undefined ? Number(low) : sign === '+' ? 1 : 0;
    const atMost = comma === undefined ? low : high;
    const unbounded = sign === undefined ? atMost === '' : sign !== '?';
    return { kind: 'repeat', part, min, max: unbounded ? Infinity : sign === '?' ? 1 : Number(atMost) };
  }

  #term(next: string): Part {
    switch (next) {
      case '(':
        return this.#group();
      case '[':
        return this.#class();
      case '^':
      case '$':
        this.#at++;
        return { kind: 'assertion', where: next === '^' ? 'start' : 'end' };
      case '.':
        this.#at++;
        return this.#units(NAMED['.']!);
      case '\\':
        if (this.#take('\\b')) return { kind: 'assertion', where: 'edge' };
        if (this.#take('\\B')) return { kind: 'assertion', where: 'no-edge' };
        return this.#units(this.#escape());
      default:
        return this.#units(this.#unit());
    }
  }

  #group(): Part {
    const around = this.#look(AROUND);
    if (around !== undefined) this.#refuse('without lookahead and lookbehind', around.length);
    const opening = this.#match(GROUP)?.[0];
    if (opening === undefined) this.#refuse('without flags but "(?i:"', 4);
    const outside = this.#anyCase;
    if (opening === '(?i:') this.#anyCase = true;
    const part = this.choice();
    this.#anyCase = outside;
    this.#at++;
    return part;
  }

  #class(): Part {
    this.#at++;
    const inverts = this.#take('^');
    const ranges: number[] = [];
    while (!this.#take(']')) {
      const low = this.#classAtom();
      if (this.#source[this.#at] !== '-' || this.#source[this.#at + 1] === ']') {
        ranges.push(...low);
        continue;
      }
      this.#at++;
      const high = this.#classAtom();
      // With `\d` at an end the hyphen is one.
      if (isOne(low) && isOne(high)) ranges.push(low[0]!, high[0]!);
      else ranges.push(...low, ...high, 0x2d, 0x2d);
    }
    const units = this.#cased(united(ranges));
    return { kind: 'unit', units: inverts ? inverted(units) : units };
  }

  #classAtom(): CodeUnits {
    if (this.#take('\\b')) return [8, 8];
    return this.#source[this.#at] === '\\' ? this.#escape() : this.#unit();
  }

  #unit(): CodeUnits {
    const code = this.#source.charCodeAt(this.#at++);
    return [code, code];
  }

  #escape(): CodeUnits {
    const name = this.#source[this.#at + 1]!;
    if (/[dDwWsS]/.test(name)) {
      this.#at += 2;
      return NAMED[name]!;
    }
    const back = this.#look(BACKREFERENCE);
    if (back !== undefined) this.#refuse('without backreferences', back.length);
    const found = this.#match(ESCAPE)?.[0];
    if (found === undefined) this.#refuse('with escapes that mean something', 2);
    const code = escaped(found, name);
    return [code, code];
  }

  #units(units: CodeUnits): Part {
    return { kind: 'unit', units: this.#cased(units) };
  }

  #cased(units: CodeUnits): CodeUnits {
    // `.` and the classes with a name have each letter in both cases, or in none.
    return this.#anyCase && !NAMED_UNITS.has(units) ? inAnyCase(units) : units;
  }

  #take(text: string): boolean {
    if (!this.#source.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  #match(sticky: RegExp): RegExpExecArray | undefined {
    sticky.lastIndex = this.#at;
    const found = sticky.exec(this.#source) ?? undefined;
    this.#at += found?.[0].length ?? 0;
    return found;
  }

  #look(sticky: RegExp): string | undefined {
    sticky.lastIndex = this.#at;
    return sticky.exec(this.#source)?.[0];
  }

  #refuse(expected: string, length: number): never {
    throw new RegexRefusal(`a regular expression ${expected}`, this.#source, this.#at, length);
  }
}

function isOne(units: CodeUnits): boolean {
  return units.length === 2 && units[0] === units[1];
}

/** @param text of an escape that stands for one code unit. @param name what follows its backslash */
function escaped(text: string, name: string): number {
  if (text.length > 3) return Number.parseInt(text.slice(2), 16);
  if (text.length === 3) return text.charCodeAt(2) & 31;
  return CONTROL[name] ?? name.charCodeAt(0);
}

import { type CodeUnits, includes, isWord, NAMED } from './code-units.ts';
import { type Part, parseRegex, type Where } from './parser.ts';

/** What a step does: takes one code unit, goes two ways, holds or not, or has found a match. */
export const STEP = { unit: 0, fork: 1, start: 2, end: 3, edge: 4, noEdge: 5, found: 6 } as const;

const STEP_OF: Readonly<Record<Where, number>> = {
  start: STEP.start,
  end: STEP.end,
  edge: STEP.edge,
  'no-edge': STEP.noEdge,
};

/** What a code unit of a text can cost at worst: a look at each of these steps. */
const MAX_STEPS = 512;

/** An expression that is too long when its counts are written out. */
export class RegexTooLong extends Error {
  constructor() {
    super(
      `a regular expression of at most ${MAX_STEPS} steps with its counts written out, such as a{200} for a{1,9999}`,
    );
  }
}

/**
 * A regular expression as the steps of a nondeterministic automaton (Thompson 1968). Code units that no step tells apart
 * are one class, so that tables have a column for each class instead of 65,536.
 */
export class RegexProgram {
  /** Of `STEP`, by step. */
  readonly kinds: Uint8Array;
  /** Step that follows; of `found` none. */
  readonly next: Int16Array;
  /** Of `fork`: the other step that follows. */
  readonly other: Int16Array;
  /** First step. */
  readonly entry: number;
  readonly classes: number;
  /** By class: `\b` sees a letter of a word; all false where nobody asks. */
  readonly words: readonly boolean[];
  /** First code unit of each class's run; runs of one class are counted as several. */
  readonly #starts: readonly number[];
  /** Class of code units below 256, which nearly all are: to be looked up without a call. */
  readonly narrow: Uint16Array;
  /** By step and class, `classes` for each step: 1, the step takes code units of the class. */
  readonly takes: Uint8Array;

  /**
   * @param source that `RegExp` takes
   * @throws RegexRefusal, RegexTooLong
   */
  constructor(source: string) {
    const steps = new Steps();
    this.entry = steps.of(parseRegex(source), steps.add(STEP.found, -1));
    this.kinds = Uint8Array.from(steps.kinds);
    this.next = Int16Array.from(steps.next);
    this.other = Int16Array.from(steps.other);
    const asksWords = steps.kinds.some((kind) => kind === STEP.edge || kind === STEP.noEdge);
    this.#starts = startsOf(asksWords ? [...steps.units, NAMED.w] : steps.units);
    this.classes = this.#starts.length;
    this.words = this.#starts.map((start) => asksWords && isWord(start));
    this.takes = Uint8Array.from(
      steps.units.flatMap((units) =>
        this.#starts.map((start) => +(units !== undefined && includes(units, start))),
      ),
    );
    this.narrow = Uint16Array.from({ length: 256 }, (_, unit) => this.classOf(unit));
  }

  /** Class of any code unit. */
  classOf(unit: number): number {
    let low = 0;
    for (let high = this.classes - 1; low < high; ) {
      const middle = (low + high + 1) >> 1;
      if (this.#starts[middle]! <= unit) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

function startsOf(sets: readonly (CodeUnits | undefined)[]): number[] {
  const starts = new Set([0]);
  for (const units of sets)
    for (let i = 0; units !== undefined && i < units.length; i += 2)
      starts.add(units[i]!).add(units[i + 1]! + 1);
  return [...starts].filter((start) => start <= 0xffff).toSorted((a, b) => a - b);
}

/** Steps as they are written down, from the last one to the first. */
class Steps {
  readonly kinds: number[] = [];
  readonly next: number[] = [];
  readonly other: number[] = [];
  readonly units: (CodeUnits | undefined)[] = [];

  /** @returns the step */
  add(kind: number, next: number, other = -1, units?: CodeUnits): number {
    if (this.kinds.length === MAX_STEPS) throw new RegexTooLong();
    this.kinds.push(kind);
    this.next.push(next);
    this.other.push(other);
    this.units.push(units);
    return this.kinds.length - 1;
  }

  /** @param next what follows the part. @returns first step of the part */
  of(part: Part, next: number): number {
    switch (part.kind) {
      case 'unit':
        return this.add(STEP.unit, next, -1, part.units);
      case 'assertion':
        return this.add(STEP_OF[part.where]!, next);
      case 'sequence':
        return part.parts.reduceRight((after, it) => this.of(it, after), next);
      case 'choice':
        return part.parts
          .map((it) => this.of(it, next))
          .reduceRight((after, it) => this.add(STEP.fork, it, after));
      case 'repeat':
        return this.#repeated(part, next);
    }
  }

  #repeated({ part, min, max }: Extract<Part, { kind: 'repeat' }>, next: number): number {
    let entry = next;
    if (max === Infinity) {
      entry = this.add(STEP.fork, -1, next);
      this.next[entry] = this.of(part, entry);
    } else for (let i = min; i < max; i++) entry = this.add(STEP.fork, this.of(part, entry), next);
    for (let i = 0; i < min; i++) {
      const again = this.of(part, entry);
      // Nothing, any number of times.
      if (again === entry) break;
      entry = again;
    }
    return entry;
  }
}

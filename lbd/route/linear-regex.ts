import { RegexProgram, STEP } from '../../common/regex/program.ts';

/** What follows a state, where it is no state: the text does not match; it does; there is no room for another state. */
const NO = -1;
const YES = -2;
const FULL = -3;
/** In the table: not looked at yet. */
const UNKNOWN = 0;
/** The text goes on. */
const OPEN = 0;

/** Numbers in the table, and steps in its states. */
const MAX_TABLE = 16_384;
const MAX_STEPS = 65_536;
const FEWEST_ROWS = 8;

/** What came before the next code unit. */
const AT_START = 1;
const AFTER_WORD = 2;
type Before = 0 | typeof AT_START | typeof AFTER_WORD;

interface State {
  /** Steps that wait for the next code unit. */
  readonly steps: Int16Array;
  readonly before: Before;
}

/**
 * Whether a text matches a regular expression somewhere, in time that grows with the length of the text alone. With some
 * expressions a backtracking engine takes time that is exponential in it, and the text is the client's.
 *
 * A deterministic automaton whose states are made when a text first leads to them (Thompson 1968; Cox, "Regular Expression
 * Matching Can Be Simple And Fast"). It costs a look into a table for each code unit, once the state is known. A text that
 * fills the table goes on without it, and the next one begins with an empty one.
 */
export class LinearRegex {
  readonly #program: RegexProgram;
  /** Of the table: one for each class of code units, and the last one for the end of the text. */
  readonly #columns: number;
  /** A match begins at the start of the text only. */
  readonly #anchored: boolean;
  readonly #maxTable: number;
  /** What follows, by state and column. A state is the offset of its row; the first row is that of none. */
  #table = new Int32Array(0);
  #states: State[] = [];
  readonly #rows = new Map<string, number>();
  #heldSteps = 0;
  /** Steps that `#advance` came to, a bit each. */
  readonly #followers: Uint16Array;
  /** Steps that `#advance` still has to look at. */
  readonly #open: Int16Array;
  /** By step: the last `#advance` that came by. */
  readonly #visited: Float64Array;
  #advances = 0;

  /** @param source that the config has accepted, see `RegexProgram` */
  constructor(source: string) {
    this.#program = new RegexProgram(source);
    const steps = this.#program.kinds.length;
    this.#columns = this.#program.classes + 1;
    this.#maxTable = Math.max(MAX_TABLE, FEWEST_ROWS * this.#columns);
    this.#followers = new Uint16Array(Math.ceil(steps / 16));
    this.#open = new Int16Array(3 * steps);
    this.#visited = new Float64Array(steps);
    this.#anchored = !this.#beginsAnywhere();
    this.#forget();
  }

  test(text: string): boolean {
    const { narrow, classes: end } = this.#program;
    let table = this.#table;
    let state = this.#columns;
    for (let at = 0; at < text.length; at++) {
      const unit = text.charCodeAt(at);
      const column = unit < 256 ? narrow[unit]! : this.#program.classOf(unit);
      let next = table[state + column]!;
      if (next === UNKNOWN) {
        next = this.#follow(state, column);
        if (next === FULL) return this.#testRest(text, at + 1, this.#after(column));
        table = this.#table;
      }
      if (next < 0) return next === YES;
      state = next;
    }
    const last = table[state + end]!;
    return (last === UNKNOWN ? this.#follow(state, end) : last) === YES;
  }

  /** Goes on without the table. @param from where `#followers` wait */
  #testRest(text: string, from: number, before: Before): boolean {
    const { classes: end } = this.#program;
    for (let at = from; ; at++) {
      const column = at < text.length ? this.#program.classOf(text.charCodeAt(at)) : end;
      const result = this.#advance(spread(this.#followers, this.#open), before, column);
      before = this.#after(column);
      if (result === OPEN) continue;
      this.#forget();
      return result === YES;
    }
  }

  /** Finds out what follows a state, and remembers it. */
  #follow(state: number, column: number): number {
    const { steps, before } = this.#states[state / this.#columns - 1]!;
    this.#open.set(steps);
    const result = this.#advance(steps.length, before, column);
    const follower = result === OPEN ? this.#stateOf(this.#after(column)) : result;
    if (follower !== FULL) this.#table[state + column] = follower;
    return follower;
  }

  /** @param left so many steps are in `#open`. @returns `OPEN`: `#followers` wait for the next code unit */
  #advance(left: number, before: Before, column: number): typeof OPEN | typeof NO | typeof YES {
    const { kinds, next, other, takes, entry, classes } = this.#program;
    const followers = this.#followers.fill(0);
    const visited = this.#visited;
    const advance = ++this.#advances;
    const open = this.#open;
    let some = !this.#anchored;
    while (left > 0) {
      const step = open[--left]!;
      if (visited[step] === advance) continue;
      visited[step] = advance;
      const kind = kinds[step]!;
      if (kind === STEP.unit) {
        if (column === classes || takes[step * classes + column] === 0) continue;
        setBit(followers, next[step]!);
        some = true;
      } else if (kind === STEP.fork) {
        open[left++] = other[step]!;
        open[left++] = next[step]!;
      } else if (kind === STEP.found) return YES;
      else if (this.#holds(kind, before, column)) open[left++] = next[step]!;
    }
    if (!this.#anchored) setBit(followers, entry);
    return some && column < classes ? OPEN : NO;
  }

  #holds(kind: number, before: Before, column: number): boolean {
    if (kind === STEP.start) return before === AT_START;
    if (kind === STEP.end) return column === this.#program.classes;
    const atEdge = (before === AFTER_WORD) !== (this.#after(column) === AFTER_WORD);
    return atEdge === (kind === STEP.edge);
  }

  #after(column: number): Before {
    return this.#program.words[column] === true ? AFTER_WORD : 0;
  }

  /** The state of `#followers`, or `FULL`. */
  #stateOf(before: Before): number {
    const key = String.fromCharCode(before, ...this.#followers);
    const known = this.#rows.get(key);
    if (known !== undefined) return known;
    const steps = this.#open.slice(0, spread(this.#followers, this.#open));
    const state = (this.#states.length + 1) * this.#columns;
    this.#heldSteps += steps.length;
    if (state + this.#columns > this.#maxTable || this.#heldSteps > MAX_STEPS) return FULL;
    this.#states.push({ steps, before });
    this.#rows.set(key, state);
    if (state + this.#columns > this.#table.length) {
      const grown = new Int32Array(Math.min(this.#maxTable, 2 * (state + this.#columns)));
      grown.set(this.#table);
      this.#table = grown;
    }
    return state;
  }

  /** Begins with the first state alone. */
  #forget(): void {
    this.#table = new Int32Array(0);
    this.#states = [];
    this.#rows.clear();
    this.#heldSteps = 0;
    this.#followers.fill(0);
    setBit(this.#followers, this.#program.entry);
    this.#stateOf(AT_START);
  }

  /** Whether something but `^` comes first in some match. */
  #beginsAnywhere(): boolean {
    const { kinds, next, other, entry } = this.#program;
    const visited = new Set<number>();
    const open = [entry];
    for (let step = open.pop(); step !== undefined; step = open.pop()) {
      if (visited.has(step) || kinds[step] === STEP.start) continue;
      visited.add(step);
      if (kinds[step] === STEP.unit || kinds[step] === STEP.found) return true;
      open.push(next[step]!);
      if (kinds[step] === STEP.fork) open.push(other[step]!);
    }
    return false;
  }
}

function setBit(bits: Uint16Array, at: number): void {
  bits[at >> 4]! |= 1 << (at & 15);
}

/** Writes down the places of the bits that are set. @returns how many they are */
function spread(bits: Uint16Array, places: Int16Array): number {
  let count = 0;
  for (let at = 0; at < bits.length; at++)
    for (let rest = bits[at]!; rest !== 0; rest &= rest - 1)
      places[count++] = at * 16 + 31 - Math.clz32(rest & -rest);
  return count;
}

/** So many changes in a row are told at once: a path that fails and works again is no flapping. */
const AT_ONCE = 4;
/** What changes more often is told so often, with the number of changes, until it has not changed for as long. */
const SPACING_MS = 5_000;

/** @param why it does not work; undefined: it works @param changes since what was told before; more than 1: it flaps */
export type TellState = (why: string | undefined, changes: number) => void;

/** Tells of a state that may change many times a second, such as a path for which half of the sends fail. */
export class StateNews {
  readonly #tell: TellState;
  #why: string | undefined;
  /** Told since the last quiet time. */
  #told = 0;
  #changes = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(tell: TellState) {
    this.#tell = tell;
  }

  /** To be called on change only, see `TellState`. */
  change(why: string | undefined): void {
    this.#why = why;
    this.#changes++;
    if (this.#told < AT_ONCE) this.#say();
    this.#timer ??= setTimeout(() => this.#turn(), SPACING_MS);
  }

  /** Nothing is told any more. */
  close(): void {
    clearTimeout(this.#timer);
  }

  #turn(): void {
    this.#timer = undefined;
    if (this.#changes === 0) {
      this.#told = 0;
      return;
    }
    this.#say();
    this.#told = AT_ONCE;
    this.#timer = setTimeout(() => this.#turn(), SPACING_MS);
  }

  #say(): void {
    const changes = this.#changes;
    this.#changes = 0;
    this.#told++;
    this.#tell(this.#why, changes);
  }
}

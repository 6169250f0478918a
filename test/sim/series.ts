import type { Stage } from './stage.ts';

/** What came of a story: nothing, or what must not be; and all that happened, line by line. */
export interface Outcome {
  readonly problems: readonly string[];
  readonly lines: readonly string[];
}

/** So many stories are played on one pair, as long as it is whole: its start costs as much as two of them. */
const STORIES_PER_PAIR = 24;

/**
 * Stories of seeds in a row, one after the other on the same pair. The pair of a seed and its past follow from the seed alone:
 * where it is not the next one, those before it are played first.
 */
export class Series {
  readonly #make: (seed: number, last: number) => Stage;
  readonly #suits: (stage: Stage, seed: number) => boolean;
  readonly #play: (stage: Stage, seed: number) => void;
  #stage: Stage | undefined;
  /** Played last. */
  #latest: number | undefined;
  /** The first one on the pair of now. */
  #first = 0;

  /**
   * @param make a pair for a seed, and as far as possible for those up to `last`
   * @param suits whether the story of a seed can be played on a pair
   */
  constructor(
    make: (seed: number, last: number) => Stage,
    suits: (stage: Stage, seed: number) => boolean,
    play: (stage: Stage, seed: number) => void,
  ) {
    this.#make = make;
    this.#suits = suits;
    this.#play = play;
  }

  outcomeOf(seed: number): Outcome {
    const start = seed - (seed % STORIES_PER_PAIR);
    if (this.#latest !== seed - 1) for (let before = start; before < seed; before++) this.#tell(before);
    return this.#tell(seed);
  }

  #tell(seed: number): Outcome {
    const start = seed - (seed % STORIES_PER_PAIR);
    const isNext = this.#latest === seed - 1 && seed !== start;
    const last = isNext ? this.#stage : undefined;
    let stage: Stage;
    if (last?.isWhole && this.#suits(last, seed)) {
      stage = last;
      stage.turnTo(seed);
      stage.pair.log(`on the pair of seed ${this.#first}${seed - 1 > this.#first ? ` to ${seed - 1}` : ''}`);
    } else {
      stage = this.#make(seed, start + STORIES_PER_PAIR - 1);
      this.#first = seed;
    }
    this.#stage = stage;
    this.#latest = seed;
    this.#play(stage, seed);
    return stage.pair;
  }
}

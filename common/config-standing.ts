import type { Accepted } from './accepted-config.ts';
import { formatAge } from './duration.ts';

/** Of what is wrong with a file; the log has all of it. */
const MAX_CHARS = 2000;

/** What a daemon runs on where its config file cannot be used at the start. */
export interface Substitute {
  /** What is wrong with the file, one line each. */
  readonly problems: readonly string[];
  /** The config that is in force instead. */
  readonly accepted: Accepted;
}

/** Whether the config file is what is in force, and what an operator is told for as long as it is not. */
export class ConfigStanding {
  readonly #daemon: string;
  /** That of an earlier run; undefined: this run has accepted what is in force. */
  #accepted: Accepted | undefined;
  #refused: { readonly when: string; readonly why: string } | undefined;

  /** @param daemon its name */
  constructor(daemon: string, substitute?: Substitute) {
    this.#daemon = daemon;
    if (substitute === undefined) return;
    this.#accepted = substitute.accepted;
    this.refuse(substitute.problems, new Date().toISOString());
  }

  /** What is wrong with the file; undefined: it is in force, as far as it was looked at. */
  get why(): string | undefined {
    return this.#refused?.why;
  }

  /** @param when time of day, for people */
  refuse(problems: readonly string[], when: string): void {
    this.#refused = { when, why: problems.join('; ').slice(0, MAX_CHARS) };
  }

  accept(): void {
    this.#refused = undefined;
    this.#accepted = undefined;
  }

  /**
   * For people, one line; empty where all is well.
   *
   * @param nowMs wall clock
   */
  warnings(nowMs = Date.now()): readonly string[] {
    if (this.#refused === undefined) return [];
    const { when, why } = this.#refused;
    const what = `${this.#daemon} did not load the config file at ${when}`;
    if (this.#accepted === undefined) return [`${what}, what it had before stays in force: ${why}`];
    const { atMs, from } = this.#accepted;
    const file = from === undefined ? '' : ` from ${from}`;
    const age = formatAge(Math.max(0, nowMs - atMs));
    return [
      `${what}, what it accepted${file} ${age} ago, at ${new Date(atMs).toISOString()}, is in force: ${why}`,
    ];
  }
}

import { statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { within } from './bounded.ts';
import { messageOf } from './errors.ts';
import { writeWhole } from './whole-file.ts';

/**
 * A copy of the config file as a daemon accepted it last, in its state directory, so that a file that is broken meanwhile
 * does not leave a pair without service after a power cut. Nothing waits for the disk, and where it fails all goes on, and
 * is told.
 */
export class AcceptedConfig {
  readonly path: string;
  readonly #onTrouble: (text: string) => void;
  /** The latest write; they come one after the other. */
  #writing: Promise<void> = Promise.resolve();
  /** What the copy says, as far as this process has written it. */
  #written: string | undefined;
  #problem: string | undefined;

  /**
   * @param directory see `DaemonOptions.stateDir`; made when it is needed
   * @param daemon each has a folder of its own: what one of them refuses the other may accept
   */
  constructor(directory: string, daemon: string, onTrouble: (text: string) => void) {
    this.path = join(resolve(directory), daemon, 'accepted.yaml');
    this.#onTrouble = onTrouble;
  }

  /** When the copy was accepted, milliseconds of the wall clock, for people only; undefined: there is none. @throws what the file system says */
  get acceptedMs(): number | undefined {
    return statSync(this.path, { throwIfNoEntry: false })?.mtimeMs;
  }

  /** One line each. */
  get warnings(): readonly string[] {
    return this.#problem === undefined ? [] : [this.#problem];
  }

  /** The config is in force. Never rejects; settles once it is written or known why not, which may take forever. */
  keep(text: string): Promise<void> {
    this.#writing = this.#writing.then(() => this.#write(text));
    return this.#writing;
  }

  /** For the end of a daemon: settles when all that was to be kept is, or is known why not, but after `ms` at the latest. */
  async kept(ms: number): Promise<void> {
    await within(ms, this.#writing);
  }

  async #write(text: string): Promise<void> {
    if (text === this.#written) return;
    try {
      await writeWhole(this.path, text);
      this.#written = text;
      this.#problem = undefined;
    } catch (error) {
      const problem = `a start with a broken config file would fail, since this one could not be kept: ${messageOf(error)}`;
      if (problem !== this.#problem) this.#onTrouble(problem);
      this.#problem = problem;
    }
  }
}

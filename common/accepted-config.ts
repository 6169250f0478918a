import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { within } from './bounded.ts';
import { messageOf } from './errors.ts';
import { MAX_CONFIG_BYTES } from './model.ts';
import { writeWhole } from './whole-file.ts';

/** The last line of a copy, for people and for `AcceptedConfig.last`; to a parser it is a comment. */
const ORIGIN = /\n# accepted from (".*")\n$/;
/** A path has 4096 bytes at most, and JSON may make six of one. */
const ORIGIN_BYTES = 32 * 1024;

/** The config that a daemon accepted last, for people. */
export interface Accepted {
  /** Milliseconds of the wall clock. */
  readonly atMs: number;
  /** Path of its file; undefined: it is not known, as of a copy of a former release. */
  readonly from: string | undefined;
}

/**
 * A copy of the config file as a daemon accepted it last, in its state directory, so that a file that is broken meanwhile
 * does not leave a pair without service after a power cut. Nothing waits for the disk, and where it fails all goes on, and
 * is told.
 */
export class AcceptedConfig {
  readonly path: string;
  readonly #file: string;
  readonly #onTrouble: (text: string) => void;
  /** The latest write; they come one after the other. */
  #writing: Promise<void> = Promise.resolve();
  /** What the copy says, as far as this process has written it. */
  #written: string | undefined;
  #problem: string | undefined;

  /**
   * @param directory see `DaemonOptions.stateDir`; made when it is needed
   * @param daemon each has a folder of its own: what one of them refuses the other may accept
   * @param file the config file
   */
  constructor(directory: string, daemon: string, file: string, onTrouble: (text: string) => void) {
    this.#file = resolve(file);
    this.path = join(resolve(directory), daemon, 'accepted.yaml');
    this.#onTrouble = onTrouble;
  }

  /** undefined: there is no copy. @throws what the file system says */
  get last(): Accepted | undefined {
    let descriptor: number;
    try {
      descriptor = openSync(this.path, 'r');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    try {
      const { mtimeMs, size } = fstatSync(descriptor);
      const end = Buffer.alloc(Math.min(size, ORIGIN_BYTES));
      readSync(descriptor, end, 0, end.length, size - end.length);
      const from = ORIGIN.exec(end.toString())?.[1];
      return { atMs: mtimeMs, from: from && (JSON.parse(from) as string) };
    } finally {
      closeSync(descriptor);
    }
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

  /** A file as large as one may be stays readable. */
  #copyOf(text: string): string {
    const copy = `${text}${text.endsWith('\n') ? '' : '\n'}# accepted from ${JSON.stringify(this.#file)}\n`;
    return Buffer.byteLength(copy) > MAX_CONFIG_BYTES ? text : copy;
  }

  async #write(text: string): Promise<void> {
    if (text === this.#written) return;
    try {
      await writeWhole(this.path, this.#copyOf(text));
      this.#written = text;
      this.#problem = undefined;
    } catch (error) {
      const problem = `a start with a broken config file would fail, since this one could not be kept: ${messageOf(error)}`;
      if (problem !== this.#problem) this.#onTrouble(problem);
      this.#problem = problem;
    }
  }
}

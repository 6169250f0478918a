import { readFile, rename, writeFile } from 'node:fs/promises';
import { deserialize, serialize } from 'node:v8';
import { messageOf, OperatorError } from '../../../common/errors.ts';
import type { Config } from '../../../common/model.ts';
import { VERSION } from '../../../common/version.ts';

/** To read the file takes a process and up to a second; whoever asks again and again gets the answer of before. */
const REREAD_MS = 1_000;

interface Copy {
  readonly version: string;
  readonly config: Config;
}

/**
 * The config that lbd and its helper both have: lbd names it by its digest, the helper reads it by itself. The one that
 * was accepted last is kept beside, so that a helper that starts while the file says more than lbd has read goes on.
 */
export class AcceptedConfig {
  readonly #read: () => Promise<Config>;
  readonly #copy: string;
  readonly #tell: (text: string) => void;
  #config: Config | undefined;
  #latest: Promise<unknown> = Promise.resolve();
  /** What the file said last, and until when it need not be read again. */
  #file: { readonly config: Config; readonly untilMs: number } | undefined;

  /**
   * @param read reads the file
   * @param copy path of the copy, in a folder that only this user writes
   * @param tell what an operator should know, one line
   */
  constructor(read: () => Promise<Config>, copy: string, tell: (text: string) => void) {
    this.#read = read;
    this.#copy = copy;
    this.#tell = tell;
  }

  /**
   * The config with this digest. Who asks first is answered first.
   *
   * @throws OperatorError `CONFIG_DIFFERS` where neither the file nor the copy has it; ConfigError where the file is broken
   */
  get(digest: string): Promise<Config> {
    const found = this.#latest.then(() => this.#find(digest));
    this.#latest = found.catch(() => {});
    return found;
  }

  async #find(digest: string): Promise<Config> {
    if (this.#config?.digest === digest) return this.#config;
    const first = this.#config === undefined ? await this.#fromCopy() : undefined;
    const found = first?.digest === digest ? first : await this.#fromFile();
    if (found.digest !== digest)
      throw new OperatorError(
        'CONFIG_DIFFERS',
        'the config file says something else than lbd has read; "lbctl reload" makes both the same',
      );
    this.#config = found;
    if (found !== first) await this.#save(found);
    return found;
  }

  async #fromFile(): Promise<Config> {
    if (this.#file !== undefined && performance.now() < this.#file.untilMs) return this.#file.config;
    const config = await this.#read();
    this.#file = { config, untilMs: performance.now() + REREAD_MS };
    return config;
  }

  async #fromCopy(): Promise<Config | undefined> {
    try {
      const { version, config } = deserialize(await readFile(this.#copy)) as Copy;
      return version === VERSION ? config : undefined;
    } catch {
      return undefined;
    }
  }

  async #save(config: Config): Promise<void> {
    try {
      await writeFile(`${this.#copy}.new`, serialize({ version: VERSION, config } satisfies Copy), {
        mode: 0o600,
      });
      await rename(`${this.#copy}.new`, this.#copy);
    } catch (error) {
      this.#tell(`the config in use cannot be kept for a restart: ${messageOf(error)}`);
    }
  }
}

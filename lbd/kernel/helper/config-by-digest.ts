import type { AcceptedConfig } from '../../../common/accepted-config.ts';
import type { ReadConfig } from '../../../common/config-process.ts';
import { OperatorError } from '../../../common/errors.ts';
import type { Config } from '../../../common/model.ts';

/** To read the file takes a process and up to a second; whoever asks again and again gets the answer of before. */
const REREAD_MS = 1_000;

export interface ConfigSources {
  /** Reads the config file. */
  file(): Promise<ReadConfig<Config>>;
  /** Reads the copy of the one that was accepted last; undefined where there is none. */
  copy(): Promise<ReadConfig<Config> | undefined>;
  readonly accepted: Pick<AcceptedConfig, 'keep'>;
}

/**
 * The config that lbd and its helper both have: lbd names it by its digest, the helper reads it by itself. The one that
 * was accepted last is kept, so that a helper that starts while the file says more than lbd has read goes on.
 */
export class ConfigByDigest {
  readonly #sources: ConfigSources;
  #config: Config | undefined;
  #hasCopy = true;
  #latest: Promise<unknown> = Promise.resolve();
  /** What the file said last, and until when it need not be read again. */
  #file: { readonly read: ReadConfig<Config>; readonly untilMs: number } | undefined;

  constructor(sources: ConfigSources) {
    this.#sources = sources;
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
    const copy = this.#hasCopy ? await this.#sources.copy() : undefined;
    // Later it is what was in force anyway.
    this.#hasCopy = false;
    if (copy?.value.digest === digest) {
      this.#config = copy.value;
      return copy.value;
    }
    const { value, text } = await this.#fromFile();
    if (value.digest !== digest)
      throw new OperatorError(
        'CONFIG_DIFFERS',
        'the config file says something else than lbd has read; "lbctl reload" makes both the same',
      );
    this.#config = value;
    void this.#sources.accepted.keep(text);
    return value;
  }

  async #fromFile(): Promise<ReadConfig<Config>> {
    if (this.#file !== undefined && performance.now() < this.#file.untilMs) return this.#file.read;
    const read = await this.#sources.file();
    this.#file = { read, untilMs: performance.now() + REREAD_MS };
    return read;
  }
}

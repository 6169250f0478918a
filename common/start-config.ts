import { type Accepted, AcceptedConfig } from './accepted-config.ts';
import type { ReadConfig } from './config-process.ts';
import { ConfigReader } from './config-reader.ts';
import type { Substitute } from './config-standing.ts';
import type { DaemonOptions } from './daemon.ts';
import { ConfigError, messageOf, problemLines } from './errors.ts';
import { newlyUnmet } from './host-needs.ts';
import type { Config } from './model.ts';
import { samePair } from './same-pair.ts';

/** What is looked at of a config to judge it. */
interface Judged {
  readonly config: Pick<Config, 'cluster' | 'ha'>;
}

/** What a daemon starts from. */
export interface StartConfig<T> {
  readonly read: ReadConfig<T>;
  /** undefined: it starts from its file. */
  readonly substitute?: Substitute | undefined;
}

/**
 * Chooses what a daemon starts from. A start is judged like a reload of the config that was accepted last: where the file
 * cannot be used, or needs what this host does not have and that one did without, that one serves. So a file that was
 * refused, or broken by accident, costs nothing when the power comes back.
 */
export class StartConfigs<T extends Judged> {
  readonly reader: ConfigReader<T>;
  readonly #script: URL;
  readonly #options: DaemonOptions;
  readonly #accepted: AcceptedConfig;
  /** Why the copy of the config that was accepted last cannot be used. */
  #unusable: string | undefined;

  /**
   * @param script see `ConfigReader`
   * @param daemon its name
   * @param onTrouble told where the config in force cannot be kept
   */
  constructor(script: URL, options: DaemonOptions, daemon: string, onTrouble: (text: string) => void) {
    this.#script = script;
    this.#options = options;
    this.reader = new ConfigReader(script, options.config, options.node);
    this.#accepted = new AcceptedConfig(options.stateDir, daemon, options.config, onTrouble);
  }

  /** @throws ConfigError, OperatorError where the file cannot be used, and nothing else either */
  async choose(): Promise<StartConfig<T>> {
    let read: ReadConfig<T>;
    try {
      read = await this.reader.read();
    } catch (error) {
      const substitute = await this.substitute(problemLines(error));
      if (substitute !== undefined) return substitute;
      throw this.#unusable === undefined ? error : together(error, this.#unusable);
    }
    if (read.unmet.length === 0) return { read };
    const former = await this.#former();
    // The peer would not hear a node of another pair: what is meant is served as well as can be.
    if (former === undefined || !samePair(former.read.value.config.cluster, read.value.config.cluster))
      return { read };
    const problems = newlyUnmet(former.read.value.config.ha, read.unmet);
    if (problems.length === 0) return { read };
    return { read: former.read, substitute: { problems, accepted: former.accepted } };
  }

  /**
   * The config that was accepted last.
   *
   * @param problems why the file is not used, one line each
   * @returns undefined: there is none, it cannot be used either, or nobody wants it
   */
  async substitute(problems: readonly string[]): Promise<StartConfig<T> | undefined> {
    const former = await this.#former();
    return former && { read: former.read, substitute: { problems, accepted: former.accepted } };
  }

  /** A config of this text is in force. Nothing waits for the disk. */
  keep(text: string): void {
    void this.#accepted.keep(text);
  }

  /** See `AcceptedConfig.kept`. */
  kept(ms: number): Promise<void> {
    return this.#accepted.kept(ms);
  }

  /** What an operator should know, one line each. */
  get warnings(): readonly string[] {
    return [...(this.#unusable === undefined ? [] : [this.#unusable]), ...this.#accepted.warnings];
  }

  async #former(): Promise<{ readonly read: ReadConfig<T>; readonly accepted: Accepted } | undefined> {
    const { path } = this.#accepted;
    const { config, node, strict } = this.#options;
    if (strict) return undefined;
    const reader = new ConfigReader<T>(this.#script, config, node, path);
    try {
      const { last } = this.#accepted;
      return last && { read: await reader.read(), accepted: last };
    } catch (error) {
      this.#unusable = `the config that was accepted last (${path}) cannot be used: ${messageOf(error)}`;
      return undefined;
    } finally {
      reader.close();
    }
  }
}

function together(error: unknown, more: string): ConfigError {
  const problems =
    error instanceof ConfigError ? error.problems : [{ where: 'config', key: '', message: messageOf(error) }];
  return new ConfigError([...problems, { where: 'config', key: '', message: more }]);
}

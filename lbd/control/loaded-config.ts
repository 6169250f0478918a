import type { ReadConfig } from '../../common/config-process.ts';
import type { Config } from '../../common/model.ts';
import type { Keys } from '../../common/secret.ts';

/** A config for lbd. */
export interface LoadedConfig {
  readonly config: Config;
  /** Of the session sync; undefined without a cluster. */
  readonly keys: Keys | undefined;
}

/** Where configs come from, and what becomes of them. */
export interface ConfigSource {
  /** Reads the file again. */
  load(): Promise<ReadConfig<LoadedConfig>>;
  /** A config of this text is in force. */
  keep(text: string): void;
  /** One line each. */
  warnings(): readonly string[];
}

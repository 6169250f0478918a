import type { Config } from '../../common/model.ts';
import type { Keys } from '../../common/secret.ts';

/** A config for lbd. */
export interface LoadedConfig {
  readonly config: Config;
  /** Of the session sync; undefined without a cluster. */
  readonly keys: Keys | undefined;
}

import type { Config } from '../../common/model.ts';
import type { Keys } from '../../common/secret.ts';

/** A config for lbd. */
export interface LoadedConfig {
  readonly config: Config;
  /** What cannot be used of the certificates and keys that it names, a line each. */
  readonly tlsProblems: readonly string[];
  /** Of the session sync; undefined without a cluster. */
  readonly keys: Keys | undefined;
}

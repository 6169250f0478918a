import { clusterKeys } from '../common/cluster-keys.ts';
import { answerConfig } from '../common/config-process.ts';
import type { Config } from '../common/model.ts';
import type { Keys } from '../common/secret.ts';
import { problemsOf } from './tls/tls-control.ts';

/** A config for lbd. */
export interface LoadedConfig {
  readonly config: Config;
  /** What cannot be used of the certificates and keys that it names, a line each. */
  readonly tlsProblems: readonly string[];
  /** Of the session sync; undefined without a cluster. */
  readonly keys: Keys | undefined;
}

await answerConfig((config): LoadedConfig => {
  const keys = config.cluster && clusterKeys(config.cluster, 'sync').sync;
  return { config, tlsProblems: problemsOf(config), keys };
});

import { loadConfig } from '../common/config.ts';
import { answerConfig } from '../common/config-process.ts';
import type { Config } from '../common/model.ts';
import { problemsOf } from './tls/tls-control.ts';

/** A config for lbd. */
export interface LoadedConfig {
  readonly config: Config;
  /** What cannot be used of the certificates and keys that it names, a line each. */
  readonly tlsProblems: readonly string[];
}

await answerConfig(async (file, node): Promise<LoadedConfig> => {
  const config = loadConfig(file, { node });
  return { config, tlsProblems: problemsOf(config) };
});

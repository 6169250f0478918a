import { clusterKeys } from '../common/cluster-keys.ts';
import { answerConfig } from '../common/config-process.ts';
import type { LoadedConfig } from './control/loaded-config.ts';

await answerConfig((config): LoadedConfig => {
  const keys = config.cluster && clusterKeys(config.cluster, 'sync').sync;
  return { config, keys };
});

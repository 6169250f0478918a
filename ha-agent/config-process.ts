import { clusterKeys } from '../common/cluster-keys.ts';
import { answerConfig } from '../common/config-process.ts';
import type { Keys } from '../common/secret.ts';
import { type AgentConfig, requireHa } from './agent-config.ts';

/** A config for the agent. */
export interface LoadedConfig {
  readonly config: AgentConfig;
  /** Of the heartbeats. */
  readonly keys: Keys;
  /** Of the questions to the witness that grants leases. */
  readonly leaseKeys: Keys;
}

await answerConfig((read): LoadedConfig => {
  const config = requireHa(read);
  const { heartbeat: keys, witness: leaseKeys } = clusterKeys(config.cluster, 'heartbeat', 'witness');
  return { config, keys, leaseKeys };
});

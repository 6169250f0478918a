import { clusterKeys } from '../common/cluster-keys.ts';
import { loadWithNeeds } from '../common/config.ts';
import { answerConfig } from '../common/config-process.ts';
import { hostFacts, unmetNeeds } from '../common/host-facts.ts';
import type { UnmetNeed } from '../common/host-needs.ts';
import type { Keys } from '../common/secret.ts';
import { type AgentConfig, requireHa } from './agent-config.ts';

/** A config for the agent. */
export interface LoadedConfig {
  readonly config: AgentConfig;
  /** What it needs and this host does not have. */
  readonly unmet: readonly UnmetNeed[];
  /** Of the heartbeats. */
  readonly keys: Keys;
  /** Of the questions to the witness that grants leases. */
  readonly leaseKeys: Keys;
}

await answerConfig(async (file, node): Promise<LoadedConfig> => {
  const { config, needs } = loadWithNeeds(file, { node });
  const complete = requireHa(config);
  const { heartbeat: keys, witness: leaseKeys } = clusterKeys(complete.cluster, 'heartbeat', 'witness');
  return { config: complete, unmet: await unmetNeeds(needs, await hostFacts()), keys, leaseKeys };
});

import { OperatorError } from '../common/errors.ts';
import type { ClusterConfig, Config, HaConfig, PoolConfig, WitnessConfig } from '../common/model.ts';
import { HEALTH_HOLD_MS, lateLimitMs } from './election-times.ts';
import type { ElectionConfig } from './election-types.ts';
import type { GuardianPlan } from './guardian.ts';
import type { NetworkConfig } from './host-network.ts';
import { witnessWaitMs } from './witness.ts';

/** A config with the parts that an agent cannot do without. */
export type AgentConfig = Config & { readonly cluster: ClusterConfig; readonly ha: HaConfig };

/** @throws OperatorError when the config is one of a single load balancer */
export function requireHa(config: Config): AgentConfig {
  const { cluster, ha } = config;
  if (cluster === undefined || ha === undefined)
    throw new OperatorError(
      'NO_CLUSTER',
      `${config.file} has no "cluster" and "ha", so there is nothing for ha-agent to do; lbd runs alone`,
    );
  return { ...config, cluster, ha };
}

/** What the election of a group needs to know from the config. */
export function electionConfig(
  { cluster: { self, peer }, ha, pools }: AgentConfig,
  group: string,
  secondChance: boolean,
): ElectionConfig {
  const { priority, preemptDelayMs } = ha.groups.find(({ name }) => name === group)!;
  return {
    self: { ...self, priority: priority[self.name]! },
    peer,
    intervalMs: ha.heartbeat.intervalMs,
    deadAfter: ha.heartbeat.deadAfter,
    preemptDelayMs,
    trackLbd: ha.track.lbd,
    announceCount: ha.garp.count,
    announceRefreshMs: ha.garp.refreshMs,
    secondChance,
    drainMs: pools.reduce((longest, pool) => Math.max(longest, pool.drainTimeoutMs), 0),
    witnessWaitMs: ha.witness && witnessWaitMs(ha.witness),
    healthHoldMs: HEALTH_HOLD_MS + pools.reduce((longest, pool) => Math.max(longest, checkMs(pool)), 0),
    neighbours: [peer.address, ...(ha.witness?.addresses ?? []).map(({ address }) => address)],
  };
}

/** How much later than the other one a node may see that a backend is gone: their checks are not in step. */
function checkMs({ health }: PoolConfig): number {
  return health.type === 'none' ? 0 : health.intervalMs + health.timeoutMs;
}

/** undefined: there is no witness. */
export function witnessPlan({ ha }: AgentConfig): WitnessConfig | undefined {
  return ha.witness;
}

/** What the guardian must know to clean up when the agent cannot. */
export function guardianPlan({ cluster, ha }: AgentConfig): GuardianPlan {
  const path = ha.paths.find(({ type }) => type === 'unicast');
  return {
    vips: ha.vips,
    groups: ha.groups.map(({ name }) => name),
    routes: ha.groups.flatMap((group) => group.routes),
    timeoutMs: lateLimitMs(ha.heartbeat),
    target: path && { address: cluster.peer.address, port: path.port },
  };
}

export function networkConfig({ ha, frontends }: AgentConfig): NetworkConfig {
  const kernelFlows = frontends.some(({ engine }) => engine !== undefined && engine.engine !== 'user');
  return { groups: ha.groups, watched: ha.track.interfaces, kernelFlows };
}

/** What a process cannot change while it lives. */
export function fixedPart({ cluster: { name, secretFile, self, peer } }: AgentConfig): readonly string[] {
  return [name, secretFile, self.name, self.address, peer.name, peer.address];
}

/** Whether the loss of an interface concerns a group: it carries its VIPs, or nobody's and is tracked for all. */
export function concerns({ ha }: AgentConfig, group: string, device: string): boolean {
  const users = ha.groups.filter(({ vips }) => vips.some((vip) => vip.interface === device));
  return users.length === 0 || users.some(({ name }) => name === group);
}

/** Never the address by which an interface is named to the kernel. */
export function vipAddresses({ ha }: AgentConfig): ReadonlySet<string> {
  return new Set(ha.vips.map(({ address }) => address));
}

import { OperatorError } from '../common/errors.ts';
import { newlyUnmet, type UnmetNeed } from '../common/host-needs.ts';
import type {
  ClusterConfig,
  Config,
  FrontendConfig,
  HaConfig,
  HealthConfig,
  PoolConfig,
  WitnessConfig,
} from '../common/model.ts';
import { samePair } from '../common/same-pair.ts';
import { HEALTH_HOLD_MS, lateLimitMs } from './election-times.ts';
import type { ElectionConfig } from './election-types.ts';
import type { GuardianPlan } from './guardian.ts';
import type { NetworkConfig } from './host-network.ts';
import type { LeasePlan } from './lease-client.ts';
import { witnessWaitMs } from './witness.ts';

/** Without an answer for so long, or for two dead times, the witness is away. */
const WITNESS_AWAY_MS = 1_000;

/** What an agent needs of a config: of frontends and pools, which may be thousands, next to nothing. */
export interface AgentConfig extends Pick<Config, 'file' | 'digest' | 'sectionDigests'> {
  readonly cluster: ClusterConfig;
  readonly ha: HaConfig;
  readonly frontends: readonly Pick<FrontendConfig, 'name' | 'bind' | 'engine'>[];
  readonly pools: readonly AgentPool[];
}

interface AgentPool extends Pick<PoolConfig, 'name' | 'drainTimeoutMs'> {
  readonly health: Pick<HealthConfig, 'type' | 'intervalMs' | 'timeoutMs'>;
}

/** @throws OperatorError when the config is one of a single load balancer */
export function requireHa(config: Config): AgentConfig {
  const { cluster, ha } = config;
  if (cluster === undefined || ha === undefined)
    throw new OperatorError(
      'NO_CLUSTER',
      `${config.file} has no "cluster" and "ha", so there is nothing for ha-agent to do; lbd runs alone`,
    );
  const { file, digest, sectionDigests } = config;
  return {
    ...{ file, digest, sectionDigests, cluster, ha },
    frontends: config.frontends.map(({ name, bind, engine }) => ({ name, bind, engine })),
    pools: config.pools.map(({ name, drainTimeoutMs, health: { type, intervalMs, timeoutMs } }) => ({
      ...{ name, drainTimeoutMs },
      health: { type, intervalMs, timeoutMs },
    })),
  };
}

/** What the election of a group needs to know from the config. */
export function electionConfig(
  { cluster: { self, peer }, ha, pools }: AgentConfig,
  group: string,
  secondChance: boolean,
): ElectionConfig {
  const { priority, preemptDelayMs } = ha.groups.find(({ name }) => name === group)!;
  const witness = witnessPlan({ ha });
  return {
    self: { ...self, priority: priority[self.name]! },
    peer,
    intervalMs: ha.heartbeat.intervalMs,
    deadAfter: ha.heartbeat.deadAfter,
    preemptDelayMs,
    trackLbd: ha.track.lbd,
    settleMs: ha.track.settleMs,
    announceCount: ha.garp.count,
    announceRefreshMs: ha.garp.refreshMs,
    secondChance,
    drainMs: pools.reduce((longest, pool) => Math.max(longest, pool.drainTimeoutMs), 0),
    witnessWaitMs: witness && witnessWaitMs(witness),
    leaseMs: ha.witness?.lease && lateLimitMs(ha.heartbeat),
    healthHoldMs: HEALTH_HOLD_MS + pools.reduce((longest, pool) => Math.max(longest, checkMs(pool)), 0),
    neighbours: [peer.address, ...(ha.witness?.addresses ?? []).map(({ address }) => address)],
  };
}

/** How much later than the other one a node may see that a backend is gone: their checks are not in step. */
function checkMs({ health }: AgentPool): number {
  return health.type === 'none' ? 0 : health.intervalMs + health.timeoutMs;
}

/** undefined: there is no witness whose answers count. */
export function witnessPlan({ ha }: { readonly ha: HaConfig }): WitnessConfig | undefined {
  return ha.witness?.addresses.length === 0 ? undefined : ha.witness;
}

/** undefined: there is no witness that grants leases. */
export function leasePlan({ ha }: AgentConfig): LeasePlan | undefined {
  const { intervalMs, deadAfter } = ha.heartbeat;
  return (
    ha.witness?.lease && {
      witness: ha.witness.lease,
      intervalMs,
      leaseMs: lateLimitMs(ha.heartbeat),
      awayMs: Math.max(WITNESS_AWAY_MS, 2 * deadAfter * intervalMs),
    }
  );
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

/**
 * Why a config cannot take the place of another one, one line each; empty: nothing is in the way. What the running config
 * needs and the host has lost since must not be in the way of every reload.
 */
export function reasonsAgainst(
  running: AgentConfig,
  next: AgentConfig,
  unmet: readonly UnmetNeed[],
): readonly string[] {
  if (!samePair(running.cluster, next.cluster))
    return ['cluster name, node names and addresses need a restart of the agent'];
  return newlyUnmet(running.ha, unmet);
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

/** For parts of configs: plain data of a few kilobytes. */
export function differ(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) !== JSON.stringify(b);
}

import { messageOf } from '../common/errors.ts';
import { type AgentConfig, differ, guardianPlan, networkConfig } from './agent-config.ts';
import type { Guardian, GuardianPlan } from './guardian.ts';
import type { HostNetwork, NetworkConfig } from './host-network.ts';

/**
 * The first half of a reload: all of it that may fail, so that nothing has changed where it does. Groups that will leave
 * are still there, and the guardian knows old and new VIPs.
 *
 * @throws OperatorError when the host cannot do what is new
 */
export async function prepareNetwork(
  network: HostNetwork,
  guardian: Guardian,
  before: AgentConfig,
  config: AgentConfig,
): Promise<void> {
  const former = guardianPlan(before);
  const both = bothPlans(former, guardianPlan(config));
  const wanted = withLeaving(networkConfig(config), before);
  if (differ(both, former)) guardian.replace(both);
  try {
    if (differ(wanted, networkConfig(before))) await network.configure(wanted);
  } catch (error) {
    if (differ(both, former)) guardian.replace(former);
    throw error;
  }
}

/** The second half, once the groups that leave have handed over. @returns what could not be done, one line each */
export async function leaveNetwork(
  network: HostNetwork,
  guardian: Guardian,
  before: AgentConfig,
  config: AgentConfig,
): Promise<string[]> {
  const [former, next] = [guardianPlan(before), guardianPlan(config)];
  try {
    if (differ(withLeaving(networkConfig(config), before), networkConfig(config)))
      await network.configure(networkConfig(config));
    return [];
  } catch (error) {
    return [`what is no longer configured may still be on this host: ${messageOf(error)}`];
  } finally {
    if (differ(bothPlans(former, next), next)) guardian.replace(next);
  }
}

function bothPlans(former: GuardianPlan, next: GuardianPlan): GuardianPlan {
  return {
    ...next,
    vips: both(former.vips, next.vips),
    groups: both(former.groups, next.groups),
    routes: both(former.routes, next.routes),
  };
}

function both<T>(former: readonly T[], next: readonly T[]): T[] {
  const known = new Set(next.map((item) => JSON.stringify(item)));
  return [...next, ...former.filter((item) => !known.has(JSON.stringify(item)))];
}

/** With the groups that the next config does not have any more. */
function withLeaving(next: NetworkConfig, { ha }: AgentConfig): NetworkConfig {
  const leaving = ha.groups.filter(({ name }) => !next.groups.some((group) => group.name === name));
  return { ...next, groups: [...next.groups, ...leaving] };
}

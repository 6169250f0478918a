import type { AgentStatus } from '../common/control.ts';
import { VERSION } from '../common/version.ts';
import type { AgentConfig } from './agent.ts';
import { isPeerAlive } from './election.ts';
import type { ElectionConfig, ElectionState } from './election-types.ts';

export interface StatusInput {
  readonly config: AgentConfig;
  readonly electionConfig: ElectionConfig;
  readonly state: ElectionState;
  readonly now: number;
  /** `address/prefix` of the VIPs that were on this node at the last look. */
  readonly heldVips: ReadonlySet<string>;
  readonly paths: AgentStatus['paths'];
  /** As it travels in heartbeats, shortened; undefined before the peer was heard. */
  readonly peerDigest: string | undefined;
  readonly guardianAlive: boolean;
  readonly warnings: readonly string[];
}

/** `GET /v1/status`: what an operator sees, from what the agent knows. */
export function agentStatus(input: StatusInput): AgentStatus {
  const { config, electionConfig, state, now, heldVips, peerDigest } = input;
  const { self, peer } = config.cluster;
  const { report, heardMs } = state.peer ?? {};
  const { finishing } = state;
  const sameConfig = peerDigest === undefined ? undefined : config.digest.startsWith(peerDigest);
  const deaf = state.hello !== undefined && now - state.hello.heardMs < 1000;
  const warnings = [...input.warnings];
  if (sameConfig === false) warnings.push(`${peer.name} runs another config`);
  if (deaf) warnings.push(`${peer.name} is there, but does not hear this node`);
  warnings.push(...bindWarnings(config));
  if (!input.guardianAlive) warnings.push('the guardian does not run');
  return {
    node: self.name,
    version: VERSION,
    pid: process.pid,
    role: state.role,
    epoch: state.epoch,
    priority: self.priority,
    why: state.why,
    since_ms: Math.round(now - state.sinceMs),
    vips: config.ha.vips.map((vip) => ({
      address: `${vip.address}/${vip.prefix}`,
      interface: vip.interface,
      held: heldVips.has(`${vip.address}/${vip.prefix}`),
    })),
    peer: {
      node: peer.name,
      role: report?.role ?? 'unknown',
      epoch: report?.epoch ?? 0,
      seen_ms_ago: heardMs === undefined ? undefined : Math.round(now - heardMs),
      alive: isPeerAlive(electionConfig, state, now),
      same_config: sameConfig,
    },
    paths: input.paths,
    lbd: { alive: state.lbd.alive, healthy: state.lbd.healthy, why: state.lbd.why },
    guardian: { alive: input.guardianAlive },
    second_chance: {
      available: electionConfig.secondChance && report?.forwards === true,
      finishing: finishing && {
        connections: state.lbd.connections,
        left_ms: Number.isFinite(finishing.untilMs) ? Math.round(finishing.untilMs - now) : undefined,
      },
      forwarding: state.forwarding,
    },
    warnings,
  };
}

/** The kernel cannot tell a stranger's segment from any other where the listener is bound to one address. */
function bindWarnings({ frontends, ha }: AgentConfig): string[] {
  return frontends.flatMap(({ name, bind }) =>
    bind
      .filter(({ host }) => ha.vips.some(({ address }) => address === host))
      .map(
        ({ host, port }) =>
          `a switchover breaks open connections of frontend ${name}: it is bound to ${host}:${port}, not to "*:${port}"`,
      ),
  );
}

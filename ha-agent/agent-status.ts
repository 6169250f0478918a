import type { AgentStatus, GroupStatus, Role } from '../common/control.ts';
import { differingSections } from '../common/digest.ts';
import { ownRuntime } from '../common/runtime.ts';
import { VERSION } from '../common/version.ts';
import type { AgentConfig } from './agent-config.ts';
import { isPeerAlive } from './election.ts';
import { proxyText } from './election-evidence.ts';
import type { ElectionConfig, ElectionState } from './election-types.ts';
import type { PeerConfig } from './exchange.ts';

/** A group as the status sees it. */
export interface GroupView {
  readonly name: string;
  readonly config: ElectionConfig;
  readonly state: ElectionState;
  /** `held`: `address/prefix` of the VIPs that were on this node at the last look. `copies`: see `GroupNetwork`. */
  readonly network: { readonly held: ReadonlySet<string>; readonly copies: readonly string[] };
}

export interface StatusInput {
  readonly config: AgentConfig;
  /** In the order of the config. */
  readonly groups: readonly GroupView[];
  readonly now: number;
  readonly paths: AgentStatus['paths'];
  /** undefined before the peer was heard. */
  readonly peerConfig: PeerConfig | undefined;
  readonly guardianAlive: boolean;
  readonly witness: AgentStatus['witness'];
  readonly lease: AgentStatus['lease'];
  readonly warnings: readonly string[];
  readonly notes: readonly string[];
}

/** The role that sums up those of several groups is the first of these that any of them has. */
const SUMMARY: readonly GroupStatus['peer']['role'][] = ['active', 'standby', 'init', 'fault', 'unknown'];

/** `GET /v1/status`: what an operator sees, from what the agent knows. */
export function agentStatus(input: StatusInput): AgentStatus {
  const { config, now, peerConfig } = input;
  const { self, peer } = config.cluster;
  const groups = input.groups.map((group) => groupStatus(config, group, now));
  const role = SUMMARY.find((it) => groups.some((group) => group.role === it)) ?? 'init';
  const first = groups.find((group) => group.role === role);
  const peerRole = SUMMARY.find((it) => groups.some((group) => group.peer.role === it)) ?? 'unknown';
  const busy = groups.find(({ second_chance: { finishing, forwarding } }) => finishing || forwarding);
  const seen = groups.flatMap((group) => group.peer.seen_ms_ago ?? []);
  const sameConfig = peerConfig === undefined ? undefined : config.digest.startsWith(peerConfig.digest);
  return {
    node: self.name,
    version: VERSION,
    runtime: ownRuntime(),
    pid: process.pid,
    role: role as Role,
    epoch: Math.max(0, ...groups.map(({ epoch }) => epoch)),
    priority: first?.priority ?? 0,
    why: first?.why ?? 'starting',
    since_ms: first?.since_ms ?? 0,
    vips: groups.flatMap(({ name, vips }) => vips.map((vip) => ({ ...vip, group: name }))),
    groups,
    peer: {
      node: peer.name,
      role: peerRole,
      epoch: Math.max(0, ...groups.map((group) => group.peer.epoch)),
      seen_ms_ago: seen.length === 0 ? undefined : Math.min(...seen),
      alive: groups.some((group) => group.peer.alive),
      same_config: sameConfig,
      differs_in:
        sameConfig === false ? differingSections(config.sectionDigests, peerConfig!.sectionDigests) : [],
    },
    paths: input.paths,
    lbd: lbdOf(input.groups),
    guardian: { alive: input.guardianAlive },
    witness: input.witness,
    lease: input.lease,
    second_chance: (busy ?? first)?.second_chance ?? {
      available: false,
      finishing: undefined,
      forwarding: false,
    },
    warnings: warningsOf(input),
    notes: input.notes,
  };
}

function groupStatus(
  { ha }: AgentConfig,
  { name, config, state, network }: GroupView,
  now: number,
): GroupStatus {
  const { report, heardMs } = state.peer ?? {};
  const { finishing } = state;
  return {
    name,
    role: state.role,
    epoch: state.epoch,
    priority: config.self.priority,
    why: state.why,
    since_ms: Math.round(now - state.sinceMs),
    vips: (ha.groups.find((group) => group.name === name)?.vips ?? []).map((vip) => ({
      address: `${vip.address}/${vip.prefix}`,
      interface: vip.interface,
      // Where they could not be removed, their lease has ended by the time the election takes them for gone.
      held: state.vip !== 'none' && network.held.has(`${vip.address}/${vip.prefix}`),
      copies: network.copies.filter((copy) => copy.startsWith(`${vip.address}/`)),
    })),
    peer: {
      role: report?.role ?? 'unknown',
      epoch: report?.epoch ?? 0,
      seen_ms_ago: heardMs === undefined ? undefined : Math.round(now - heardMs),
      alive: isPeerAlive(config, state, now),
    },
    second_chance: {
      available: config.secondChance && report?.forwards === true,
      finishing: finishing && {
        connections: state.lbd.connections,
        left_ms: Number.isFinite(finishing.untilMs) ? Math.round(finishing.untilMs - now) : undefined,
      },
      forwarding: state.forwarding,
    },
    lease: config.leaseMs === undefined ? undefined : leaseOf(state, now),
  };
}

function leaseOf({ lease: { view, isFree } }: ElectionState, now: number): GroupStatus['lease'] {
  const held = view.heldUntilMs > now;
  const taken = view.takenUntilMs > now;
  return {
    holder: held ? 'this node' : taken ? 'the other node' : 'nobody',
    left_ms: held || taken ? Math.round((held ? view.heldUntilMs : view.takenUntilMs) - now) : undefined,
    bound: !isFree,
  };
}

/** All groups were told the same of it. */
function lbdOf([group]: readonly GroupView[]): AgentStatus['lbd'] {
  if (group === undefined) return { alive: false, healthy: false, why: 'not known yet' };
  const { alive, healthy, why } = group.state.lbd;
  return { alive, healthy, why };
}

function warningsOf(input: StatusInput): string[] {
  const { config, groups, now, warnings, guardianAlive } = input;
  const { peer } = config.cluster;
  const deaf = groups.some(({ state: { hello } }) => hello !== undefined && now - hello.heardMs < 1000);
  return [
    ...warnings,
    ...(deaf ? [`${peer.name} is there, but does not hear this node`] : []),
    ...proxyWarnings(groups),
    ...leaseWarnings(input),
    ...bindWarnings(config),
    ...(guardianAlive ? [] : ['the guardian does not run']),
  ];
}

function proxyWarnings(groups: readonly GroupView[]): string[] {
  const proxies = new Set(groups.flatMap(({ state }) => state.answers.proxies));
  return [...proxies].map(proxyText);
}

function leaseWarnings({ config, lease, groups }: StatusInput): string[] {
  if (lease === undefined || lease.state === 'grants') return [];
  const isBound = groups.some((group) => !group.state.lease.isFree);
  const so = isBound
    ? `a node that does not hear ${config.cluster.peer.name} and is not granted the lease does not serve`
    : 'the nodes go on as without it';
  return [`the witness ${lease.address} does not grant leases to this node (${lease.why}): ${so}`];
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

import type { BackendStatus, LbdStatus } from '../../common/control.ts';
import type { NodeView } from './status.ts';

/** Backends that take no client though nobody has asked for that. */
const DOWN: ReadonlySet<BackendStatus['state']> = new Set(['down', 'ejected']);

export function isDown({ state }: Pick<BackendStatus, 'state'>): boolean {
  return DOWN.has(state);
}

/** What is down on this node, a line each, for monitoring: what an operator would get up for. */
export function troublesOf({ lbd, agent }: NodeView): string[] {
  const alone = lbd.status?.sync.state === 'off';
  return [
    ...(lbd.error === null ? [] : [lbd.error]),
    ...(agent.error === null || alone ? [] : [agent.error]),
    ...agentTroubles(agent.status),
    ...lbdTroubles(lbd.status),
  ];
}

function agentTroubles(agent: NodeView['agent']['status']): string[] {
  if (agent === null) return [];
  const { peer, groups, paths, guardian, witness, lease } = agent;
  return [
    ...groups
      .filter(({ role }) => role === 'fault')
      .map(({ name, why }) => `group ${name} is in fault: ${why}`),
    ...groups.flatMap(({ role, vips }) =>
      role === 'active' ? vips.filter((vip) => !vip.held).map((vip) => `${vip.address} is not held`) : [],
    ),
    ...(peer.alive ? [] : [`${peer.node} is silent`]),
    ...paths.filter(({ state }) => state !== 'up').map(({ name, state }) => `path ${name} is ${state}`),
    ...(guardian.alive ? [] : ['the guardian is not running']),
    ...(witness?.state === 'silent' ? [`the witness is silent: ${witness.why}`] : []),
    ...(lease?.state === 'away' ? [`the witness is away: ${lease.why}`] : []),
  ];
}

function lbdTroubles(lbd: NodeView['lbd']['status']): string[] {
  if (lbd === null) return [];
  const { workers, config, left_out = [], pools } = lbd;
  return [
    ...(workers.running < workers.wanted ? [`${workers.running} of ${workers.wanted} workers run`] : []),
    ...(config.reload_error === undefined ? [] : [`the config file is refused: ${config.reload_error}`]),
    ...left_out.map((name) => `${name} serves nobody: its TLS files cannot be used`),
    ...Object.entries(pools).flatMap(([name, pool]) => poolTroubles(name, pool)),
  ];
}

function poolTroubles(pool: string, status: LbdStatus['pools'][string]): string[] {
  const backends = Object.entries(status.backends);
  return [
    ...(takesClients(status) ? [] : [`pool ${pool} has no backend that takes clients${countsOf(status)}`]),
    ...backends
      .filter(([, backend]) => isDown(backend))
      .map(([name, { state, why }]) => `${pool}/${name} is ${state}: ${why}`),
  ];
}

/** Or will be known to, once a first check is done. */
function takesClients({ backends, strain }: LbdStatus['pools'][string]): boolean {
  return Object.values(backends).some(
    ({ state, weight }) =>
      state === 'starting' ||
      (weight > 0 && (state === 'ready' || (strain?.panic === true && DOWN.has(state)))),
  );
}

/** How many backends of a pool that takes no clients are what, such as `: 2 drained, 1 of weight 0`. */
function countsOf({ backends }: LbdStatus['pools'][string]): string {
  const counts = new Map<string, number>();
  for (const { state } of Object.values(backends)) {
    const what = state === 'ready' ? 'of weight 0' : state;
    counts.set(what, (counts.get(what) ?? 0) + 1);
  }
  const texts = [...counts].map(([what, number]) => `${number} ${what}`);
  return texts.length === 0 ? '' : `: ${texts.join(', ')}`;
}

import { parseConfig } from '../../common/config.ts';
import type { AgentConfig } from '../../ha-agent/agent-config.ts';

export const VIPS = ['192.168.56.100', '192.168.56.101'] as const;
export const WITNESS_ADDRESS = '192.168.56.1';

/** What a file may say otherwise. */
export interface ConfigChoice {
  readonly intervalMs?: number;
  readonly deadAfter?: number;
  readonly preemptMs?: number | undefined;
  readonly groups?: 1 | 2;
  /** A second interface with a multicast group of its own. */
  readonly thirdPath?: boolean;
  readonly witness?: boolean;
  /** Of lb1 and lb2. */
  readonly priorities?: readonly [number, number];
  /** Anything else that both files may say, below `ha`. */
  readonly ha?: string;
  /** What makes a file another one without meaning anything to the agent. */
  readonly drainMs?: number;
  /** A VIP more in the only group. */
  readonly extraVip?: boolean;
}

const known = new Map<string, AgentConfig>();

/** The config of a node, parsed as the agent would. */
export function configOf(node: string, choice: ConfigChoice): AgentConfig {
  const key = `${node} ${JSON.stringify(choice)}`;
  let config = known.get(key);
  if (config === undefined) {
    config = parseConfig(textOf(choice), '/etc/tandem/tandem.yaml', { node, cpus: 1 }) as AgentConfig;
    known.set(key, config);
  }
  return config;
}

function textOf(choice: ConfigChoice): string {
  const { intervalMs = 100, deadAfter = 3, preemptMs, groups = 1, priorities = [150, 100] } = choice;
  const [high, low] = priorities;
  const priority = `{ lb1: ${high}, lb2: ${low} }`;
  const other = `{ lb1: ${low}, lb2: ${high} }`;
  const vip = (i: 0 | 1) => `{ address: ${VIPS[i]}/24, interface: eth0 }`;
  const paths = [
    '{ type: multicast, group: 239.255.84.1, port: 7470, interface: eth0 }',
    '{ type: unicast, port: 7471 }',
    ...(choice.thirdPath ? ['{ type: multicast, group: 239.255.84.2, port: 7472, interface: eth1 }'] : []),
  ];
  return `
cluster:
  name: sim
  secret_file: secret
  nodes:
    lb1: { address: 192.168.56.11 }
    lb2: { address: 192.168.56.12 }
ha:
  heartbeat: { interval: ${intervalMs}ms, dead_after: ${deadAfter} }
  paths: [${paths.join(', ')}]
  preempt: ${preemptMs === undefined ? false : `{ delay: ${preemptMs}ms }`}
  garp: { count: 2, refresh: 60s }
${choice.witness ? `  witness: { addresses: [${WITNESS_ADDRESS}], interval: 1s, timeout: 200ms }\n` : ''}${choice.ha ?? ''}
${
  groups === 1
    ? `  vips: [${vip(0)}${choice.extraVip ? `, ${vip(1)}` : ''}]\n  priority: ${priority}\n`
    : `  groups:
    one: { vips: [${vip(0)}], priority: ${priority} }
    two: { vips: [${vip(1)}], priority: ${other} }
`
}frontends:
  web: { bind: ["*:80"], mode: http, pool: web }
pools:
  web:
    drain_timeout: ${choice.drainMs ?? 1_000}ms
    health: { type: http, path: /health, interval: 400ms, timeout: 200ms, fall: 1 }
    backends: { s1: { address: 10.0.0.21:9000 } }
`;
}

import './stand-in/replace.ts';
import type { Logger } from '../../common/logger.ts';
import type { Agent } from '../../ha-agent/agent.ts';
import type { AgentConfig } from '../../ha-agent/agent-config.ts';

const { Agent: RealAgent } = await import('../../ha-agent/agent.ts');
const { networkConfig } = await import('../../ha-agent/agent-config.ts');
const { createIdentity } = await import('../../ha-agent/heartbeat.ts');
const { leaseIdentities } = await import('../../ha-agent/lease-keys.ts');
const { LinuxNetwork } = await import('../../ha-agent/linux-network.ts');
const { EventLog } = await import('../../common/events.ts');

export interface NewAgent {
  readonly config: AgentConfig;
  /** Which of several secrets it has. */
  readonly secret: number;
  log(line: string): void;
}

/** The agent as `main.ts` wires it, without the process around it. */
export function newAgent({ config, secret, log }: NewAgent): Agent {
  const { name, self, peer } = config.cluster;
  const write = (_fields: unknown, text: string) => log(text);
  return new RealAgent({
    config,
    identity: createIdentity(Buffer.alloc(32, secret), name, self.name, peer.name),
    leaseIdentities: leaseIdentities(name, [Buffer.alloc(32, secret)]),
    runDir: '/run/tandem',
    log: { info: write, warn: write, error: write } as unknown as Logger,
    events: new EventLog('agent'),
    createNetwork: (initial, handlers) =>
      new LinuxNetwork(networkConfig(initial), initial.cluster.peer.address, handlers),
  });
}

import { INTERFACE, type NodeName, PREFIX, VIP } from './hosts.ts';
import type { Pair } from './pair.ts';

/** What can happen to the active node, as it happens in life. */
export interface Fault {
  readonly title: string;
  inflict(pair: Pair, node: NodeName): Promise<void>;
  /** What a technician or the service manager does afterwards. */
  recover(pair: Pair, node: NodeName): Promise<void>;
}

export const FAULTS = {
  cut: {
    title: 'the cable of the active node is cut',
    inflict: (pair, node) => pair.lab.cut(node),
    recover: (pair, node) => pair.lab.heal(node),
  },
  power: {
    title: 'the active node loses its power',
    inflict: async (pair, node) => {
      await pair.lab.cut(node);
      pair.lab.killAll(node);
      pair.ownership.powerOff(node);
    },
    recover: async (pair, node) => {
      // A machine that boots has none of the addresses and rules that were set at run time.
      await pair.lab.run(node, ['ip', 'addr', 'del', `${VIP}/${PREFIX}`, 'dev', INTERFACE]);
      await pair.lab.run(node, ['nft', 'flush', 'ruleset']);
      await pair.lab.heal(node);
      pair.startNode(node);
    },
  },
  'agent-kill': {
    title: "the active node's ha-agent is killed (SIGKILL)",
    inflict: (pair, node) => pair.daemons[node]['ha-agent'].signal('SIGKILL'),
    recover: async (pair, node) => pair.startNode(node),
  },
  'agent-stop': {
    title: "the active node's ha-agent hangs (SIGSTOP)",
    inflict: (pair, node) => pair.daemons[node]['ha-agent'].signal('SIGSTOP'),
    recover: (pair, node) => pair.daemons[node]['ha-agent'].signal('SIGCONT'),
  },
  'lb-kill': {
    title: "the active node's lbd is killed (SIGKILL)",
    inflict: (pair, node) => pair.daemons[node].lbd.signal('SIGKILL'),
    recover: async (pair, node) => pair.startNode(node),
  },
  switchover: {
    title: 'an operator runs lbctl switchover',
    inflict: async (pair, node) => {
      const { code, stderr } = await pair.lbctl(node, 'switchover');
      if (code !== 0) throw new Error(`lbctl switchover: exit ${code}: ${stderr.trim()}`);
    },
    recover: async () => {},
  },
} satisfies Record<string, Fault>;

export type FaultName = keyof typeof FAULTS;
export const FAULT_NAMES = Object.keys(FAULTS) as FaultName[];

export function isFault(name: string): name is FaultName {
  return Object.hasOwn(FAULTS, name);
}

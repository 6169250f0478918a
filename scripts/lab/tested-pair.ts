import type { ControlEvent } from '../../common/control.ts';
import type { NodeName } from './hosts.ts';
import type { Lab } from './lab.ts';
import type { OwnershipWatch } from './ownership.ts';
import { signalPid } from './signals.ts';

export interface TimelineEvent extends ControlEvent {
  readonly node: NodeName;
}

/** What runs on a node: what elects, what watches over that, what balances. */
export type Part = 'agent' | 'guardian' | 'balancer';

/** A pair in the lab, of whatever make: what faults need to be inflicted on it, and what is looked at then. */
export interface TestedPair {
  readonly lab: Lab;
  readonly ownership: OwnershipWatch;
  /** nftables conditions for one of the ways that heartbeats take; the others are left alone. */
  readonly onePath: string;
  /** The node that holds the VIP. @throws Error when not exactly one does */
  active(): NodeName;
  /** Processes of a part; empty where it does not run, or does not exist in this make. */
  pids(node: NodeName, part: Part): number[];
  /** Starts what does not run on a node, as a service manager does. */
  startNode(node: NodeName): Promise<void>;
  /** Makes the other node active, as an operator does. */
  switchover(node: NodeName): Promise<void>;
  /** Waits until both nodes are well and one is active. @throws Error when that takes too long */
  whole(): Promise<void>;
  /** Which node the client's ARP entry of the VIP points to; undefined: none of them, or no entry. */
  neighbour(): Promise<NodeName | undefined>;
  /** What happened on both nodes in the order of time; empty where the make does not tell. */
  events(): Promise<TimelineEvent[]>;
}

/** Sends a signal to all processes of a part. @throws Error when there is none */
export function signal(pair: TestedPair, node: NodeName, part: Part, name: NodeJS.Signals): void {
  const pids = pair.pids(node, part);
  if (pids.length === 0) throw new Error(`there is no ${part} on ${node}`);
  for (const pid of pids) signalPid(pid, name);
}

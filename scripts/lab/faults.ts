import { monotonicMs } from '../../common/events.ts';
import { INTERFACE, NODES, type NodeName, PREFIX, VIP } from './hosts.ts';
import { breakIp, delay, dropDatagrams, duplicate, split, starve } from './impair.ts';
import { mislead } from './neighbour.ts';
import { signalAll, signalPid } from './signals.ts';
import { type Part, signal, type TestedPair } from './tested-pair.ts';
import { until } from './wait.ts';

/**
 * Ends a fault: what a technician or the service manager does, or what ends by itself.
 *
 * @returns when it began to end, monotonic milliseconds
 */
export type Mend = () => Promise<number>;

/** What can happen to the active node, as it happens in life. */
export interface Fault {
  readonly title: string;
  /** Whether the VIP must go to the other node, or stay where it is. */
  readonly vip: 'moves' | 'stays';
  /**
   * For a while both nodes may hold the VIP, and nothing can be done about it: nothing of the node runs that could
   * remove it, or the nodes do not hear each other.
   */
  readonly twoOwners?: true;
  /** No client may notice: no failed start, no broken connection. */
  readonly unnoticed?: true;
  /** Parts that a pair must have. */
  readonly needs?: Part;
  /** The pair goes by it for half a minute after its end. */
  readonly lingers?: true;
  /** It ends by itself after so long, while it is watched; without, it lasts until somebody mends it. */
  readonly lastsMs?: number;
  inflict(pair: TestedPair, node: NodeName): Promise<Mend>;
}

/** 30 % of the datagrams of one path. */
const LOSS = 0.3;
/** So slow that every heartbeat waits for others: it comes late by some of their intervals. */
const SLOW_BIT_RATE = 2000;

const other = (node: NodeName): NodeName => NODES.find((name) => name !== node)!;

function mending(work: () => unknown): Mend {
  return async () => {
    const atMs = monotonicMs();
    await work();
    return atMs;
  };
}

/** A daemon ends, and is started again later. */
async function end(pair: TestedPair, node: NodeName, part: Part, name: 'SIGKILL' | 'SIGTERM'): Promise<Mend> {
  const pids = pair.pids(node, part);
  signal(pair, node, part, name);
  return mending(async () => {
    await until(`the ${part} of ${node} has ended`, () => pids.every((pid) => !signalPid(pid, 0)), 60_000);
    await pair.startNode(node);
  });
}

/** Processes, and those that they start meanwhile, are stopped, and continued later. */
function stop(list: () => readonly number[]): Mend {
  const stopped = signalAll(list, 'SIGSTOP');
  return mending(() => {
    for (const pid of stopped) signalPid(pid, 'SIGCONT');
  });
}

const faults = {
  cut: {
    title: 'the cable of the active node is cut',
    vip: 'moves',
    inflict: async ({ lab }, node) => {
      await lab.cut(node);
      return mending(() => lab.heal(node));
    },
  },
  power: {
    title: 'the active node loses its power',
    vip: 'moves',
    inflict: async (pair, node) => {
      const { lab, ownership } = pair;
      await lab.cut(node);
      lab.killAll(node);
      ownership.powerOff(node);
      return mending(async () => {
        // A machine that boots has none of the addresses and rules that were set at run time.
        await lab.run(node, ['ip', 'addr', 'del', `${VIP}/${PREFIX}`, 'dev', INTERFACE]);
        await lab.run(node, ['nft', 'flush', 'ruleset']);
        await lab.heal(node);
        await pair.startNode(node);
      });
    },
  },
  'agent-kill': {
    title: "the active node's HA agent is killed (SIGKILL)",
    vip: 'moves',
    inflict: (pair, node) => end(pair, node, 'agent', 'SIGKILL'),
  },
  'agent-stop': {
    title: "the active node's HA agent hangs (SIGSTOP) and goes on later",
    vip: 'moves',
    lastsMs: 2000,
    inflict: async (pair, node) => stop(() => pair.pids(node, 'agent')),
  },
  'guardian-kill': {
    title: "the active node's guardian is killed (SIGKILL)",
    vip: 'stays',
    unnoticed: true,
    needs: 'guardian',
    lastsMs: 500,
    inflict: async (pair, node) => {
      const before = pair.pids(node, 'guardian');
      signal(pair, node, 'guardian', 'SIGKILL');
      return mending(() =>
        until(`${node} has another guardian`, () => {
          const now = pair.pids(node, 'guardian');
          return now.length > 0 && now.every((pid) => !before.includes(pid));
        }),
      );
    },
  },
  'both-kill': {
    title: "the active node's HA agent and guardian are killed together (SIGKILL)",
    vip: 'moves',
    twoOwners: true,
    needs: 'guardian',
    inflict: (pair, node) => {
      signal(pair, node, 'guardian', 'SIGKILL');
      return end(pair, node, 'agent', 'SIGKILL');
    },
  },
  'lb-kill': {
    title: "the active node's balancer is killed (SIGKILL)",
    vip: 'moves',
    inflict: (pair, node) => end(pair, node, 'balancer', 'SIGKILL'),
  },
  'lb-stop': {
    title: "the active node's balancer hangs (SIGSTOP) and goes on later",
    vip: 'moves',
    lastsMs: 2500,
    inflict: async (pair, node) => stop(() => pair.pids(node, 'balancer')),
  },
  'node-stop': {
    title: 'the whole active node is paused (SIGSTOP to all its processes) and goes on 10 s later',
    vip: 'moves',
    twoOwners: true,
    lastsMs: 10_000,
    inflict: async ({ lab }, node) => stop(() => lab.processes(node)),
  },
  starve: {
    title: 'a real-time busy loop takes the processor from the active node for 3 s',
    vip: 'moves',
    twoOwners: true,
    lingers: true,
    lastsMs: 3000,
    inflict: async ({ lab }, node) => mending(await starve(lab, node)),
  },
  'ip-fails': {
    title: "the active node's program ip dies and does not work any more",
    vip: 'moves',
    needs: 'guardian',
    inflict: async ({ lab }, node) => mending(await breakIp(lab, node)),
  },
  split: {
    title: 'the nodes do not reach each other for 1 s, while clients reach both',
    vip: 'moves',
    twoOwners: true,
    lastsMs: 1000,
    inflict: async ({ lab }, node) => {
      const heal = await split(lab, node, other(node));
      return async () => {
        // Both have announced the VIP; only a new announcement of the one that stays puts this right.
        await mislead(lab, node);
        return mending(heal)();
      };
    },
  },
  mute: {
    title: 'the standby does not hear the active node, which hears the standby',
    vip: 'moves',
    inflict: async ({ lab }, node) => mending(await lab.partition(node, other(node))),
  },
  deaf: {
    title: 'the active node does not hear the standby, which hears the active node',
    vip: 'stays',
    unnoticed: true,
    lastsMs: 1500,
    inflict: async ({ lab }, node) => mending(await lab.partition(other(node), node)),
  },
  filtered: {
    title: 'a filter between the nodes drops the datagrams of all paths, and nothing else',
    vip: 'stays',
    unnoticed: true,
    needs: 'guardian',
    lastsMs: 4000,
    inflict: async ({ lab }) => mending(await dropDatagrams(lab)),
  },
  loss: {
    title: `one path of the heartbeats loses ${100 * LOSS} % of them`,
    vip: 'stays',
    unnoticed: true,
    lastsMs: 3000,
    inflict: async ({ lab, onePath }) => {
      const ends = await Promise.all(NODES.map((node) => lab.loss(node, LOSS, onePath)));
      return mending(() => Promise.all(ends.map((stopLoss) => stopLoss())));
    },
  },
  double: {
    title: 'one path of the heartbeats doubles each of them',
    vip: 'stays',
    unnoticed: true,
    lastsMs: 1500,
    inflict: async ({ lab, onePath }) => {
      const ends = await Promise.all(NODES.map((node) => duplicate(lab, node, other(node), onePath)));
      return mending(() => Promise.all(ends.map((stopDoubling) => stopDoubling())));
    },
  },
  late: {
    title: 'one path of the heartbeats delays them, so that they come late and out of order',
    vip: 'stays',
    unnoticed: true,
    lastsMs: 1500,
    inflict: async ({ lab, onePath }) => {
      const ends = await Promise.all(NODES.map((node) => delay(lab, node, onePath, SLOW_BIT_RATE)));
      return mending(() => Promise.all(ends.map((hurry) => hurry())));
    },
  },
  'agent-term': {
    title: "the active node's HA agent is stopped in order (SIGTERM)",
    vip: 'moves',
    unnoticed: true,
    inflict: (pair, node) => end(pair, node, 'agent', 'SIGTERM'),
  },
  'lb-term': {
    title: "the active node's balancer is stopped in order (SIGTERM)",
    vip: 'moves',
    unnoticed: true,
    inflict: (pair, node) => end(pair, node, 'balancer', 'SIGTERM'),
  },
  switchover: {
    title: 'an operator runs lbctl switchover',
    vip: 'moves',
    unnoticed: true,
    inflict: async (pair, node) => {
      await pair.switchover(node);
      return mending(() => {});
    },
  },
} satisfies Record<string, Fault>;

export type FaultName = keyof typeof faults;
export const FAULTS: Readonly<Record<FaultName, Fault>> = faults;
export const FAULT_NAMES = Object.keys(faults) as FaultName[];

export function isFault(name: string): name is FaultName {
  return Object.hasOwn(FAULTS, name);
}

import { type Fault, never, type Scene, silence, takeover, VIP_GONE_MS } from './fault.ts';
import { LANES, type Lane } from './network.ts';
import type { Node } from './node.ts';
import type { Pair } from './pair.ts';

function cut(node: Node, isCut: boolean, lanes: readonly Lane[] = LANES): void {
  const network = node.network;
  for (const lane of lanes) network.link(node.machine, lane).cut = isCut;
}

function cutBoth(scene: Scene, isCut: boolean, lanes?: readonly Lane[]): void {
  scene.pair.log(`  ${isCut ? 'cut' : 'healed'}: ${lanes?.join(', ') ?? 'everything'}, both ways`);
  for (const node of scene.pair.nodes) cut(node, isCut, lanes);
}

function cutOne(scene: Scene, from: Node, isCut: boolean, lanes?: readonly Lane[]): void {
  scene.pair.log(`  ${isCut ? 'cut' : 'healed'}: ${lanes?.join(', ') ?? 'everything'} from ${from.name}`);
  cut(from, isCut, lanes);
}

/** Two nodes that both took over do not look at the same moment. */
const PROBE_SPREAD_MS = 500;
const HEARTBEATS: readonly Lane[] = ['multicast eth0', 'multicast eth1', 'unicast'];

function lose(pair: Pair, share: number): void {
  for (const { machine } of pair.nodes)
    for (const lane of HEARTBEATS) pair.network.link(machine, lane).loss = share;
}

/**
 * How long it takes at most that both nodes hear each other once they can. Of the former release each group has to be
 * asked and to answer anew, which takes some rounds.
 */
function untilHeard({ pair, intervalMs, tripMs }: Scene): number {
  return (pair.network.former.size === 0 ? 1 : 5) * intervalMs + 2 * tripMs + 60;
}

/**
 * Nodes that hear each other again just when one takes over: the other one yields before the VIPs are there. Of two groups
 * one hears the former release later than the other, and both nodes may yield at the same moment.
 */
function meeting({ pair, tripMs }: Scene): number {
  return pair.network.former.size === 0 ? takeover() : 2 * tripMs + 60;
}

/** Cables, switches and what they do to datagrams. */
export const FAULTS_OF_NETWORKS: readonly Fault[] = [
  {
    name: 'the agent of the standby restarts, and hears at first nobody but a witness',
    begin: (scene) => {
      const { pair, active, standby } = scene;
      cutOne(scene, active, true);
      standby.crash();
      pair.sim.after(100, () => standby.start());
      pair.sim.after(270, () => cutOne(scene, active, false));
    },
    lastsMs: [500, 2_000],
    needs: 'witness',
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
  },
  {
    name: 'the cable of the active node is cut',
    begin: ({ active }) => active.machine.kernel.setDevice('eth0', { carrier: false }),
    end: ({ active }) => active.machine.kernel.setDevice('eth0', { carrier: true }),
    nobodyMs: silence,
    twoMs: never,
    who: 'other',
    tailMs: { nobody: 700, two: 200 },
  },
  {
    name: 'the cable of the standby is cut',
    begin: ({ standby }) => standby.machine.kernel.setDevice('eth0', { carrier: false }),
    end: ({ standby }) => standby.machine.kernel.setDevice('eth0', { carrier: true }),
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
    tailMs: { nobody: 700, two: 200 },
  },
  {
    name: 'the interface of the active node is gone',
    begin: ({ active }) => active.machine.kernel.setDevice('eth0', { exists: false }),
    end: ({ active }) => active.machine.kernel.setDevice('eth0', { exists: true }),
    nobodyMs: silence,
    twoMs: never,
    who: 'other',
  },
  {
    name: 'the nodes are cut off from each other',
    begin: (scene) => cutBoth(scene, true),
    end: (scene) => cutBoth(scene, false),
    lastsMs: [300, 3_000],
    nobodyMs: meeting,
    twoMs: (scene) => scene.lastsMs + untilHeard(scene),
    // The later epoch knew of more.
    who: 'other',
    tailMs: { nobody: 300, two: 500 },
  },
  {
    name: 'the nodes are cut off from each other for long',
    begin: (scene) => cutBoth(scene, true),
    end: (scene) => cutBoth(scene, false),
    lastsMs: [3_000, 6_000],
    nobodyMs: meeting,
    twoMs: (scene) => scene.lastsMs + untilHeard(scene),
    who: 'any',
    moves: 2,
  },
  {
    name: 'the active node is not heard any more',
    begin: (scene) => cutOne(scene, scene.active, true),
    end: (scene) => cutOne(scene, scene.active, false),
    lastsMs: [600, 6_000],
    nobodyMs: (scene) => 3 * scene.intervalMs + 2 * scene.tripMs + 60,
    twoMs: never,
    who: 'other',
    moves: 1,
    tailMs: { nobody: 700, two: 500 },
  },
  {
    name: 'the standby is not heard any more',
    begin: (scene) => cutOne(scene, scene.standby, true),
    end: (scene) => cutOne(scene, scene.standby, false),
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
    tailMs: { nobody: 700, two: 500 },
  },
  ...(['multicast eth0', 'unicast'] as const).map(
    (lane): Fault => ({
      name: `${lane} is silent`,
      begin: (scene) => cutBoth(scene, true, [lane]),
      end: (scene) => cutBoth(scene, false, [lane]),
      nobodyMs: never,
      twoMs: never,
      who: 'stays',
      tailMs: { nobody: 700, two: 500 },
      harmlessAlone: true,
    }),
  ),
  ...(['multicast eth0', 'unicast'] as const).map(
    (lane): Fault => ({
      name: `${lane} loses a third of all datagrams`,
      begin: ({ pair }) => {
        for (const { machine } of pair.nodes) pair.network.link(machine, lane).loss = 0.3;
      },
      end: ({ pair }) => {
        for (const { machine } of pair.nodes) pair.network.link(machine, lane).loss = 0;
      },
      nobodyMs: never,
      twoMs: never,
      who: 'stays',
      tailMs: { nobody: 700, two: 500 },
      harmlessAlone: true,
    }),
  ),
  {
    name: 'the second interface takes nothing more',
    needs: 'thirdPath',
    begin: ({ pair, active }) => {
      pair.network.link(active.machine, 'multicast eth1').stalled = true;
    },
    end: ({ pair, active }) => {
      pair.network.link(active.machine, 'multicast eth1').stalled = false;
    },
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
    tailMs: { nobody: 0, two: 0 },
  },
  {
    name: 'nothing but the heartbeats is cut off',
    begin: (scene) => cutBoth(scene, true, HEARTBEATS),
    end: (scene) => cutBoth(scene, false, HEARTBEATS),
    nobodyMs: never,
    // A node of the former release knows no other way.
    twoMs: (scene) => (scene.pair.network.former.size === 0 ? 0 : scene.lastsMs + untilHeard(scene)),
    who: 'any',
    moves: 2,
  },
  {
    name: 'a filter between the nodes lets nothing but ARP pass',
    begin: (scene) => cutBoth(scene, true, [...HEARTBEATS, 'sync']),
    end: (scene) => cutBoth(scene, false, [...HEARTBEATS, 'sync']),
    lastsMs: [500, 9_000],
    nobodyMs: meeting,
    twoMs: (scene) => VIP_GONE_MS + 500 + PROBE_SPREAD_MS + silence(scene),
    who: 'any',
    moves: 2,
  },
  {
    name: 'every path loses a third of all datagrams',
    begin: ({ pair }) => lose(pair, 0.3),
    end: ({ pair }) => lose(pair, 0),
    nobodyMs: (scene) => scene.deadMs + scene.intervalMs,
    twoMs: (scene) => scene.deadMs + scene.intervalMs,
    who: 'any',
    moves: 4,
    tailMs: { nobody: 400, two: 400 },
  },
  {
    name: 'the cable of the active node is cut, and comes back before its switch forwards',
    begin: (scene) => scene.active.machine.kernel.setDevice('eth0', { carrier: false }),
    end: (scene) => {
      scene.pair.isolate(scene.active.machine, true);
      scene.active.machine.kernel.setDevice('eth0', { carrier: true });
      scene.pair.sim.after(1_500, () => scene.pair.isolate(scene.active.machine, false));
    },
    nobodyMs: silence,
    twoMs: never,
    who: 'other',
    // By the format of the former release they know each other after two round trips. The node that is back asks meanwhile
    // whether it is heard, and the other one waits a quarter of an interval for it to hear the answer.
    isLuck: ({ pair, tripMs, intervalMs }) => pair.network.former.size > 0 && 4 * tripMs > intervalMs / 4,
  },
  {
    name: 'the session sync between both lbd is cut',
    begin: (scene) => cutBoth(scene, true, ['sync']),
    end: (scene) => cutBoth(scene, false, ['sync']),
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
    tailMs: { nobody: 700, two: 500 },
    harmlessAlone: true,
  },
  {
    name: 'the active node is cut off from everybody, and a witness tells',
    needs: 'witness',
    begin: (scene) => {
      scene.pair.deaf.add(scene.active.machine);
      cutBoth(scene, true);
    },
    end: (scene) => {
      scene.pair.deaf.delete(scene.active.machine);
      cutBoth(scene, false);
    },
    lastsMs: [2_500, 6_000],
    nobodyMs: (scene) => silence(scene) + 800,
    twoMs: (scene) => silence(scene) + 800,
    who: 'other',
  },
  {
    name: 'no witness answers',
    needs: 'witness',
    begin: ({ pair }) => {
      for (const { machine } of pair.nodes) pair.deaf.add(machine);
    },
    end: ({ pair }) => pair.deaf.clear(),
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
    tailMs: { nobody: 1_500, two: 0 },
  },
];

import { VIPS } from './config.ts';
import { type Fault, handover, never, silence } from './fault.ts';
import type { Node } from './node.ts';
import type { Pair } from './pair.ts';

function upgrade(pair: Pair, node: Node): void {
  pair.network.former.delete(node.machine);
  for (const { lbd } of pair.nodes) lbd.look();
  node.start();
}

function restartWith(node: Node, secret: number): void {
  node.secret = secret;
  node.crash();
  node.start();
}

/** What people do to a pair, rightly or by mistake. */
export const FAULTS_OF_OPERATORS: readonly Fault[] = [
  {
    name: 'a switchover is asked for at the active node',
    begin: ({ active }) => active.switchover('all'),
    nobodyMs: handover,
    twoMs: never,
    who: 'other',
    tailMs: { nobody: 300, two: 0 },
  },
  {
    name: 'a switchover is asked for at the standby',
    needs: 'loneGroup',
    begin: ({ standby }) => standby.switchover(),
    nobodyMs: handover,
    twoMs: never,
    who: 'other',
    tailMs: { nobody: 300, two: 0 },
  },
  {
    name: 'the agent of the active node is stopped',
    begin: ({ active }) => active.stop(),
    end: ({ active }) => active.start(),
    lastsMs: [2_500, 6_000],
    nobodyMs: handover,
    twoMs: never,
    who: 'other',
    tailMs: { nobody: 400, two: 0 },
  },
  {
    name: 'the agent of the standby is stopped',
    begin: ({ standby }) => standby.stop(),
    end: ({ standby }) => standby.start(),
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
    tailMs: { nobody: 400, two: 0 },
  },
  {
    name: 'a node reloads the file that it has',
    begin: ({ active, standby, random }) => {
      const node = random() < 0.7 ? active : standby;
      node.reload(node.choice);
    },
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
    tailMs: { nobody: 0, two: 0 },
  },
  {
    name: 'both nodes reload the file that they have',
    begin: ({ pair, random }) => {
      for (const node of pair.nodes) pair.sim.after(random() * 30, () => node.reload(node.choice));
    },
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
    tailMs: { nobody: 0, two: 0 },
  },
  {
    name: 'one node reloads another file, then the other one',
    begin: ({ pair, active, standby, random }) => {
      const [first, second] = random() < 0.5 ? [active, standby] : [standby, active];
      const choice = { ...first.choice, drainMs: 2_000, deadAfter: (first.choice.deadAfter ?? 3) + 1 };
      first.reload(choice);
      pair.sim.after(random() * 2_000, () => second.reload(choice));
    },
    lastsMs: [2_000, 6_000],
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
  },
  {
    name: 'one node alone reloads a file with another dead time',
    begin: ({ active, standby, random }) => {
      const node = random() < 0.5 ? active : standby;
      node.reload({ ...node.choice, deadAfter: 8 });
    },
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
  },
  {
    name: 'a second VIP comes by a reload and leaves again',
    needs: 'loneGroup',
    begin: ({ pair, random }) => {
      for (const node of pair.nodes)
        pair.sim.after(random() * 300, () => node.reload({ ...node.choice, extraVip: true }));
    },
    end: ({ pair, random }) => {
      for (const node of pair.nodes)
        pair.sim.after(random() * 300, () => node.reload({ ...node.choice, extraVip: false }));
    },
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
  },
  {
    name: 'the standby is upgraded from the former release, then the other node',
    needs: 'formerRelease',
    begin: ({ pair, standby, active, random }) => {
      standby.stop();
      pair.sim.after(600, () => upgrade(pair, standby));
      pair.sim.after(1_500 + random() * 1_000, () => active.stop());
    },
    end: ({ pair, active }) => upgrade(pair, active),
    lastsMs: [5_000, 6_000],
    // Old datagrams of that release are worth more to who plays them back: a goodbye may not be believed.
    nobodyMs: silence,
    twoMs: never,
    who: 'other',
  },
  {
    name: 'the standby gets another secret, and the right one again',
    begin: ({ standby }) => restartWith(standby, 2),
    end: ({ standby }) => restartWith(standby, 1),
    lastsMs: [1_500, 6_000],
    nobodyMs: never,
    twoMs: (scene) => scene.lastsMs + 600,
    who: 'any',
    moves: 2,
    isLast: true,
  },
  {
    name: 'somebody configures the VIP on the standby, with the prefix that keepalived takes',
    begin: ({ pair, standby }) => {
      pair.log('somebody configures the VIP on the standby');
      standby.machine.kernel.configure('eth0', VIPS[0], 32);
    },
    nobodyMs: never,
    twoMs: () => 20,
    who: 'stays',
    needs: 'loneGroup',
  },
  {
    name: 'the wall clocks are set',
    begin: ({ pair, random }) => {
      for (const { machine } of pair.nodes) machine.wallMs += (random() - 0.5) * 1e10;
    },
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
    tailMs: { nobody: 0, two: 0 },
  },
];

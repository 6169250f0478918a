import { type Fault, GUARDIAN_MS, handover, never, type Scene, VIP_GONE_MS } from './fault.ts';
import type { Pace } from './machine.ts';
import type { Node } from './node.ts';

const between =
  (scene: Scene, fromMs: number, toMs: number): Pace =>
  () =>
    fromMs + scene.random() ** 2 * (toMs - fromMs);

function set(node: Node, program: string, pace: Pace, what: string): void {
  node.machine.log(`${program}: ${what}`);
  node.machine.paces.set(program, pace);
}

function mend(node: Node, program: string): void {
  node.machine.log(`${program} works`);
  node.machine.paces.delete(program);
  // Somebody ends what hangs.
  for (const child of node.machine.children.values()) if (child.stuck) child.kill('SIGKILL');
}

/** A program of the active node that no VIP which is held may depend on. */
function beside(program: string, pace: (scene: Scene) => Pace, what: string): Fault {
  return {
    name: `${program} of the active node ${what}`,
    begin: (scene) => set(scene.active, program, pace(scene), what),
    end: ({ active }) => mend(active, program),
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
    // The start of an agent waits for the first check of the rules.
    ...(program !== 'nft' && { tailMs: { nobody: program === 'ip' ? 200 : 0, two: 0 } }),
  };
}

/** The programs by which the agent does what it does: slow, hanging, failing, dying. */
export const FAULTS_OF_HELPERS: readonly Fault[] = [
  ...['nft', 'socat', 'announcer', 'witness', 'command'].flatMap((program) => [
    beside(program, (scene) => between(scene, 100, 20_000), 'is slow'),
    beside(program, () => () => 'hang', 'hangs'),
    beside(program, () => () => 'fail', 'fails'),
    beside(program, (scene) => () => (scene.random() < 0.5 ? 'die' : 1), 'dies now and then'),
  ]),
  beside('ip', (scene) => between(scene, 5, 150), 'is slow'),
  {
    ...beside('ip', (scene) => () => (scene.random() < 0.1 ? 'die' : 1), 'dies now and then'),
    // A guardian whose ip died at the last moment tries again after 100 ms.
    tailMs: { nobody: 200, two: 100 + GUARDIAN_MS },
    harmlessAlone: true,
  },
  {
    name: 'ip of the active node is so slow that no VIP is renewed',
    begin: (scene) => set(scene.active, 'ip', between(scene, 3_000, 20_000), 'takes seconds'),
    end: ({ active }) => mend(active, 'ip'),
    lastsMs: [6_000, 8_000],
    nobodyMs: () => VIP_GONE_MS + 500,
    twoMs: never,
    who: 'any',
    moves: 2,
  },
  {
    name: 'ip of the active node hangs',
    begin: ({ active }) => set(active, 'ip', () => 'hang', 'hangs'),
    end: ({ active }) => mend(active, 'ip'),
    lastsMs: [6_000, 8_000],
    nobodyMs: () => VIP_GONE_MS + 500,
    twoMs: never,
    who: 'any',
    moves: 2,
  },
  {
    name: 'nft of the standby hangs, and it is to serve',
    begin: ({ active, standby }) => {
      set(standby, 'nft', () => 'hang', 'hangs');
      active.switchover('all');
    },
    end: ({ standby }) => mend(standby, 'nft'),
    lastsMs: [3_500, 6_000],
    // A takeover waits for it, but not for long.
    nobodyMs: (scene) => handover(scene) + 300,
    twoMs: never,
    who: 'other',
  },
  {
    name: 'ip of the standby hangs',
    begin: ({ standby }) => set(standby, 'ip', () => 'hang', 'hangs'),
    end: ({ standby }) => mend(standby, 'ip'),
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
  },
];

import { type SimNode, WELL } from './cluster.ts';
import type { Simulation } from './simulation.ts';

/** Faults that may leave an address behind until its lease ends are over so long before the others. */
const LEASE_TAIL_MS = 3_600;

interface Scene {
  readonly sim: Simulation;
  readonly node: SimNode;
  readonly nodes: readonly [SimNode, SimNode];
  readonly random: () => number;
  /** When all faults end. */
  readonly endMs: number;
  readonly log: (line: string) => void;
}

interface Fault {
  readonly begin: (scene: Scene) => void;
  readonly end?: (scene: Scene) => void;
  /** It may leave an address behind. */
  readonly lingers?: true;
}

/** What happens in life. The first ones are the likeliest. */
const FAULTS: Readonly<Record<string, Fault>> = {
  crash: { begin: ({ node }) => node.crash(), end: ({ node }) => node.start() },
  stop: { begin: ({ node }) => node.stop(), end: ({ node }) => node.start() },
  'pause agent': { begin: ({ node }) => node.pause('agent'), end: ({ node }) => node.resume() },
  'pause node': { begin: ({ node }) => node.pause('node'), end: ({ node }) => node.resume() },
  'pause vm': {
    begin: ({ node, random }) => node.pause('vm', random() < 0.5),
    end: ({ node }) => node.resume(),
  },
  'kill lbd': {
    begin: ({ node }) => node.setLbd({ ...WELL, alive: false, why: 'killed' }),
    end: ({ node }) => node.setLbd(WELL),
  },
  'sick lbd': {
    begin: ({ node }) => node.setLbd({ ...WELL, healthy: false, why: 'sick' }),
    end: ({ node }) => node.setLbd(WELL),
  },
  switchover: { begin: ({ node }) => node.switchover() },
  'kill guardian': { begin: ({ node }) => node.killGuardian() },
  'kill agent and guardian': {
    begin: ({ node }) => {
      node.killGuardian();
      node.crash();
    },
    end: ({ node }) => node.start(),
    lingers: true,
  },
  'kill all': {
    begin: ({ node }) => {
      node.killGuardian();
      node.crash();
      node.setLbd({ ...WELL, alive: false, why: 'killed' });
    },
    end: ({ node }) => {
      node.start();
      node.setLbd(WELL);
    },
    lingers: true,
  },
  'power off': { begin: ({ node }) => node.powerOff(), end: ({ node }) => node.start() },
  'ip fails': {
    begin: ({ node, log }) => {
      log(`${node.name} ip fails`);
      node.machine.ipBroken = true;
    },
    end: ({ node, log }) => {
      log(`${node.name} ip works`);
      node.machine.ipBroken = false;
    },
    lingers: true,
  },
  starve: {
    begin: ({ sim, node, random, endMs }) => {
      const lastMs = Math.min(sim.now + 1_500, endMs - 400);
      for (let at = sim.now; at < lastMs; at += 20 + random() * 400) {
        sim.at(at, () => node.pause('agent'));
        sim.at(at + random() * 350, () => node.resume());
      }
    },
  },
  startle: { begin: ({ node, random }) => node.startle(random() < 0.5 ? 'refused' : 'channel') },
  island: {
    begin: ({ node, log }) => {
      log(`${node.name} is cut off from everybody`);
      node.witnessCut = true;
      for (const link of [...node.links, ...node.peer.links]) link.cut = true;
    },
    end: ({ node, log }) => {
      log(`${node.name} is back`);
      node.witnessCut = false;
      for (const link of [...node.links, ...node.peer.links]) link.cut = false;
    },
  },
  'no witness': {
    begin: ({ node }) => {
      node.witnessCut = true;
    },
    end: ({ node }) => {
      node.witnessCut = false;
    },
  },
};
const NAMES = Object.keys(FAULTS);
/** So many of the dice's faces are cuts: there are many kinds of them. */
const CUTS = 4;

/** Between 1 and 6 faults, each with its end; at `endMs` all is well again. @returns how many */
export function schedule(
  sim: Simulation,
  nodes: readonly [SimNode, SimNode],
  random: () => number,
  endMs: number,
  log: (line: string) => void,
): number {
  const faults = 1 + Math.floor(random() * 6);
  for (let i = 0; i < faults; i++) {
    const node = nodes[random() < 0.5 ? 0 : 1];
    const scene = { sim, node, nodes, random, endMs, log };
    const fault = FAULTS[NAMES[Math.floor(random() * (NAMES.length + CUTS))] ?? ''] ?? cut(scene);
    const lastMs = endMs - (fault.lingers ? LEASE_TAIL_MS : 1);
    const begin = 400 + random() * (lastMs - 1_000);
    sim.at(begin, () => fault.begin(scene));
    sim.at(Math.min(begin + random() * 2_000, lastMs), () => fault.end?.(scene));
  }
  sim.at(endMs, () => {
    log('all faults end');
    for (const node of nodes) {
      node.resume();
      node.start();
      node.setLbd(WELL);
      node.witnessCut = false;
      for (const link of node.links) Object.assign(link, { cut: false, loss: 0 });
    }
  });
  return faults;
}

function cut({ node, nodes, random, log }: Scene): Fault {
  const both = random() < 0.4;
  const all = random() < 0.6;
  const path = random() < 0.5 ? 0 : 1;
  const links = (both ? nodes : [node]).flatMap((n) => (all ? n.links : [n.links[path]!]));
  const what = `${both ? 'both ways' : `from ${node.name}`}, ${all ? 'all paths' : `path ${path}`}`;
  const set = (isCut: boolean) => () => {
    log(`${isCut ? 'cut' : 'healed'} ${what}`);
    for (const link of links) link.cut = isCut;
  };
  return { begin: set(true), end: set(false) };
}

import { type Fault, farewell, handover, never, STEP_MS, silence, VIP_GONE_MS } from './fault.ts';

/** A starved agent stands still for so long at most. */
const MOST_STILL_MS = 700;

/** Agent, lbd and machines: what dies, stands still or restarts. */
export const FAULTS_OF_PROCESSES: readonly Fault[] = [
  {
    name: 'the agent of the active node is killed',
    begin: ({ active }) => active.crash(),
    end: ({ active }) => active.start(),
    nobodyMs: farewell,
    twoMs: never,
    who: 'other',
    tailMs: { nobody: 400, two: 0 },
  },
  {
    name: 'the agent of the standby is killed',
    begin: ({ standby }) => standby.crash(),
    end: ({ standby }) => standby.start(),
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
    tailMs: { nobody: 400, two: 0 },
  },
  {
    name: 'agent and guardian of the active node are killed at once',
    begin: ({ active }) => {
      active.killGuardian();
      active.crash();
    },
    end: ({ active }) => active.start(),
    nobodyMs: farewell,
    twoMs: () => VIP_GONE_MS,
    who: 'other',
    tailMs: { nobody: 400, two: VIP_GONE_MS },
  },
  {
    name: 'the agent of the active node is killed, and its guardian is slow',
    begin: ({ active, random }) => {
      active.machine.paces.set('guardian', () => 20 + random() * 45);
      active.crash();
    },
    end: ({ active }) => {
      active.machine.paces.delete('guardian');
      active.start();
    },
    nobodyMs: (scene) => farewell(scene) + 65,
    twoMs: never,
    who: 'other',
  },
  {
    name: 'the agent of the active node stands still',
    begin: ({ active }) => active.machine.pause('agent'),
    end: ({ active }) => active.machine.resume(),
    lastsMs: [400, 6_000],
    nobodyMs: farewell,
    twoMs: never,
    who: 'other',
    tailMs: { nobody: 700, two: 0 },
  },
  {
    name: 'the agent of the standby stands still',
    begin: ({ standby }) => standby.machine.pause('agent'),
    end: ({ standby }) => standby.machine.resume(),
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
    tailMs: { nobody: 400, two: 0 },
  },
  {
    name: 'all processes of the active node stand still',
    begin: ({ active }) => active.machine.pause('all'),
    end: ({ active }) => active.machine.resume(),
    lastsMs: [500, 8_000],
    nobodyMs: silence,
    twoMs: () => VIP_GONE_MS,
    who: 'other',
    tailMs: { nobody: 700, two: 100 },
  },
  {
    name: 'the virtual machine of the active node stands still',
    begin: ({ active }) => active.machine.pause('vm'),
    end: ({ active }) => active.machine.resume(),
    lastsMs: [500, 8_000],
    nobodyMs: silence,
    twoMs: (scene) => scene.intervalMs + 60 + 2 * scene.tripMs,
    who: 'other',
    tailMs: { nobody: 700, two: 500 },
  },
  {
    name: 'the virtual machine of the active node stands still, and so does its clock',
    begin: ({ active }) => active.machine.pause('vm', true),
    end: ({ active }) => active.machine.resume(),
    lastsMs: [500, 8_000],
    nobodyMs: silence,
    twoMs: (scene) => scene.intervalMs + 60 + 2 * scene.tripMs,
    who: 'other',
    tailMs: { nobody: 700, two: 500 },
  },
  {
    name: 'the virtual machine of the standby stands still',
    begin: ({ standby, random }) => standby.machine.pause('vm', random() < 0.5),
    end: ({ standby }) => standby.machine.resume(),
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
    tailMs: { nobody: 400, two: 500 },
  },
  {
    name: 'both virtual machines are suspended together, and resumed',
    begin: ({ pair, random }) => {
      for (const { machine } of pair.nodes) pair.sim.after(random() * 50, () => machine.pause('vm', true));
    },
    end: ({ pair, random }) => {
      for (const { machine } of pair.nodes) pair.sim.after(60 + random() * 50, () => machine.resume());
    },
    lastsMs: [1_000, 6_000],
    nobodyMs: (scene) => scene.lastsMs + 200 + silence(scene),
    twoMs: never,
    who: 'any',
  },
  {
    name: 'both virtual machines are suspended together, their clocks go on, and they are resumed',
    begin: ({ pair, random }) => {
      for (const { machine } of pair.nodes) pair.sim.after(random() * 50, () => machine.pause('vm'));
    },
    end: ({ pair, random }) => {
      for (const { machine } of pair.nodes) pair.sim.after(60 + random() * 50, () => machine.resume());
    },
    lastsMs: [1_000, 6_000],
    nobodyMs: (scene) => scene.lastsMs + 200 + 2 * silence(scene),
    twoMs: never,
    who: 'any',
    // One that was suspended before within half a minute counts as starved: it hands over as soon as it serves, and again
    // where the guardian of the other one, which has missed beats as well, takes the VIPs from it only then.
    moves: 4,
  },
  {
    name: 'the active node loses power',
    begin: ({ active }) => active.powerOff(),
    end: ({ active }) => active.powerOn(),
    nobodyMs: silence,
    twoMs: never,
    who: 'other',
    tailMs: { nobody: 700, two: 0 },
  },
  {
    name: 'the standby loses power',
    begin: ({ standby }) => standby.powerOff(),
    end: ({ standby }) => standby.powerOn(),
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
    tailMs: { nobody: 400, two: 0 },
  },
  {
    name: 'the agent of the active node is starved: it stands still again and again, each time shortly',
    begin: ({ pair, active, lastsMs, random }) => {
      const { sim } = pair;
      for (let at = sim.now; at < sim.now + lastsMs - 200; at += 130 + random() * 400) {
        sim.at(at, () => active.machine.pause('agent'));
        sim.at(at + random() * 120, () => active.machine.resume());
      }
    },
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
  },
  {
    name: 'the agents of both nodes are starved: they stand still again and again, longer than the dead time',
    begin: ({ pair, lastsMs, random }) => {
      const { sim } = pair;
      for (const { machine } of pair.nodes)
        for (let at = sim.now + random() * 300; at < sim.now + lastsMs - MOST_STILL_MS; ) {
          const stillMs = 100 + random() * (MOST_STILL_MS - 100);
          sim.at(at, () => machine.pause('agent'));
          sim.at(at + stillMs, () => machine.resume());
          at += stillMs + 100 + random() * 300;
        }
    },
    lastsMs: [10_000, 15_000],
    // What a node needs is told in heartbeats; one of the former release does not read it.
    needs: 'presentRelease',
    // Until both run for long enough at the same time, which is luck. The worst of 5,500 pairs was 4.5 s, and each second more is
    // ten times as rare.
    nobodyMs: () => 6_000,
    // One that goes on listens for a dead time, and counts nothing of what waited in its sockets: the other one may have taken
    // over before and stand still meanwhile, and its guardian goes by a patience of which this node has not heard.
    twoMs: ({ deadMs, intervalMs, tripMs }) =>
      Math.max(0, MOST_STILL_MS - deadMs + intervalMs) + 3 * STEP_MS + tripMs,
    who: 'any',
    // A node loses the VIPs each time that it stands still for longer than it has come to wait for, mostly there and back. Of 1,000
    // pairs that were played alone 144 moved four times and two did six times; without patience 32 of 100 move more often.
    moves: 6,
  },
  {
    name: 'both nodes lose power, and come back',
    begin: ({ pair }) => {
      for (const node of pair.nodes) node.powerOff();
    },
    end: ({ pair, random }) => {
      for (const node of pair.nodes) pair.sim.after(random() * 200, () => node.powerOn());
    },
    lastsMs: [300, 1_000],
    nobodyMs: (scene) => scene.lastsMs + 300 + 2 * silence(scene),
    twoMs: never,
    who: 'any',
    moves: 1,
  },
  {
    name: 'the active node loses power after the agent of the standby has restarted',
    begin: ({ pair, active, standby }) => {
      standby.crash();
      pair.sim.after(300, () => standby.start());
      pair.sim.after(400, () => active.powerOff());
    },
    end: ({ active }) => active.powerOn(),
    lastsMs: [2_000, 6_000],
    nobodyMs: (scene) => 2 * silence(scene),
    twoMs: never,
    who: 'other',
  },
  {
    name: 'the guardian of the active node is killed',
    begin: ({ active }) => active.killGuardian(),
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
    // The agent may stop before there is another one, 200 ms later. Then its silence tells, of 1.25 s where it is slow.
    tailMs: { nobody: 0, two: 1_200 },
  },
  {
    name: 'lbd of the active node is killed',
    begin: ({ active }) => active.lbd.kill(),
    end: ({ active }) => active.lbd.start(),
    nobodyMs: handover,
    twoMs: never,
    who: 'other',
    tailMs: { nobody: 200, two: 0 },
  },
  {
    name: 'lbd of the standby is killed',
    begin: ({ standby }) => standby.lbd.kill(),
    end: ({ standby }) => standby.lbd.start(),
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
    tailMs: { nobody: 200, two: 0 },
  },
  {
    name: 'lbd of the active node hangs',
    begin: ({ active }) => active.lbd.hang(),
    end: ({ active }) => active.lbd.goOn(),
    lastsMs: [3_000, 6_000],
    nobodyMs: handover,
    twoMs: never,
    who: 'other',
    tailMs: { nobody: 200, two: 0 },
  },
  {
    name: 'lbd of the active node is late',
    begin: ({ active }) => active.lbd.hang(),
    end: ({ active }) => active.lbd.goOn(),
    lastsMs: [100, 1_500],
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
    tailMs: { nobody: 0, two: 0 },
  },
  {
    name: 'the active node has no backend, the standby has',
    begin: ({ active }) => active.lbd.setHealthy(false),
    end: ({ active }) => active.lbd.setHealthy(true),
    lastsMs: [2_000, 6_000],
    nobodyMs: (scene) => 2 * scene.tripMs + 3 * STEP_MS,
    twoMs: never,
    who: 'other',
    tailMs: { nobody: 200, two: 0 },
  },
  {
    name: 'no node has a backend',
    begin: ({ pair, random }) => {
      for (const { lbd } of pair.nodes) pair.sim.after(random() * 800, () => lbd.setHealthy(false));
    },
    end: ({ pair, random }) => {
      for (const { lbd } of pair.nodes) pair.sim.after(random() * 800, () => lbd.setHealthy(true));
    },
    lastsMs: [2_000, 6_000],
    nobodyMs: never,
    twoMs: never,
    who: 'stays',
  },
];

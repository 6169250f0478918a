import t from 'tap';
import type { ElectionConfig } from '../../ha-agent/election-types.ts';
import { type Link, SimNode, WITNESS } from './cluster.ts';
import { schedule } from './faults.ts';
import { Judge } from './judge.ts';
import { randomFrom, Simulation } from './simulation.ts';

/**
 * Two real election cores on a simulated network and clock. `SEED=17` replays one seed with its story,
 * `SEEDS=1000000` runs more of them, from `FROM` on.
 */
const SEEDS = Number(process.env.SEEDS ?? (process.env.CI === undefined ? 2_000 : 20_000));
t.setTimeout(600_000 + SEEDS * 5);
const FROM = Number(process.env.FROM ?? 1);
const ONLY = process.env.SEED === undefined ? undefined : Number(process.env.SEED);

const INTERVAL_MS = 100;
const DEAD_AFTER = 3;
const DEAD_MS = INTERVAL_MS * DEAD_AFTER;
const FAULTS_END_MS = 6_000;
/** Two dead times, the time that a step of the host takes, and one interval for what was under way. */
const CONVERGED_MS = FAULTS_END_MS + 2 * DEAD_MS + INTERVAL_MS + 50;
const END_MS = CONVERGED_MS + 3_000;

interface World {
  readonly sim: Simulation;
  readonly nodes: readonly [SimNode, SimNode];
  readonly lines: string[];
  readonly log: (line: string) => void;
}

function build(random: () => number, config: Partial<ElectionConfig> = {}): World {
  const sim = new Simulation();
  const lines: string[] = [];
  const log = (line: string) => lines.push(`${sim.now.toFixed(1).padStart(8)} ${line}`);
  const a = new SimNode(sim, { ...configOf('lb1', 'lb2'), ...config }, random);
  const b = new SimNode(sim, { ...configOf('lb2', 'lb1'), ...config }, random);
  a.peer = b;
  b.peer = a;
  a.log = log;
  b.log = log;
  for (const node of [a, b]) sim.at(random() * 300, () => node.start());
  return { sim, nodes: [a, b], lines, log };
}

function play(seed: number): { readonly problems: readonly string[]; readonly lines: readonly string[] } {
  const random = randomFrom(seed);
  const witness = random() < 0.5 ? { witnessWaitMs: WITNESS.waitMs } : {};
  const { sim, nodes, lines, log } = build(random, witness);
  const lossy = random() < 0.3;
  for (const node of nodes)
    for (const link of node.links) {
      link.maxDelayMs = random() < 0.5 ? 1 : 15;
      link.duplicate = random() < 0.3 ? 0.2 : 0;
      link.loss = lossy ? random() * 0.3 : 0;
    }
  const faults = schedule(sim, nodes, random, FAULTS_END_MS, log);
  const judge = new Judge(sim, nodes, { intervalMs: INTERVAL_MS, deadMs: DEAD_MS, lossy, log });
  judge.convergedMs = CONVERGED_MS;
  sim.runUntil(END_MS, () => judge.watch());
  judge.conclude(faults);
  return { problems: judge.problems, lines };
}

function configOf(self: string, peer: string): ElectionConfig {
  const address = (name: string) => (name === 'lb1' ? '10.0.0.1' : '10.0.0.2');
  return {
    self: { name: self, address: address(self), priority: self === 'lb1' ? 150 : 100 },
    peer: { name: peer, address: address(peer) },
    intervalMs: INTERVAL_MS,
    deadAfter: DEAD_AFTER,
    preemptDelayMs: undefined,
    trackLbd: true,
    announceCount: 1,
    announceRefreshMs: 0,
    secondChance: true,
    drainMs: 1000,
  };
}

/** A pair at rest: lb1 is active. */
function atRest(
  seed: number,
  link: Partial<Link>,
  config: Partial<ElectionConfig> = {},
): World & { readonly judge: Judge } {
  const random = randomFrom(seed);
  const world = build(random, config);
  const { sim, nodes, log } = world;
  for (const node of nodes) for (const each of node.links) Object.assign(each, link);
  const judge = new Judge(sim, nodes, { intervalMs: INTERVAL_MS, deadMs: DEAD_MS, lossy: false, log });
  sim.runUntil(1_500, () => judge.watch());
  return { ...world, judge };
}

const HUNDRED = Array.from({ length: 100 }, (_, i) => i + 1);

t.test('30 % random loss on one path for ten minutes: no transition', (t) => {
  for (const seed of [1, 2]) {
    const { sim, nodes, judge, lines } = atRest(seed, { maxDelayMs: 15, duplicate: 0.05 });
    for (const path of [0, 1]) {
      for (const node of nodes) node.links[path]!.loss = 0.3;
      const before = lines.length;
      sim.runUntil(sim.now + 600_000, () => judge.watch());
      t.same(lines.slice(before), [], `seed ${seed}, path ${path}`);
      for (const node of nodes) node.links[path]!.loss = 0;
    }
    t.same(judge.problems, []);
  }
  t.end();
});

t.test('silent on one path is not dead; silent on every path is', (t) => {
  const { sim, nodes, judge, lines } = atRest(1, {});
  for (const node of nodes) node.links[0]!.cut = true;
  const before = lines.length;
  sim.runUntil(sim.now + 10_000, () => judge.watch());
  t.same(lines.slice(before), []);
  nodes[0].links[1]!.cut = true;
  sim.runUntil(sim.now + 1_000, () => judge.watch());
  t.equal(nodes[1].state.role, 'active');
  t.same(judge.problems, []);
  t.end();
});

t.test(
  'split brain: one owner within 150 ms of the heal, the loser drops first, the winner announces again',
  (t) => {
    let worstMs = 0;
    for (const seed of HUNDRED) {
      const { sim, nodes, judge } = atRest(seed, { maxDelayMs: 5 });
      const [a, b] = nodes;
      for (const node of nodes) for (const link of node.links) link.cut = true;
      sim.runUntil(sim.now + 1_000 + seed, () => judge.watch());
      if (!a.machine.owns || !b.machine.owns) t.fail(`SEED ${seed}: both should serve what they can reach`);
      const healedMs = sim.now;
      const winner = a.state.epoch > b.state.epoch ? a : b;
      const announcements = winner.announcements;
      for (const node of nodes) for (const link of node.links) link.cut = false;
      let resolvedMs: number | undefined;
      sim.runUntil(healedMs + 1_000, () => {
        judge.watch();
        if (!winner.machine.owns) t.fail(`SEED ${seed}: the winner dropped the VIP`);
        if (!winner.peer.machine.owns) resolvedMs ??= sim.now;
      });
      worstMs = Math.max(worstMs, (resolvedMs ?? Number.POSITIVE_INFINITY) - healedMs);
      if (winner.announcements === announcements) t.fail(`SEED ${seed}: the winner did not announce again`);
      if (judge.problems.length > 0) t.fail(`SEED ${seed}: ${judge.problems[0]}`);
    }
    // Simulated time, so it is the protocol that is judged, not this machine.
    t.ok(worstMs <= 150, `worst: ${worstMs.toFixed(1)} ms`);
    t.end();
  },
);

t.test(
  'planned switchover: open connections have their address at every moment, new ones wait for a trip',
  (t) => {
    let worstGapMs = 0;
    for (const seed of HUNDRED) {
      const { sim, nodes, judge } = atRest(seed, { maxDelayMs: 1 });
      const [a, b] = nodes;
      const asked = seed % 2 === 0 ? a : b;
      asked.switchover();
      let gapSince: number | undefined;
      sim.runUntil(sim.now + 400, () => {
        judge.watch();
        if (!a.machine.owns && !a.machine.parked && a.state.finishing !== undefined)
          t.fail(`SEED ${seed}: open connections lost their address`);
        if (a.machine.owns && b.machine.owns) t.fail(`SEED ${seed}: two owners`);
        if (a.machine.owns || b.machine.owns) gapSince = undefined;
        else {
          gapSince ??= sim.now;
          worstGapMs = Math.max(worstGapMs, sim.now - gapSince);
        }
        if (b.machine.owns && !b.machine.forwards) t.fail(`SEED ${seed}: VIP before the rules`);
      });
      if (!b.machine.owns) t.fail(`SEED ${seed}: no switchover`);
      if (judge.problems.length > 0) t.fail(`SEED ${seed}: ${judge.problems[0]}`);
    }
    // A datagram, `lbd` and `ip`: a SYN that finds nobody is sent again after a second, so neighbours must not notice.
    t.ok(worstGapMs <= 5, `worst: ${worstGapMs.toFixed(1)} ms`);
    t.end();
  },
);

interface Death {
  readonly name: string;
  readonly kill: (node: SimNode) => void;
  /** Longest time until the other node has the VIP, without an owner, and with two. */
  readonly takenMs: number;
  readonly goneMs: number;
  readonly dualMs: number;
  readonly config?: Partial<ElectionConfig>;
}

const DEATHS: readonly Death[] = [
  { name: 'the agent is killed', kill: (node) => node.crash(), takenMs: 50, goneMs: 50, dualMs: 0 },
  {
    name: 'the agent is killed, heartbeats once a second',
    kill: (node) => node.crash(),
    config: { intervalMs: 1_000 },
    takenMs: 50,
    goneMs: 50,
    dualMs: 0,
  },
  {
    name: 'agent and guardian are killed at once: two owners until the lease ends, and no longer',
    kill: (node) => {
      node.killGuardian();
      node.crash();
    },
    takenMs: 210,
    goneMs: 0,
    dualMs: 3_000,
  },
  { name: 'the agent is stopped', kill: (node) => node.pause('agent'), takenMs: 350, goneMs: 100, dualMs: 0 },
  {
    name: 'all processes are stopped',
    kill: (node) => node.pause('node'),
    takenMs: 350,
    goneMs: 0,
    dualMs: 3_000,
  },
  { name: 'the VM is paused', kill: (node) => node.pause('vm'), takenMs: 350, goneMs: 350, dualMs: 0 },
  { name: 'power off', kill: (node) => node.powerOff(), takenMs: 350, goneMs: 350, dualMs: 0 },
];

for (const { name, kill, takenMs, goneMs, dualMs, config } of DEATHS)
  t.test(`death of the active node: ${name}`, (t) => {
    let worstTakenMs = 0;
    let worstGoneMs = 0;
    let worstDualMs = 0;
    for (const seed of HUNDRED) {
      const { sim, nodes, judge } = atRest(seed, { maxDelayMs: 1 }, config);
      const [a, b] = nodes;
      sim.runUntil(sim.now + 2_000 + 7 * seed, () => judge.watch());
      kill(a);
      const killedMs = sim.now;
      let beganMs = killedMs;
      let taken: number | undefined;
      let before = 1;
      sim.runUntil(sim.now + 8_000, () => {
        const owners = Number(a.machine.serves) + Number(b.machine.serves);
        if (before === 0) worstGoneMs = Math.max(worstGoneMs, sim.now - beganMs);
        if (before === 2) worstDualMs = Math.max(worstDualMs, sim.now - beganMs);
        if (owners !== before) beganMs = sim.now;
        if (b.machine.owns) taken ??= sim.now - killedMs;
        before = owners;
      });
      worstTakenMs = Math.max(worstTakenMs, taken ?? Number.POSITIVE_INFINITY);
      if (!b.machine.owns || a.machine.serves) t.fail(`SEED ${seed}: lb2 does not have the VIP alone`);
    }
    t.ok(worstTakenMs <= takenMs, `taken over after ${worstTakenMs.toFixed(1)} ms at worst`);
    t.ok(worstGoneMs <= goneMs, `nobody for ${worstGoneMs.toFixed(1)} ms at worst`);
    t.ok(worstDualMs <= dualMs, `both for ${worstDualMs.toFixed(1)} ms at worst`);
    t.end();
  });

t.test('an isolated node neither goes nor stays active where a witness tells', (t) => {
  for (const seed of HUNDRED) {
    const { sim, nodes, judge } = atRest(seed, { maxDelayMs: 1 }, { witnessWaitMs: WITNESS.waitMs });
    const isolated = nodes[seed % 2]!;
    for (const node of nodes) for (const link of node.links) link.cut = true;
    isolated.witnessCut = true;
    const wasActive = isolated.machine.owns;
    sim.runUntil(sim.now + 3_000, () => {
      judge.watch();
      if (!wasActive && isolated.machine.owns) t.fail(`SEED ${seed}: it became active`);
    });
    if (isolated.machine.owns || isolated.state.role !== 'fault')
      t.fail(`SEED ${seed}: it is ${isolated.state.role}`);
    if (!isolated.peer.machine.owns) t.fail(`SEED ${seed}: the other one is not active`);
    for (const node of nodes) for (const link of node.links) link.cut = false;
    isolated.witnessCut = false;
    sim.runUntil(sim.now + 1_000, () => judge.watch());
    if (isolated.state.role !== 'standby')
      t.fail(`SEED ${seed}: it is ${isolated.state.role} after the heal`);
    if (judge.problems.length > 0) t.fail(`SEED ${seed}: ${judge.problems[0]}`);
  }
  t.pass('a hundred seeds');
  t.end();
});

t.test('whatever happens, one node owns the VIPs in the end and never two without need', (t) => {
  const seeds = ONLY === undefined ? Array.from({ length: SEEDS }, (_, i) => FROM + i) : [ONLY];
  let failed = 0;
  for (const seed of seeds) {
    const story = play(seed);
    if (ONLY !== undefined) t.comment(`\n${story.lines.join('\n')}`);
    if (story.problems.length === 0) continue;
    failed++;
    if (failed <= 3) t.fail(`SEED=${seed}: ${story.problems[0]}`);
  }
  t.equal(failed, 0, `${failed} of ${seeds.length} seeds failed`);
  t.end();
});

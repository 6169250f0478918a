import { type Fault, handover, type Need, type Scene, VIP_GONE_MS } from './fault.ts';
import { FAULTS } from './faults.ts';
import type { Node } from './node.ts';
import type { Ownership } from './ownership.ts';
import { type Outcome, Series } from './series.ts';
import { randomFrom } from './simulation.ts';
import { Stage } from './stage.ts';

/** After the end of a fault: restarts, two dead times, connections that finish. */
const SETTLED_MS = 2_000;
/** A node that could not add the VIPs tries again after so long. */
const FAILED_MS = 2_000;
const LASTS_MS = [300, 6_000] as const;
/** And then nothing may happen for so long, see `Stage.settle`. */
const CALM_MS = 1_200;
/** A pair has them until it is upgraded, or never. */
const OF_RELEASES: ReadonlySet<Need> = new Set(['formerRelease', 'presentRelease']);

/** The seed tells which fault it is, and each has its turn before one comes again. */
export function faultOf(seed: number): Fault {
  const count = FAULTS.length;
  return shuffled(Math.floor(seed / count))[seed % count]!;
}

let latest: { readonly turn: number; readonly faults: readonly Fault[] } | undefined;

/** In another order each time, so that one is not always played after the same one. */
function shuffled(turn: number): readonly Fault[] {
  if (latest?.turn === turn) return latest.faults;
  const random = randomFrom(turn);
  const faults = [...FAULTS];
  for (let i = faults.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [faults[i], faults[j]] = [faults[j]!, faults[i]!];
  }
  latest = { turn, faults };
  return faults;
}

/** A pair that can play this story, and as many of the next ones as can be played on one pair. */
function stageFor(seed: number, last: number): Stage {
  const needs = new Set<Need>();
  const { needs: first } = faultOf(seed);
  if (first !== undefined) needs.add(first);
  for (let next = seed + 1; next <= last; next++) {
    const { needs: need } = faultOf(next);
    if (need !== undefined && !OF_RELEASES.has(need)) needs.add(need);
  }
  return new Stage(seed, needs);
}

const series = new Series(
  stageFor,
  (stage, seed) => stage.has(faultOf(seed).needs) && !faultOf(seed - 1).isLast,
  (stage, seed) => oneFault(stage, faultOf(seed)),
);

/** The fault of a seed, on the pair of the seeds before it. */
export function oneFaultOf(seed: number): Outcome {
  return series.outcomeOf(seed);
}

/** A pair at rest, one fault, and the pair at rest again. */
export function oneFault(stage: Stage, fault: Fault): void {
  const { pair, choice, ownerships } = stage;
  const { sim } = pair;
  pair.log(`${fault.name}; ${JSON.stringify(choice)}, ${stage.tripMs} ms`);
  const active = stage.begin();
  if (active === undefined) return;
  const before = ownerships.map(({ owners }) => owners[0]!);
  const scene = stage.scene(active, lastsMs(fault, stage));
  const beginMs = sim.now;
  pair.log(`-- for ${scene.lastsMs.toFixed(0)} ms: ${fault.name}`);
  sim.after(0, () => fault.begin(scene));
  stage.run(scene.lastsMs);
  pair.log('-- it ends');
  sim.after(0, () => fault.end?.(scene));
  const calmMs = stage.settle(
    SETTLED_MS + (choice.preemptMs === undefined ? 0 : choice.preemptMs + FAILED_MS),
    CALM_MS,
  );
  for (const [i, ownership] of ownerships.entries())
    judge(stage, fault, scene, ownership, before[i]!, beginMs);
  stage.conclude(calmMs);
}

/** What the other node is to take over for lasts longer than a patient one waits. */
function lastsMs({ lastsMs: [leastMs, mostMs] = LASTS_MS, who }: Fault, { deadMs }: Stage): [number, number] {
  return [who === 'other' ? Math.max(leastMs, deadMs + 200) : leastMs, mostMs];
}

function judge(
  { pair, choice }: Stage,
  fault: Fault,
  scene: Scene,
  ownership: Ownership,
  before: Node,
  beginMs: number,
): void {
  const { now } = pair.sim;
  const { vip, owners } = ownership;
  // For a group whose active node is the other one, the fault is its counterpart: some bound holds, but not this one.
  const isMet = before === scene.active;
  // A planned change follows where a node takes its role back.
  const plannedMs = choice.preemptMs === undefined ? 0 : handover(scene);
  const limits = {
    nobody: Math.max(fault.nobodyMs(scene), plannedMs, isMet ? 0 : VIP_GONE_MS + 500),
    two: Math.max(fault.twoMs(scene), isMet ? 0 : VIP_GONE_MS),
  };
  for (const [who, count] of [
    ['nobody', 0],
    ['two', 2],
  ] as const) {
    const { ms, sinceMs } = ownership.longest(count, beginMs, now);
    if (ms > limits[who])
      pair.problem(
        `${who} answered for ${vip} for ${ms.toFixed(0)} ms from ${sinceMs.toFixed(0)} on; allowed: ${limits[who].toFixed(0)}`,
      );
  }
  if (!isMet || choice.preemptMs !== undefined) return;
  const who = fault.isLuck?.(scene) === true ? 'any' : fault.who;
  const wanted = who === 'any' ? owners[0] : who === 'other' ? before.peer : before;
  if (owners[0] !== wanted) pair.problem(`${vip} is on ${owners[0]?.name}, not on ${wanted?.name}`);
  const moves = ownership.moves(beginMs, now);
  const allowed = fault.moves ?? { stays: 0, other: 1, any: 2 }[who];
  if (moves > allowed) pair.problem(`${vip} moved ${moves} times`);
}

import type { Fault, Scene } from './fault.ts';
import { FAULTS } from './faults.ts';
import type { Ownership } from './ownership.ts';
import { type Outcome, Series } from './series.ts';
import { Stage } from './stage.ts';

/** Those that say what is left of them after their end. */
const CANDIDATES = FAULTS.filter((fault) => fault.tailMs !== undefined && fault.needs === undefined);
const MOST_FAULTS = 6;
/** All faults begin and end within this. */
const STORY_MS = 4_000;
const LONGEST_MS = 2_500;
/** After the last end: a VIP whose lifetime runs out, restarts, two dead times, connections that finish. */
const SETTLED_MS = 4_500;
const CALM_MS = 1_000;
/** A node has removed the VIPs so long after it was told. */
const CROSSED_MS = 10;
/** A planned change, with an `lbd` that is late. */
const PLANNED_MS = 90;

interface Occurrence {
  readonly fault: Fault;
  readonly scene: Scene;
  readonly beginMs: number;
  readonly endMs: number;
}

const series = new Series(
  (seed) => new Stage(seed),
  () => true,
  manyFaults,
);

/** The faults of a seed, on the pair of the seeds before it. */
export function manyFaultsOf(seed: number): Outcome {
  return series.outcomeOf(seed);
}

/**
 * Between one and six faults at once, in a pair that does not know where one ends and the next begins. What a single fault
 * may cost, `oneFault` judges; here a time without an owner or with two needs a fault that is under way or has just ended,
 * and where there is only one, it must be one that may cost that. In the end all is well.
 */
export function manyFaults(stage: Stage): void {
  const { pair, choice, ownerships } = stage;
  const { sim, random } = pair;
  pair.log(`several faults; ${JSON.stringify(choice)}, ${stage.tripMs} ms`);
  const active = stage.begin();
  if (active === undefined) return;
  const startMs = sim.now;
  const count = 1 + Math.floor(random() * MOST_FAULTS);
  const drawn = Array.from({ length: count }, () => occurrenceOf(stage, startMs));
  // Nothing is to be seen before the first one.
  const earlyMs = Math.min(...drawn.map(({ beginMs }) => beginMs)) - startMs;
  const occurrences = drawn.map((it) => ({
    ...it,
    beginMs: it.beginMs - earlyMs,
    endMs: it.endMs - earlyMs,
  }));
  for (const { fault, scene, beginMs, endMs } of occurrences) {
    const name = `${fault.name} (${scene.active.name} is meant)`;
    sim.at(beginMs, () => {
      pair.log(`-- ${name}`);
      fault.begin(scene);
    });
    sim.at(endMs, () => {
      pair.log(`-- over: ${name}`);
      fault.end?.(scene);
    });
  }
  const endMs = Math.max(...occurrences.map((it) => it.endMs));
  stage.run(endMs - sim.now);
  sim.after(0, () => makeWell(stage));
  const calmMs = stage.settle(SETTLED_MS + (choice.preemptMs ?? 0), CALM_MS);
  for (const ownership of ownerships) judge(stage, ownership, occurrences, startMs);
  stage.conclude(calmMs);
}

/** The node that a fault means may well be the standby by the time it begins. */
function occurrenceOf(stage: Stage, startMs: number): Occurrence {
  const { pair } = stage;
  const { random } = pair;
  const fault = CANDIDATES[Math.floor(random() * CANDIDATES.length)]!;
  const [leastMs, mostMs] = fault.lastsMs ?? [300, LONGEST_MS];
  const node = pair.nodes[random() < 0.5 ? 0 : 1];
  const scene = stage.scene(node, [Math.min(leastMs, LONGEST_MS), Math.min(mostMs, LONGEST_MS)]);
  const beginMs = startMs + random() * (STORY_MS - scene.lastsMs);
  return { fault, scene, beginMs, endMs: beginMs + scene.lastsMs };
}

/** One fault may have undone the end of another. */
function makeWell({ pair }: Stage): void {
  pair.log('-- all is made well');
  for (const node of pair.nodes) {
    const { machine, lbd } = node;
    machine.resume();
    if (!machine.on) node.powerOn();
    lbd.goOn();
    lbd.setHealthy(true);
    lbd.start();
    machine.paces.clear();
    node.start();
    for (const link of pair.network.links(machine))
      Object.assign(link, { cut: false, loss: 0, stalled: false });
  }
  pair.deaf.clear();
}

function judge(
  { pair, choice, tripMs }: Stage,
  ownership: Ownership,
  occurrences: readonly Occurrence[],
  startMs: number,
): void {
  const { now } = pair.sim;
  for (const [i, { sinceMs, owners }] of ownership.reigns.entries()) {
    const untilMs = ownership.reigns[i + 1]?.sinceMs ?? now;
    if (owners.length === 1 || untilMs < startMs) continue;
    const kind = owners.length === 0 ? 'nobody' : 'two';
    const blamed = occurrences.filter(
      ({ beginMs, endMs, fault }) => beginMs <= untilMs && sinceMs <= endMs + fault.tailMs![kind] + tripMs,
    );
    const [only] = blamed;
    // Where a node takes its role back, nobody has it for a moment long after the fault.
    const isPlanned =
      kind === 'nobody' && choice.preemptMs !== undefined && untilMs - sinceMs < PLANNED_MS + tripMs;
    // What the other one did was on its way when this one decided.
    const isCrossed = kind === 'two' && blamed.length > 0 && untilMs - sinceMs < 2 * tripMs + CROSSED_MS;
    if (isPlanned || isCrossed) continue;
    if (only === undefined)
      pair.problem(`${kind} answered for ${ownership.vip} at ${sinceMs.toFixed(0)}, and nothing was wrong`);
    else if (blamed.length === 1 && costs(only)[kind] === 0)
      pair.problem(
        `${kind} answered for ${ownership.vip} at ${sinceMs.toFixed(0)} only because ${only.fault.name}`,
      );
  }
}

function costs({ fault, scene }: Occurrence): { readonly nobody: number; readonly two: number } {
  if (fault.harmlessAlone) return { nobody: 0, two: 0 };
  const { nobody, two } = fault.tailMs!;
  return { nobody: Math.max(fault.nobodyMs(scene), nobody), two: Math.max(fault.twoMs(scene), two) };
}

import { processTree, usageOf } from '../process.ts';
import { median } from '../statistics.ts';
import type { Load } from './loads.ts';
import { originConnections } from './origin-status.ts';
import { complaints, type Outcome, outcomeOf } from './outcome.ts';
import { ready } from './probe.ts';
import type { Setup } from './setup.ts';
import { LOAD_CORE, type Running, type Stage } from './stage.ts';

/** What one unit of a load costs a proxy; medians of the runs. */
export interface CostRow {
  readonly proxy: string;
  readonly userUs: number;
  readonly systemUs: number;
  readonly totalUs: number;
  readonly perSecond: number;
  readonly units: number;
  /** Connections that the origin accepted in a run, health checks of all proxies among them. */
  readonly originConnections: number;
  /** What went wrong, in words. */
  readonly failures: readonly string[];
}

export interface Pace {
  readonly runs: number;
  readonly seconds: number;
}

/** A proxy that takes part in a comparison, under its name there. */
export interface Entry {
  readonly label: string;
  readonly running: Running;
}

/** Cost of a run: CPU time is read from the kernel in steps of 10 ms, so seconds of load make that small. */
interface Run {
  readonly userUs: number;
  readonly systemUs: number;
  readonly originConnections: number;
  readonly outcome: Outcome;
}

/** What is just-in-time compiled must have been, before it is compared. */
const WARM_UP_SECONDS = { native: 1, compiled: 2 };

/** @param skipped is told of each proxy that cannot take part, and why */
export async function cost(
  stage: Stage,
  load: Load,
  pace: Pace,
  skipped: (name: string, why: string) => void,
): Promise<CostRow[]> {
  return compare(stage, load, await enter(stage, load, skipped), pace);
}

/** Starts the origin and all proxies that can take part, and waits until they answer. */
export async function enter(
  stage: Stage,
  load: Load,
  skipped: (name: string, why: string) => void,
): Promise<Entry[]> {
  const setup: Setup = { listeners: [load.listener], features: load.features, workers: 1 };
  stage.origin(load.origin);
  const entries: Entry[] = [];
  for (const contender of load.contenders) {
    const why = contender.lacks(setup);
    if (why === undefined)
      entries.push({ label: contender.name, running: stage.proxy(contender, setup, entries.length) });
    else skipped(contender.name, why);
  }
  for (const { running } of entries) await ready(running, load.listener, load.path);
  return entries;
}

/** Runs a load on proxies that are ready, in turns (A B A B). */
export async function compare(
  stage: Stage,
  load: Load,
  entries: readonly Entry[],
  pace: Pace,
  core = LOAD_CORE,
): Promise<CostRow[]> {
  for (const { running } of entries) {
    const { warmsUp } = running.contender;
    const seconds = Math.min(pace.seconds, warmsUp ? WARM_UP_SECONDS.compiled : WARM_UP_SECONDS.native);
    await once(stage, load, running, seconds, core);
  }
  const runs = new Map<string, Run[]>(entries.map(({ label }) => [label, []]));
  for (let i = 0; i < pace.runs; i++)
    for (const { label, running } of entries)
      runs.get(label)!.push(await once(stage, load, running, pace.seconds, core));
  return entries.map(({ label }) => rowOf(label, runs.get(label)!, load.bytesOfUnit));
}

async function once(stage: Stage, load: Load, running: Running, seconds: number, core: string): Promise<Run> {
  const port = running.place.ports[load.listener];
  const argv = load.argv({ port, seconds, connections: load.connections, ca: stage.ca });
  const pids = processTree(running.pid);
  const connected = await originConnections();
  const before = usageOf(pids);
  const outcome = outcomeOf(await stage.load(argv, seconds, core));
  running.alive();
  const after = usageOf(pids);
  return {
    userUs: (after.userUs - before.userUs) / outcome.units,
    systemUs: (after.systemUs - before.systemUs) / outcome.units,
    originConnections: (await originConnections()) - connected,
    outcome,
  };
}

function rowOf(proxy: string, runs: readonly Run[], bytesOfUnit: number): CostRow {
  return {
    proxy,
    userUs: median(runs.map((run) => run.userUs)),
    systemUs: median(runs.map((run) => run.systemUs)),
    totalUs: median(runs.map((run) => run.userUs + run.systemUs)),
    perSecond: median(runs.map(({ outcome }) => outcome.units / outcome.seconds)),
    units: runs.reduce((sum, { outcome }) => sum + outcome.units, 0),
    originConnections: median(runs.map((run) => run.originConnections)),
    failures: runs.flatMap(({ outcome }) => complaints(outcome, bytesOfUnit)),
  };
}

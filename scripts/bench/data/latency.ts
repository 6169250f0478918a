import { median } from '../statistics.ts';
import { compare, enter, type Pace } from './cost.ts';
import { generator, LOADS } from './loads.ts';
import { type LatencyName, OFFERED } from './names.ts';
import { complaints, type Outcome, outcomeOf } from './outcome.ts';
import type { Stage } from './stage.ts';

/** Latency of one proxy under the load that all get; medians of the runs, in microseconds. */
export interface LatencyRow {
  readonly proxy: string;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  /** How late the generator itself was, at 99 %. */
  readonly lateP99Us: number;
  readonly perSecond: number;
  readonly failures: readonly string[];
}

export interface LatencyResult {
  /** Requests a second that were offered. */
  readonly rate: number;
  readonly rows: readonly LatencyRow[];
}

/** So many that one is idle whenever a request is due. */
const CONNECTIONS = 100;
/** Who saturates below this times the offered rate has no steady state under it. */
const HEADROOM = 1.25;
/** Of the offered rate, what must have been reached. */
const REACHED = 0.98;

/** @param skipped is told of each proxy that cannot take part, and why */
export async function latency(
  stage: Stage,
  name: LatencyName,
  pace: Pace,
  skipped: (name: string, why: string) => void,
): Promise<LatencyResult> {
  const load = LOADS[OFFERED[name]];
  const entries = await enter(stage, load, skipped);
  const saturated = await compare(stage, load, entries, { ...pace, runs: 1 });
  const saturation = new Map(saturated.map(({ proxy, perSecond }) => [proxy, perSecond]));
  const rate = Math.floor((saturation.get('haproxy') ?? saturation.get('lbd')!) / 2);
  const able = entries.filter(({ label }) => {
    const most = saturation.get(label)!;
    if (most >= rate * HEADROOM) return true;
    skipped(label, `${rate} requests a second are offered, and ${Math.floor(most)} saturate it`);
    return false;
  });
  const runs = new Map<string, Outcome[]>(able.map(({ label }) => [label, []]));
  for (let i = 0; i < pace.runs; i++)
    for (const { label, running } of able) {
      const order = {
        ...{ port: running.place.ports[load.listener], seconds: pace.seconds },
        ...{ connections: CONNECTIONS, ca: stage.ca },
      };
      const argv = [...generator('open-loop.ts', load.path, order), '--rate', String(rate)];
      if (load.listener === 'https') argv.push('--tls');
      runs.get(label)!.push(outcomeOf(await stage.load(argv, pace.seconds)));
    }
  return { rate, rows: able.map(({ label }) => rowOf(label, runs.get(label)!, rate)) };
}

function rowOf(proxy: string, runs: readonly Outcome[], rate: number): LatencyRow {
  const of = (pick: 'p50Us' | 'p99Us' | 'p999Us' | 'lateP99Us') =>
    median(runs.map((run) => run.latency![pick]));
  const perSecond = median(runs.map((run) => run.units / run.seconds));
  const failures = runs.flatMap((run) => complaints(run, 0));
  if (perSecond < rate * REACHED) failures.push(`${Math.floor(perSecond)} of ${rate} requests a second`);
  return {
    ...{ proxy, p50Us: of('p50Us'), p99Us: of('p99Us'), p999Us: of('p999Us'), lateP99Us: of('lateP99Us') },
    ...{ perSecond, failures },
  };
}

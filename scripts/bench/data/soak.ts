import { setInterval } from 'node:timers/promises';
import { processTree, residentBytes } from '../process.ts';
import { median } from '../statistics.ts';
import { lbd } from './lbd.ts';
import { type CostName, LOADS } from './loads.ts';
import { complaints, outcomeOf } from './outcome.ts';
import { ready } from './probe.ts';
import { SMALL_PATH } from './setup.ts';
import type { Stage } from './stage.ts';

export interface Sample {
  readonly seconds: number;
  readonly residentBytes: number;
}

export interface SoakResult {
  readonly minutes: number;
  /** Resident memory, in order of time. */
  readonly samples: readonly Sample[];
  /** Answers by kind of load. */
  readonly units: Readonly<Record<string, number>>;
  readonly failures: readonly string[];
}

/** All kinds of connections and bodies at the same time, each as fast as it gets answers. */
const MIX: readonly CostName[] = [
  ...(['http', 'close', 'download', 'upload', 'websocket', 'tls', 'tls-resumed', 'tcp'] as const),
];
const CONNECTIONS_EACH = 5;
const SAMPLES = 120;
const LEAST_PERIOD_MS = 500;

export async function soak(stage: Stage, minutes: number): Promise<SoakResult> {
  const seconds = Math.max(1, Math.round(minutes * 60));
  stage.origin('node');
  const running = stage.proxy(lbd, { listeners: ['http', 'https', 'tcp'], features: true, workers: 1 }, 0);
  for (const listener of ['http', 'https', 'tcp'] as const) await ready(running, listener, SMALL_PATH);
  const units: Record<string, number> = {};
  const failures: string[] = [];
  const loads = MIX.map(async (name) => {
    const load = LOADS[name];
    const port = running.place.ports[load.listener];
    const argv = load.argv({ port, seconds, connections: CONNECTIONS_EACH, ca: stage.ca });
    const outcome = outcomeOf(await stage.load(argv, seconds));
    units[name] = outcome.units;
    failures.push(...complaints(outcome, load.bytesOfUnit).map((complaint) => `${name}: ${complaint}`));
  });
  const samples: Sample[] = [];
  const over = new AbortController();
  const pids = processTree(running.pid);
  const beganMs = performance.now();
  const sampling = (async () => {
    const periodMs = Math.max(LEAST_PERIOD_MS, (seconds * 1000) / SAMPLES);
    try {
      for await (const _ of setInterval(periodMs, undefined, { signal: over.signal })) {
        running.alive();
        samples.push({
          seconds: (performance.now() - beganMs) / 1000,
          residentBytes: residentBytes(pids),
        });
      }
    } catch (error) {
      if (!over.signal.aborted) throw error;
    }
  })();
  try {
    await Promise.race([Promise.all(loads), sampling]);
  } finally {
    over.abort();
  }
  await sampling;
  return { minutes, samples, units, failures };
}

/**
 * How much memory grew: the median of the last quarter of the samples divided by that of the second quarter. In the
 * first one buffers, caches and compiled code come to be.
 *
 * @returns NaN with fewer than four samples
 */
export function growthOf(samples: readonly Sample[]): number {
  const quarter = Math.floor(samples.length / 4);
  const bytes = samples.map((sample) => sample.residentBytes);
  return median(bytes.slice(-quarter)) / median(bytes.slice(quarter, 2 * quarter));
}

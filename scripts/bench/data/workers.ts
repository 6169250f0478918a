import { type CostRow, compare, type Entry, type Pace } from './cost.ts';
import { haproxy } from './haproxy.ts';
import { lbd } from './lbd.ts';
import { LOADS } from './loads.ts';
import { nginx } from './nginx.ts';
import { ready } from './probe.ts';
import { BOTH_CORES, type Stage } from './stage.ts';

/** Label of a proxy with so many workers. */
export function workersLabel(proxy: string, workers: number): string {
  return `${proxy}, ${workers} worker${workers === 1 ? '' : 's'}`;
}

/**
 * One worker and two of each proxy, which share both cores with load and origin: what a second worker costs is seen in
 * the CPU time per request, not in requests a second, for which the load would need cores of its own.
 *
 * @param skipped is told of each proxy that cannot take part, and why
 */
export async function workers(
  stage: Stage,
  pace: Pace,
  skipped: (name: string, why: string) => void,
): Promise<CostRow[]> {
  const load = LOADS.http;
  stage.origin(load.origin, BOTH_CORES);
  const entries: Entry[] = [];
  for (const contender of [lbd, haproxy, nginx])
    for (const count of [1, 2]) {
      const setup = { listeners: [load.listener], features: load.features, workers: count };
      const why = contender.lacks(setup);
      const label = workersLabel(contender.name, count);
      if (why === undefined)
        entries.push({ label, running: stage.proxy(contender, setup, entries.length, BOTH_CORES) });
      else skipped(label, why);
    }
  for (const { running } of entries) await ready(running, load.listener, load.path);
  return compare(stage, load, entries, pace, BOTH_CORES);
}

import type { CostRow } from './cost.ts';
import type { MemoryRow } from './idle.ts';
import type { LatencyResult } from './latency.ts';
import type { CostName } from './loads.ts';
import type { LatencyName } from './names.ts';
import { growthOf, type SoakResult } from './soak.ts';
import { workersLabel } from './workers.ts';

/** What has been measured, by load; nothing for loads that were not run. */
export interface Results {
  readonly cost: Partial<Record<CostName | 'workers', readonly CostRow[]>>;
  readonly memory: Partial<Record<'idle' | 'idle-tls', readonly MemoryRow[]>>;
  readonly latency: Partial<Record<LatencyName, LatencyResult>>;
  soak?: SoakResult;
}

/** What the data plane is meant to reach: a ratio of two figures, and the most that it may be. */
export interface Target {
  readonly what: string;
  readonly most: number;
  /** @returns the ratio; undefined where it was not measured */
  ratio(results: Results): number | undefined;
}

export interface Verdict {
  readonly what: string;
  readonly most: number;
  readonly ratio: number | undefined;
  readonly says: 'met' | 'missed' | 'not measured';
}

/** Within it, memory counts as flat, but not before so many minutes: heaps take a while to fill. */
const FLAT = 1.05;
const LEAST_SOAK_MINUTES = 10;

export const TARGETS: readonly Target[] = [
  costTarget('kept-alive HTTP with all features, CPU', 'http', 'haproxy', 1.1),
  costTarget('kept-alive HTTP with all features, CPU', 'http', 'http-proxy-3', 0.25),
  costTarget('TLS kept alive, CPU', 'tls', 'haproxy', 1.35),
  costTarget('TCP relay, CPU', 'tcp', 'haproxy', 1.2),
  costTarget('1 MiB responses, CPU', 'download', 'haproxy', 1.3),
  {
    what: 'CPU per request, two workers ÷ one',
    most: 1.1,
    ratio: ({ cost }) => costRatio(cost.workers, workersLabel('lbd', 2), workersLabel('lbd', 1)),
  },
  {
    what: 'p99 at half of the saturation rate, lbd ÷ haproxy',
    most: 1.5,
    ratio: ({ latency }) => {
      const p99 = (proxy: string) => latency.latency?.rows.find((row) => row.proxy === proxy)?.p99Us;
      return quotient(p99('lbd'), p99('haproxy'));
    },
  },
  {
    what: 'ten minutes of mixed load, memory of the last quarter ÷ the second quarter',
    most: FLAT,
    ratio: ({ soak }) =>
      soak !== undefined && soak.minutes >= LEAST_SOAK_MINUTES ? finite(growthOf(soak.samples)) : undefined,
  },
];

export function verdicts(results: Results): Verdict[] {
  return TARGETS.map(({ what, most, ratio }) => {
    const measured = ratio(results);
    if (measured === undefined) return { what, most, ratio: undefined, says: 'not measured' };
    return { what, most, ratio: measured, says: measured <= most ? 'met' : 'missed' };
  });
}

/** What went wrong while measuring, one line each: figures beside it are worth nothing. */
export function failuresOf(results: Results): string[] {
  const found = Object.entries(results.cost).flatMap(([load, rows]) => failuresIn(load, rows));
  for (const [load, { rows }] of Object.entries(results.latency)) found.push(...failuresIn(load, rows));
  if (results.soak) found.push(...results.soak.failures.map((failure) => `soak: ${failure}`));
  return found;
}

function failuresIn(
  load: string,
  rows: readonly { readonly proxy: string; readonly failures: readonly string[] }[],
): string[] {
  return rows.flatMap(({ proxy, failures }) => failures.map((failure) => `${load}, ${proxy}: ${failure}`));
}

function costTarget(what: string, load: CostName, peer: string, most: number): Target {
  return {
    what: `${what}, lbd ÷ ${peer}`,
    most,
    ratio: ({ cost }) => costRatio(cost[load], 'lbd', peer),
  };
}

function costRatio(rows: readonly CostRow[] | undefined, one: string, other: string): number | undefined {
  const total = (proxy: string) => rows?.find((row) => row.proxy === proxy)?.totalUs;
  return quotient(total(one), total(other));
}

function quotient(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || other === undefined ? undefined : finite(one / other);
}

function finite(value: number): number | undefined {
  return Number.isFinite(value) ? value : undefined;
}

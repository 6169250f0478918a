import { finite, judge, quotient, type Target, type Verdict } from '../targets.ts';
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

/** Within it, memory counts as flat, but not before so many minutes: heaps take a while to fill. */
const FLAT = 1.05;
const LEAST_SOAK_MINUTES = 10;

const TARGETS: readonly Target<Results>[] = [
  costTarget('kept-alive HTTP with all features, CPU', 'http', 'haproxy', 1.1),
  costTarget('kept-alive HTTP with all features, CPU', 'http', 'http-proxy-3', 0.25),
  costTarget('TLS kept alive, CPU', 'tls', 'haproxy', 1.35),
  costTarget('HTTP/2 over TLS, CPU', 'h2', 'haproxy', 1.1),
  costTarget('HTTP/2 in the clear, CPU', 'h2c', 'haproxy', 1.1),
  costTarget('HTTP/2 on both sides, CPU', 'h2-h2', 'haproxy', 1.2),
  costTarget('1 MiB responses by HTTP/2, CPU', 'h2-download', 'haproxy', 1),
  costTarget('TCP relay, CPU', 'tcp', 'haproxy', 1.2),
  costTarget('1 MiB responses, CPU', 'download', 'haproxy', 1.3),
  {
    what: 'CPU per request, two workers ÷ one',
    bound: { most: 1.1 },
    value: ({ cost }) => costRatio(cost.workers, workersLabel('lbd', 2), workersLabel('lbd', 1)),
  },
  {
    what: 'p99 at half of the saturation rate, lbd ÷ haproxy',
    bound: { most: 1.5 },
    value: ({ latency }) => {
      const p99 = (proxy: string) => latency.latency?.rows.find((row) => row.proxy === proxy)?.p99Us;
      return quotient(p99('lbd'), p99('haproxy'));
    },
  },
  {
    what: 'ten minutes of mixed load, memory of the last quarter ÷ the second quarter',
    bound: { most: FLAT },
    value: ({ soak }) =>
      soak !== undefined && soak.minutes >= LEAST_SOAK_MINUTES ? finite(growthOf(soak.samples)) : undefined,
  },
];

export function verdicts(results: Results): Verdict[] {
  return judge(TARGETS, results);
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

function costTarget(what: string, load: CostName, peer: string, most: number): Target<Results> {
  return {
    what: `${what}, lbd ÷ ${peer}`,
    bound: { most },
    value: ({ cost }) => costRatio(cost[load], 'lbd', peer),
  };
}

function costRatio(rows: readonly CostRow[] | undefined, one: string, other: string): number | undefined {
  const total = (proxy: string) => rows?.find((row) => row.proxy === proxy)?.totalUs;
  return quotient(total(one), total(other));
}

import type { Report } from '../data/report.ts';
import type { Contender } from './contenders.ts';
import { KERNEL_LOADS, type KernelLoad, type KernelRow, LOADS } from './cost.ts';
import type { MovesFigures } from './moves.ts';
import type { SyncFigures } from './sync.ts';

/** What was measured; nothing for what was not run. */
export interface KernelResults {
  readonly cost: Partial<Record<KernelLoad, readonly KernelRow[]>>;
  moves?: MovesFigures;
  sync?: SyncFigures;
}

export interface KernelTarget {
  readonly what: string;
  readonly bound: { readonly least: number } | { readonly most: number };
  /** @returns undefined where it was not measured */
  value(results: KernelResults): number | undefined;
}

export interface KernelVerdict {
  readonly what: string;
  readonly bound: string;
  readonly measured: number | undefined;
  readonly says: 'met' | 'missed' | 'not measured';
}

export const SYNC_LAG_MS = 100;

export const KERNEL_TARGETS: readonly KernelTarget[] = [
  rateTarget('requests/s kept alive', 'requests', 'haproxy', 1.4),
  rateTarget('new connections/s', 'connections', 'haproxy', 1.4),
  rateTarget('throughput', 'throughput', 'haproxy', 1.7),
  rateTarget('throughput', 'throughput', 'direct', 0.8),
  {
    what: 'flow sync, p99 of the lag in ms at the wanted rate',
    bound: { most: SYNC_LAG_MS },
    value: ({ sync }) => sync?.lagP99Ms,
  },
];

export function kernelVerdicts(results: KernelResults): KernelVerdict[] {
  return KERNEL_TARGETS.map(({ what, bound, value }) => {
    const text = 'least' in bound ? `≥ ${bound.least}` : `≤ ${bound.most}`;
    const measured = value(results);
    if (measured === undefined) return { what, bound: text, measured, says: 'not measured' };
    const isMet = 'least' in bound ? measured >= bound.least : measured <= bound.most;
    return { what, bound: text, measured, says: isMet ? 'met' : 'missed' };
  });
}

/** What went wrong while measuring, one line each. */
export function kernelFailures({ cost, moves, sync }: KernelResults): string[] {
  const lines = KERNEL_LOADS.flatMap((load) =>
    (cost[load] ?? []).flatMap(({ contender, failures }) =>
      failures.map((failure) => `${load}, ${contender}: ${failure}`),
    ),
  );
  for (const [part, figures] of Object.entries({ moves, sync }))
    for (const failure of figures?.failures ?? []) lines.push(`${part}: ${failure}`);
  return lines;
}

export function costTable(load: KernelLoad, rows: readonly KernelRow[]): Report {
  const rate = (name: Contender) => rows.find(({ contender }) => contender === name)?.perSecond;
  return {
    title: `${load}: ${LOADS[load].title}`,
    head: [
      ...['balancer', 'answers/s', 'Gbit/s', 'machine µs/answer', 'balancer’s processes µs', 'idle'],
      ...['failed', '× HAProxy', '× direct'],
    ],
    rows: rows.map((row) => [
      ...[row.contender, row.perSecond.toFixed(0), row.gbitPerSecond.toFixed(2), row.machineUs.toFixed(1)],
      ...[row.balancerUs.toFixed(1), `${(100 * row.idle).toFixed(0)} %`, row.failures.join(', ') || '0'],
      ...[ratio(row.perSecond, rate('haproxy')), ratio(row.perSecond, rate('direct'))],
    ]),
  };
}

export function kernelSummary(found: readonly KernelVerdict[]): Report {
  return {
    title: 'Targets',
    head: ['target', 'bound', 'measured', ''],
    rows: found.map(({ what, bound, measured, says }) => [what, bound, measured?.toFixed(2) ?? '–', says]),
  };
}

function rateTarget(what: string, load: KernelLoad, peer: Contender, least: number): KernelTarget {
  return {
    what: `${what}, kernel engine ÷ ${peer}`,
    bound: { least },
    value: ({ cost }) => {
      const rate = (name: Contender) => cost[load]?.find(({ contender }) => contender === name)?.perSecond;
      const [one, other] = [rate('kernel'), rate(peer)];
      return one === undefined || other === undefined ? undefined : one / other;
    },
  };
}

function ratio(one: number, other: number | undefined): string {
  return other === undefined ? '–' : (one / other).toFixed(2);
}

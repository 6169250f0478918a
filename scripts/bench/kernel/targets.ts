import type { Report } from '../data/report.ts';
import { judge, quotient, type Target, type Verdict } from '../targets.ts';
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

export const SYNC_LAG_MS = 100;

const TARGETS: readonly Target<KernelResults>[] = [
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

export function kernelVerdicts(results: KernelResults): Verdict[] {
  return judge(TARGETS, results);
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

function rateTarget(what: string, load: KernelLoad, peer: Contender, least: number): Target<KernelResults> {
  return {
    what: `${what}, kernel engine ÷ ${peer}`,
    bound: { least },
    value: ({ cost }) => {
      const rate = (name: Contender) => cost[load]?.find(({ contender }) => contender === name)?.perSecond;
      return quotient(rate('kernel'), rate(peer));
    },
  };
}

function ratio(one: number, other: number | undefined): string {
  return other === undefined ? '–' : (one / other).toFixed(2);
}

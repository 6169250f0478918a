import { broken } from '../lab/demo-text.ts';
import { FAULTS, type FaultName } from '../lab/faults.ts';
import { type FaultResult, resolvedMs } from '../lab/scenario.ts';
import { quantile } from './statistics.ts';

/** All runs of one fault against one make of pair. */
export interface Row {
  readonly make: 'Tandem' | 'keepalived';
  readonly fault: FaultName;
  readonly heartbeatMs: number;
  readonly results: readonly FaultResult[];
}

/** What the worst of 20 runs has to reach at a heartbeat every 100 ms × 3, in milliseconds. */
const TARGETS: Readonly<Partial<Record<FaultName, string>>> = {
  cut: '≤ 330',
  'agent-kill': '≤ 50, never two owners',
  'agent-stop': '≤ 350, two owners ≤ 20',
  'lb-kill': '≤ 50',
  'lb-stop': '≤ 500',
  'node-stop': '≤ 350, serves nothing on waking',
  switchover: '0, nothing broken',
  split: 'one owner ≤ 150 after the heal',
};
const FAST_TARGETS: typeof TARGETS = { cut: '≤ 40' };

const HEAD = [
  'fault on the active node',
  'heartbeat',
  'pair',
  'runs',
  'to reach',
  'blackout ms',
  'VIP gone ms',
  'two owners ms',
  'one owner after the end ms',
  'open connections broken, of 20',
  'runs with something not as it must be',
];

/** Figures of one run, for programs. */
export function figures(result: FaultResult): object {
  return {
    blackout_ms: result.probe.blackoutMs,
    takeover_ms: result.takeoverMs,
    vip_gone_ms: result.vipGoneMs ?? null,
    two_owners_ms: result.twoOwnersMs,
    resolved_ms: resolvedMs(result) ?? null,
    requests: result.probe.requests,
    failures: result.probe.failures,
    kept_alive_broken: result.keptAlive.broken,
    broken: broken(result),
  };
}

/** A Markdown table of all rows; each figure is the median, what 95 % stay below, and the worst. */
export function tableOf(rows: readonly Row[]): string {
  const lines = [HEAD, HEAD.map(() => '---'), ...rows.map(cells)];
  return `median / 95 % / worst\n\n${lines.map((line) => `| ${line.join(' | ')} |`).join('\n')}`;
}

function cells({ make, fault, heartbeatMs, results }: Row): string[] {
  const target = heartbeatMs === 100 ? TARGETS[fault] : heartbeatMs === 10 ? FAST_TARGETS[fault] : undefined;
  return [
    make === 'Tandem' ? FAULTS[fault].title : '',
    `${heartbeatMs} ms`,
    make === 'Tandem' ? make : 'keepalived + HAProxy',
    String(results.length),
    target ?? '',
    spread(results.map(({ probe }) => probe.blackoutMs)),
    spread(results.flatMap(({ vipGoneMs }) => vipGoneMs ?? [])),
    `${spread(results.map(({ twoOwnersMs }) => twoOwnersMs))}${lasting(results)}`,
    spread(results.flatMap((result) => resolvedMs(result) ?? [])),
    spread(results.map(({ keptAlive }) => keptAlive.broken)),
    `${results.filter((result) => broken(result).length > 0).length}${reasons(results)}`,
  ];
}

/** Where both still had it when the watch ended, the time is a lower bound. */
function lasting(results: readonly FaultResult[]): string {
  const open = results.filter(({ holders }) => holders.length > 1).length;
  return open === 0 ? '' : ` (${open} of ${results.length} without end)`;
}

/** Each reason once, without its figures. */
function reasons(results: readonly FaultResult[]): string {
  const texts = new Set(
    results.flatMap(broken).map((line) => line.replaceAll(/lb\d/g, 'a node').replace(/ for \d+ ms/, '')),
  );
  return texts.size === 0 ? '' : ` (${[...texts].join('; ')})`;
}

function spread(values: readonly number[]): string {
  if (values.length === 0) return '–';
  return [0.5, 0.95, 1].map((share) => Math.round(quantile(values, share))).join(' / ');
}

import type { Report } from '../data/report.ts';
import { median } from '../statistics.ts';
import type { Window } from './visitors.ts';

/** One round: a window without a flood, one with the control, one with the flood. */
export interface Round {
  readonly quiet: Window;
  readonly control: Window;
  readonly flood: Window;
}

/** What one attack did. */
export interface Row {
  readonly name: string;
  readonly by: string;
  readonly rounds: readonly Round[];
  /** Datagrams or connections a second. */
  readonly perSecond: number;
  /** Processor time of both daemons of the active node in the floods, and in the quiet, in percent of one processor. */
  readonly processor: { readonly flood: number; readonly quiet: number };
  /** How often the VIP changed its owner. */
  readonly moves: number;
}

/** Quotients of p99 of the rounds: median, lowest, highest. */
export function ratio(rounds: readonly Round[], to: 'quiet' | 'control'): readonly number[] {
  const ratios = rounds.map((round) => round.flood.p99Us / round[to].p99Us);
  return [median(ratios), Math.min(...ratios), Math.max(...ratios)];
}

export function tableOf(rows: readonly Row[]): Report {
  return {
    title:
      'p99 of traffic under floods: with / without, and with / with the control; median (lowest to highest round)',
    head: [
      'flood',
      'by',
      'a second',
      'p99 without, ms',
      'with, ms',
      'with / without',
      'with / control',
      'daemons, % of a processor',
      'failed requests',
      'VIP moved',
    ],
    rows: rows.map(cells),
  };
}

function cells({ name, by, rounds, perSecond, processor, moves }: Row): string[] {
  const p99 = (which: keyof Round) => (median(rounds.map((round) => round[which].p99Us)) / 1000).toFixed(2);
  return [
    name,
    by,
    String(Math.round(perSecond)),
    p99('quiet'),
    p99('flood'),
    spread(ratio(rounds, 'quiet')),
    spread(ratio(rounds, 'control')),
    `${Math.round(processor.quiet)} → ${Math.round(processor.flood)}`,
    failures(rounds),
    moves === 0 ? 'never' : `${moves} times`,
  ];
}

function spread([middle, lowest, highest]: readonly number[]): string {
  return `${middle!.toFixed(2)} (${lowest!.toFixed(2)} to ${highest!.toFixed(2)})`;
}

/** In floods; those of the other windows are told apart, as they are no finding about a flood. */
function failures(rounds: readonly Round[]): string {
  const of = (which: keyof Round) => {
    const causes: Record<string, number> = {};
    for (const round of rounds)
      for (const [cause, count] of Object.entries(round[which].failures))
        causes[cause] = (causes[cause] ?? 0) + count;
    return Object.entries(causes).map(([cause, count]) => `${count} × ${cause}`);
  };
  const elsewhere = [...of('quiet'), ...of('control')];
  const without = elsewhere.length > 0 ? `; without the flood: ${elsewhere.join(', ')}` : '';
  return `${of('flood').join(', ') || '0'}${without}`;
}

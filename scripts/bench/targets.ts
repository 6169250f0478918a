import type { Report } from './data/report.ts';

/** At most, or at least. */
export type Bound = { readonly most: number } | { readonly least: number };

/** What is meant to be reached: a figure made of what a benchmark measured, and its bound. */
export interface Target<R> {
  readonly what: string;
  readonly bound: Bound;
  /** @returns undefined where it was not measured */
  value(results: R): number | undefined;
}

export interface Verdict {
  readonly what: string;
  readonly bound: Bound;
  readonly measured: number | undefined;
  readonly says: 'met' | 'missed' | 'not measured';
}

export function judge<R>(targets: readonly Target<R>[], results: R): Verdict[] {
  return targets.map(({ what, bound, value }) => {
    const measured = value(results);
    return { what, bound, measured, says: says(bound, measured) };
  });
}

function says(bound: Bound, measured: number | undefined): Verdict['says'] {
  if (measured === undefined) return 'not measured';
  const isMet = 'least' in bound ? measured >= bound.least : measured <= bound.most;
  return isMet ? 'met' : 'missed';
}

/** Targets with what was measured. */
export function summary(found: readonly Verdict[]): Report {
  return {
    title: 'Targets',
    head: ['target', 'bound', 'measured', ''],
    rows: found.map(({ what, bound, measured, says }) => [
      what,
      'least' in bound ? `≥ ${bound.least}` : `≤ ${bound.most}`,
      measured?.toFixed(2) ?? '–',
      says,
    ]),
  };
}

/** @returns undefined where one of them is not known, or they have no ratio */
export function quotient(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || other === undefined ? undefined : finite(one / other);
}

/** @returns undefined in the place of what is no number */
export function finite(value: number): number | undefined {
  return Number.isFinite(value) ? value : undefined;
}

import type { Report } from '../data/report.ts';

/** What clients of one kind saw since they were marked. */
export interface KindReport {
  readonly flows: number;
  /** Ended, for whatever cause. */
  readonly resets: number;
  readonly causes: readonly string[];
  /** Not ended, but not answered any more either. */
  readonly lost: number;
  /** Answered by another backend than before. */
  readonly wrong: number;
  /** Longest time between two answers. */
  readonly pauseMs: number;
}

/** What `clients.ts` says. */
export interface ClientsReport {
  readonly kinds: Readonly<Record<'echo' | 'download' | 'datagrams', KindReport>>;
  /** Different backends that serve. */
  readonly backends: number;
  readonly tookMs: number;
}

/** What one fault did to all flows. */
export interface FaultReport {
  readonly fault: string;
  readonly clients: ClientsReport;
  /** Flows in the active node's kernel before, and in that of the new one after. */
  readonly before: number;
  readonly after: number;
  /** By program: empty where its connections went on, else what it said; programs that are missing are left out. */
  readonly programs: Readonly<
    Record<string, { readonly trouble: string; readonly pauseMs: number | undefined }>
  >;
}

/** What must not be, one line each. */
export function flowFailures(reports: readonly FaultReport[]): string[] {
  return reports.flatMap(({ fault, clients, programs }) => [
    ...Object.entries(clients.kinds).flatMap(([kind, { resets, causes, lost, wrong }]) => [
      ...(resets > 0 ? [`${fault}: ${resets} ${kind} flows ended: ${causes.join(', ')}`] : []),
      ...(lost > 0 ? [`${fault}: ${lost} ${kind} flows lost`] : []),
      ...(wrong > 0 ? [`${fault}: ${wrong} ${kind} flows at another backend`] : []),
    ]),
    ...Object.entries(programs).flatMap(([name, { trouble }]) =>
      trouble === '' ? [] : [`${fault}: ${name}: ${trouble}`],
    ),
  ]);
}

export function flowTable(reports: readonly FaultReport[]): Report {
  const names = [...new Set(reports.flatMap(({ programs }) => Object.keys(programs)))];
  const sum = ({ clients }: FaultReport, of: (kind: KindReport) => number) =>
    String(Object.values(clients.kinds).reduce((total, kind) => total + of(kind), 0));
  const ms = (value: number | undefined) => (value === undefined ? '' : ` ${value.toFixed(0)}`);
  const [first] = reports;
  const flows = first === undefined ? '' : `, ${sum(first, (kind) => kind.flows)} flows`;
  return {
    title: `flows across faults${flows}; longest pause in ms`,
    head: [
      ...['fault', 'in the kernel', 'resets', 'lost', 'wrong backend', 'pause: echo', 'one-way', 'datagrams'],
      ...names,
    ],
    rows: reports.map((report) => [
      report.fault,
      `${report.before} → ${report.after}`,
      sum(report, ({ resets }) => resets),
      sum(report, ({ lost }) => lost),
      sum(report, ({ wrong }) => wrong),
      ...(['echo', 'download', 'datagrams'] as const).map((kind) =>
        report.clients.kinds[kind].pauseMs.toFixed(0),
      ),
      ...names.map((name) => {
        const found = report.programs[name];
        return found === undefined ? '–' : found.trouble === '' ? `ok${ms(found.pauseMs)}` : 'broken';
      }),
    ]),
  };
}

import type { HealthReport } from './target-check.ts';

/** Addresses that a line names; more only make it unreadable. */
const MAX_NAMED = 3;
/** As many as of one address. */
const MAX_CHECKS = 10;

/** What is known of one address of a backend. */
export interface AddressReport {
  readonly address: string;
  readonly report: HealthReport;
}

/**
 * What the checks of all addresses of a backend add up to. It is healthy while one of them is: the others get no clients.
 * It asks for a drain when all that are healthy do.
 *
 * @param sinceMs when that began
 * @param nowhere why it has no address; undefined: its name is being resolved
 */
export function joined(
  reports: readonly AddressReport[],
  sinceMs: number,
  nowhere: string | undefined,
): HealthReport {
  if (reports.length === 0) return withoutAddress(sinceMs, nowhere);
  if (reports.length === 1) return { ...reports[0]!.report, sinceMs };
  const healthy = reports.filter(({ report }) => report.state === 'healthy');
  const failing = reports.filter(({ report }) => report.state === 'unhealthy');
  const unknown = reports.length - healthy.length - failing.length;
  return {
    state: healthy.length > 0 ? 'healthy' : unknown > 0 ? 'unknown' : 'unhealthy',
    drainRequested: healthy.length > 0 && healthy.every(({ report }) => report.drainRequested),
    why: [
      ...(healthy.length > 0 ? [healthy[0]!.report.why] : []),
      ...(failing.length > 0 ? [failingText(failing, reports.length)] : []),
      ...(healthy.length + failing.length === 0 ? [reports[0]!.report.why] : []),
    ].join('; '),
    sinceMs,
    checks: reports
      .flatMap(({ address, report: { checks } }) =>
        checks.slice(0, 1).map((check) => ({ ...check, detail: `${address}: ${check.detail}` })),
      )
      .slice(0, MAX_CHECKS),
    failingChecks: [...new Set(reports.flatMap(({ report }) => report.failingChecks))],
  };
}

/** Whether nothing differs that others go by. */
export function sameReport(a: HealthReport, b: HealthReport): boolean {
  return (
    a.state === b.state &&
    a.drainRequested === b.drainRequested &&
    a.leadsBack === b.leadsBack &&
    a.failingChecks.join('\n') === b.failingChecks.join('\n')
  );
}

function failingText(failing: readonly AddressReport[], all: number): string {
  const shown = failing.slice(0, MAX_NAMED).map(({ address, report }) => `${address}: ${report.why}`);
  const more = failing.length - shown.length;
  const what = failing.length === 1 ? 'addresses fails' : 'addresses fail';
  return `${failing.length} of ${all} ${what}: ${shown.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

function withoutAddress(sinceMs: number, nowhere: string | undefined): HealthReport {
  return {
    state: nowhere === undefined ? 'unknown' : 'unhealthy',
    drainRequested: false,
    why: nowhere ?? 'waiting for the address of its host name',
    sinceMs,
    checks: [],
    failingChecks: [],
  };
}

import Table from 'cli-table3';
import type { CostRow } from './cost.ts';
import type { MemoryRow } from './idle.ts';
import type { LatencyResult } from './latency.ts';
import { LOADS } from './loads.ts';
import { LOAD_HELP, type LoadName } from './names.ts';
import { growthOf, type SoakResult } from './soak.ts';
import type { Results } from './targets.ts';

/** A table as text cells, to be drawn in one of two ways. */
export interface Report {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

const MIB = 1 << 20;
/** Lines of a soak's table; there are more samples. */
const SOAK_LINES = 10;
const UNKNOWN = '–';

/** @returns the table of one load; undefined where it was not measured */
export function reportOf(name: LoadName, results: Results): Report | undefined {
  const title = `${name}: ${LOAD_HELP[name]}`;
  switch (name) {
    case 'latency':
    case 'latency-tls':
    case 'latency-tcp': {
      const found = results.latency[name];
      return found && latencyReport(title, found);
    }
    case 'soak':
      return results.soak && soakReport(title, results.soak);
    case 'idle':
    case 'idle-tls': {
      const rows = results.memory[name];
      return rows && memoryReport(title, rows);
    }
    case 'workers': {
      const rows = results.cost[name];
      return rows && costReport(title, 'request', rows, (row) => row.proxy.replace(/^\S+,/, 'haproxy,'));
    }
    default: {
      const rows = results.cost[name];
      return rows && costReport(title, LOADS[name].unit, rows, () => 'haproxy');
    }
  }
}

/** For a terminal. */
export function drawn({ title, head, rows }: Report): string {
  const table = new Table({ head: [...head], style: { head: [], border: [] } });
  table.push(...rows.map((row) => [...row]));
  return `${title}\n${table}`;
}

/** For a file. */
export function markdown({ title, head, rows }: Report): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [`### ${title}`, '', line(head), line(head.map(() => '---')), ...rows.map(line), ''].join('\n');
}

function costReport(
  title: string,
  unit: string,
  rows: readonly CostRow[],
  reference: (row: CostRow) => string,
): Report {
  return {
    title,
    head: [
      ...['proxy', `user µs/${unit}`, `system µs/${unit}`, `total µs/${unit}`],
      ...[`${unit}s/s`, `${unit}s`, 'origin connections', 'failed', '× HAProxy'],
    ],
    rows: rows.map((row) => [
      ...[row.proxy, figure(row.userUs), figure(row.systemUs), figure(row.totalUs)],
      ...[row.perSecond.toFixed(0), String(row.units), String(row.originConnections)],
      row.failures.join(', ') || '0',
      ratio(row.totalUs, rows.find(({ proxy }) => proxy === reference(row))?.totalUs),
    ]),
  };
}

function latencyReport(title: string, { rate, rows }: LatencyResult): Report {
  const reference = rows.find(({ proxy }) => proxy === 'haproxy')?.p99Us;
  return {
    title: `${title}: ${rate} requests/s`,
    head: [
      ...['proxy', 'p50 µs', 'p99 µs', 'p99.9 µs', 'generator late p99 µs'],
      ...['requests/s', 'failed', 'p99 × HAProxy'],
    ],
    rows: rows.map((row) => [
      ...[row.proxy, row.p50Us.toFixed(0), row.p99Us.toFixed(0), row.p999Us.toFixed(0)],
      ...[row.lateP99Us.toFixed(0), row.perSecond.toFixed(0), row.failures.join(', ') || '0'],
      ratio(row.p99Us, reference),
    ]),
  };
}

function memoryReport(title: string, rows: readonly MemoryRow[]): Report {
  const reference = rows.find(({ proxy }) => proxy === 'haproxy')?.addedBytes;
  return {
    title,
    head: ['proxy', 'MiB without', 'MiB per 1,000', '× HAProxy'],
    rows: rows.map((row) => [
      ...[row.proxy, (row.restBytes / MIB).toFixed(1), (row.addedBytes / MIB).toFixed(2)],
      ratio(row.addedBytes, reference),
    ]),
  };
}

function soakReport(title: string, { minutes, samples, units, failures }: SoakResult): Report {
  const total = Object.values(units).reduce((sum, count) => sum + count, 0);
  const step = Math.max(1, Math.floor(samples.length / SOAK_LINES));
  const shown = samples.filter((_, i) => (samples.length - 1 - i) % step === 0);
  const growth = growthOf(samples);
  return {
    title: `${title}: lbd, ${minutes} min, ${total} answers, ${failures.length} failures, last quarter ÷ second ${
      Number.isNaN(growth) ? UNKNOWN : growth.toFixed(3)
    }`,
    head: ['after s', 'MiB resident'],
    rows: shown.map((sample) => [sample.seconds.toFixed(0), (sample.residentBytes / MIB).toFixed(1)]),
  };
}

function figure(value: number): string {
  return Number.isFinite(value) ? value.toFixed(1) : UNKNOWN;
}

function ratio(one: number, other: number | undefined): string {
  const quotient = other === undefined ? Number.NaN : one / other;
  return Number.isFinite(quotient) ? quotient.toFixed(2) : UNKNOWN;
}

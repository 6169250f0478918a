const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;
/** Those that people write besides. */
const WRITTEN_MS = { ...UNIT_MS, d: 86_400_000, w: 604_800_000 } as const;
const UNIT_BYTES = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const;

/** A duration as it is written in the config: a whole number and its unit. */
export const DURATION = /^(\d{1,9})(ms|s|m|h|d|w)$/;
/** A size as it is written in the config: a whole number and its IEC unit. */
export const SIZE = /^(\d{1,9})(B|KiB|MiB|GiB)$/;

/** @returns milliseconds of a duration such as `100ms`, `10s`, `5m`, `1h`, `1d` or `1w`; undefined where it is none */
export function parseDuration(text: string): number | undefined {
  const [, count, unit] = DURATION.exec(text) ?? [];
  return unit === undefined ? undefined : Number(count) * WRITTEN_MS[unit as keyof typeof WRITTEN_MS];
}

/** @returns bytes of a size such as `64KiB` or `1MiB`; undefined where it is none */
export function parseSize(text: string): number | undefined {
  const [, count, unit] = SIZE.exec(text) ?? [];
  return unit === undefined ? undefined : Number(count) * UNIT_BYTES[unit as keyof typeof UNIT_BYTES];
}

/** The shortest text that `parseDuration` turns into `ms` again. */
export function formatDuration(ms: number): string {
  return largestUnit(ms, UNIT_MS, 'ms');
}

/** A span of time as people say it, two units at most. */
export function formatAge(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)}ms`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m ${seconds % 60}s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours}h ${minutes % 60}m` : `${Math.floor(hours / 24)}d ${hours % 24}h`;
}

/** The shortest text that `parseSize` turns into `bytes` again. */
export function formatSize(bytes: number): string {
  return largestUnit(bytes, UNIT_BYTES, 'B');
}

function largestUnit(value: number, units: Readonly<Record<string, number>>, smallest: string): string {
  let best = smallest;
  for (const [unit, factor] of Object.entries(units)) if (value > 0 && value % factor === 0) best = unit;
  return `${value / units[best]!}${best}`;
}

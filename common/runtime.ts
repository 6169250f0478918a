/** What a daemon runs on. */
export interface RuntimeStatus {
  /** Such as `Node`. */
  readonly name: string;
  readonly version: string;
  readonly openssl: string;
}

export function ownRuntime(): RuntimeStatus {
  return { name: 'Node', version: process.versions.node, openssl: process.versions.openssl };
}

/** The oldest Node without a hole that was known when this release was made, and the day on which it came out. */
export const PATCHED = { version: '26.10.0', released: '2026-09-22' } as const;

/** Node has security releases every few months; one this old has missed some. */
const OLD_DAYS = 180;
const DAY_MS = 86_400_000;

/**
 * @param now wall clock; it decides about this line alone
 * @returns why an operator should look for another runtime, in one line
 */
export function runtimeWarning({ name, version }: RuntimeStatus, now: Date): string | undefined {
  if (compare(version, PATCHED.version) < 0)
    return `${name} ${version} is older than ${PATCHED.version} of ${PATCHED.released}, so holes are known in it: scripts/upgrade-pair --runtime`;
  if (version !== PATCHED.version) return undefined;
  const days = Math.floor((now.getTime() - Date.parse(PATCHED.released)) / DAY_MS);
  return days > OLD_DAYS
    ? `${name} ${version} is ${days} days old: look for a newer release of Tandem or of ${name}`
    : undefined;
}

/** Versions `MAJOR.MINOR.PATCH`; what follows a "-" does not count. */
function compare(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => text.split('-')[0]!.split('.').map(Number));
  return [0, 1, 2].map((i) => (left![i] ?? 0) - (right![i] ?? 0)).find((difference) => difference !== 0) ?? 0;
}

/** One attempt of the probe: when it started (monotonic milliseconds) and how it ended. */
export interface Attempt {
  readonly startMs: number;
  /** Empty for success, else the cause. */
  readonly failure: string;
}

export interface Blackout {
  readonly requests: number;
  readonly failures: number;
  /** From the first of the longest run of failing starts to the next start that succeeded. 0: none failed. */
  readonly blackoutMs: number;
  /** When that run began, monotonic milliseconds; 0 where there is none. */
  readonly atMs: number;
  /** Number of failures by cause. */
  readonly causes: Readonly<Record<string, number>>;
}

/**
 * What clients saw, from attempts that started one after the other. A run that has not ended counts up to the last
 * start, so it is a lower bound then.
 */
export function blackoutOf(attempts: readonly Attempt[]): Blackout {
  const ordered = attempts.toSorted((a, b) => a.startMs - b.startMs);
  const causes: Record<string, number> = {};
  let failures = 0;
  let blackoutMs = 0;
  let atMs = 0;
  let runStart: number | undefined;
  for (const { startMs, failure } of ordered) {
    if (runStart !== undefined && startMs - runStart > blackoutMs) {
      blackoutMs = startMs - runStart;
      atMs = runStart;
    }
    if (failure === '') {
      runStart = undefined;
      continue;
    }
    failures++;
    causes[failure] = (causes[failure] ?? 0) + 1;
    runStart ??= startMs;
  }
  return { requests: ordered.length, failures, blackoutMs, atMs, causes };
}

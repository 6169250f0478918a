/** What a load generator prints as its last line, in JSON. */
export interface Outcome {
  /** Requests, messages or connections that were answered in full. */
  readonly units: number;
  /** That the clients read. */
  readonly bytes?: number;
  readonly seconds: number;
  /** What went wrong, counted by cause. */
  readonly failures: Readonly<Record<string, number>>;
  readonly latency?: Latency;
}

/** Microseconds from the moment a request was sent, or could not be because all connections were busy. */
export interface Latency {
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  /** How late the generator was itself, at 99 %: not counted above, for it is not the proxy's doing. */
  readonly lateP99Us: number;
}

/**
 * @param output all that a generator printed
 * @throws Error when it did not come to its end
 */
export function outcomeOf(output: string): Outcome {
  const line = output.trimEnd().split('\n').at(-1) ?? '';
  if (!line.startsWith('{')) throw new Error(`the load did not come to its end: ${line.slice(0, 200)}`);
  return JSON.parse(line);
}

/**
 * What is wrong with an outcome, in words; none where all is well.
 *
 * @param bytesOfUnit the least that a client reads with each answer
 */
export function complaints(outcome: Outcome, bytesOfUnit: number): string[] {
  const found = Object.entries(outcome.failures)
    .filter(([, count]) => count > 0)
    .map(([cause, count]) => `${count} × ${cause}`);
  if (outcome.units === 0) found.push('no answer');
  if (outcome.bytes !== undefined && outcome.bytes < outcome.units * bytesOfUnit)
    found.push(`${outcome.bytes} bytes in ${outcome.units} answers of ${bytesOfUnit}`);
  return found;
}

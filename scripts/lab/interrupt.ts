import { constants } from 'node:os';
import { OperatorError } from '../../common/errors.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Runs to the end of `work`, or to the first signal that asks to stop; then the caller cleans up as after an error.
 *
 * @throws OperatorError `INTERRUPTED` after a signal
 */
export async function interruptible<T>(work: Promise<T>): Promise<T> {
  let stop: (signal: NodeJS.Signals) => void = () => {};
  const stopped = new Promise<never>((_, reject) => {
    stop = (signal) => reject(new OperatorError('INTERRUPTED', `stopped by ${signal}`));
  });
  for (const signal of SIGNALS) process.on(signal, stop);
  try {
    return await Promise.race([work, stopped]);
  } finally {
    for (const signal of SIGNALS) process.off(signal, stop);
  }
}

/** Exit code of a program that ended so. */
export function exitCodeOf(error: unknown): number {
  const interrupted = error instanceof OperatorError && error.code === 'INTERRUPTED';
  return interrupted ? 128 + constants.signals.SIGINT : 1;
}

import { setTimeout as sleep } from 'node:timers/promises';

/** Pause between two looks. */
const LOOK_EVERY_MS = 20;
/** For what comes within moments: so long also where the machine is slow and busy with other things. */
export const PATIENCE_MS = 60_000;

/** Thrown by a look when waiting longer is of no use. */
export class GiveUp extends Error {}

/**
 * Waits until a condition holds that nothing announces, by looking again and again.
 *
 * @param look its value when it holds, else undefined or false; an error counts as "not yet" and is told at the end
 * @throws Error when it does not hold within `timeoutMs`
 */
export async function until<T>(
  what: string,
  look: () => Promise<T | false | undefined> | T | false | undefined,
  timeoutMs = PATIENCE_MS,
): Promise<T> {
  const endMs = performance.now() + timeoutMs;
  let last = '';
  for (;;) {
    try {
      const value = await look();
      if (value !== undefined && value !== false) return value;
      last = '';
    } catch (error) {
      if (error instanceof GiveUp) throw error;
      last = `: ${(error as Error).message}`;
    }
    if (performance.now() > endMs) throw new Error(`not within ${timeoutMs} ms: ${what}${last}`);
    await sleep(LOOK_EVERY_MS);
  }
}

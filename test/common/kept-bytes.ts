import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** What a first collection finalizes a later one frees. */
const COLLECTIONS = 3;

/**
 * What this thread still refers to: objects, and the buffers that belong to them. Unlike the resident memory it grows by what
 * is kept alone, whenever the runtime collects garbage and whatever it gives back to the system.
 *
 * @returns bytes
 */
export async function keptBytes(): Promise<number> {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  for (let i = 0; i < COLLECTIONS; i++) {
    collect();
    // What was closed is let go of in a later turn.
    await turn();
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

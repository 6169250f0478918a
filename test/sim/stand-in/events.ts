import * as events from '../../../common/events.ts';
import { currentProcess } from '../agent-process.ts';

export * from '../../../common/events.ts';

/** In place of the clock, which says the same by way of whole nanoseconds. */
export function monotonicMs(): number {
  return currentProcess()?.machine.now ?? events.monotonicMs();
}

/** More at once would be a burst and no rate. */
const MAX_AT_ONCE = 64;

/**
 * How many are due now, at a rate. What could not be done in time is not made up for.
 *
 * @param perSecond at most
 */
export function pace(perSecond: number): (nowMs: number) => number {
  let dueMs: number | undefined;
  return (nowMs) => {
    dueMs ??= nowMs;
    const due = Math.floor(((nowMs - dueMs) * perSecond) / 1000);
    if (due < 1) return 0;
    const count = Math.min(due, MAX_AT_ONCE);
    dueMs = count < due ? nowMs : dueMs + (count * 1000) / perSecond;
    return count;
  };
}

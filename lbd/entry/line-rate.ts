/** Lines in a row, and how many more come each second. */
const BURST = 20;
const PER_SECOND = 10;

/** Keeps a flood that costs its sender nothing from filling a log: says which of its lines are written. Pure. */
export class LineRate {
  #tokens = BURST;
  #filledMs = 0;

  /** @param nowMs monotonic. @returns whether one more line may be written */
  allows(nowMs: number): boolean {
    this.#tokens = Math.min(BURST, this.#tokens + ((nowMs - this.#filledMs) * PER_SECOND) / 1000);
    this.#filledMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}

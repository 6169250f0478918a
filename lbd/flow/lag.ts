/** Upper bounds of the classes, in milliseconds; what is longer counts into the last one. */
const BOUNDS_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 60_000];

/** Delays by class, of about the last minute: enough for quantiles, in memory that does not grow. */
export class Lag {
  readonly #counts = new Float64Array(BOUNDS_MS.length);
  readonly #former = new Float64Array(BOUNDS_MS.length);
  readonly #windowMs: number;
  #sinceMs = Number.NEGATIVE_INFINITY;
  /** What is noted began so long before anybody here knew of it. */
  lateMs = 0;

  /** @param windowMs how far back the quantiles look, at least; at most twice as far */
  constructor(windowMs = 60_000) {
    this.#windowMs = windowMs;
  }

  note(lagMs: number, nowMs: number): void {
    this.#turn(nowMs);
    const at = BOUNDS_MS.findIndex((bound) => lagMs + this.lateMs <= bound);
    this.#counts[at < 0 ? BOUNDS_MS.length - 1 : at]!++;
  }

  /**
   * @param quantile 0 to 1
   * @returns the upper bound of its class in milliseconds; undefined where nothing was noted
   */
  quantileMs(quantile: number, nowMs: number): number | undefined {
    this.#turn(nowMs);
    const all = this.#counts.map((count, i) => count + this.#former[i]!);
    const total = all.reduce((sum, count) => sum + count, 0);
    if (total === 0) return undefined;
    const wanted = Math.max(1, Math.ceil(total * quantile));
    let sum = 0;
    for (const [i, count] of all.entries()) {
      sum += count;
      if (sum >= wanted) return BOUNDS_MS[i];
    }
    return undefined;
  }

  #turn(nowMs: number): void {
    if (nowMs - this.#sinceMs < this.#windowMs) return;
    const stale = nowMs - this.#sinceMs >= 2 * this.#windowMs;
    this.#former.set(stale ? new Float64Array(BOUNDS_MS.length) : this.#counts);
    this.#counts.fill(0);
    this.#sinceMs = nowMs;
  }
}

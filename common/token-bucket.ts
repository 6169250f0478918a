export interface TokenBucketOptions {
  /** So many more each second, up to `burst`. */
  readonly perSecond: number;
  readonly burst: number;
  /** What is there at first; may be more than `burst`, and is not given again. Default: `burst`. */
  readonly first?: number;
}

/** How much may happen: a rate with room for bursts. Pure: time comes in, monotonic milliseconds. */
export class TokenBucket {
  readonly #options: TokenBucketOptions;
  #left: number;
  #filledMs = 0;

  constructor(options: TokenBucketOptions) {
    this.#options = options;
    this.#left = options.first ?? options.burst;
  }

  /** @param amount nothing or less is always allowed @returns whether there was so much; if not, nothing is taken */
  take(nowMs: number, amount = 1): boolean {
    const { perSecond, burst } = this.#options;
    const fresh = (Math.max(0, nowMs - this.#filledMs) * perSecond) / 1000;
    this.#filledMs = nowMs;
    if (this.#left < burst) this.#left = Math.min(burst, this.#left + fresh);
    if (amount > this.#left) return false;
    this.#left -= Math.max(0, amount);
    return true;
  }
}

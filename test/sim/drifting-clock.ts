/** A monotonic clock that runs a little fast or slow, and stands still where its machine is suspended. */
export class DriftingClock {
  /** Milliseconds that it counts in a true one. */
  readonly rate: number;
  readonly #offsetMs: number;
  /** True time that it has not counted. */
  #lostMs = 0;
  #stoppedMs: number | undefined;

  /** @param drift as a share: 500 ppm are 0.0005 @param offsetMs what it shows at the true time 0 */
  constructor(drift: number, offsetMs: number) {
    this.rate = 1 + drift;
    this.#offsetMs = offsetMs;
  }

  /** What it shows at a true time, in milliseconds. */
  at(nowMs: number): number {
    return ((this.#stoppedMs ?? nowMs) - this.#lostMs) * this.rate + this.#offsetMs;
  }

  /** True time that it has not counted until then. */
  lostMs(nowMs: number): number {
    return this.#lostMs + (this.#stoppedMs === undefined ? 0 : nowMs - this.#stoppedMs);
  }

  stop(nowMs: number): void {
    this.#stoppedMs ??= nowMs;
  }

  go(nowMs: number): void {
    if (this.#stoppedMs !== undefined) this.#lostMs += nowMs - this.#stoppedMs;
    this.#stoppedMs = undefined;
  }
}

/**
 * - `open`: all datagrams reach this process, and each is counted by its cause;
 * - `filtered`: the kernel drops what cannot be of the peer (`heartbeat-filter.ts`);
 * - `sampled`: it also drops most of what looks like the peer.
 */
const FLOOD_LEVELS = ['open', 'filtered', 'sampled'] as const;
export type FloodLevel = (typeof FLOOD_LEVELS)[number];

const WINDOW_MS = 100;
/** Datagrams of a window that were thrown away: far more than a network has by mistake, some 5 % of a processor. */
const MAX_THROWN = 300;
/** A peer that is upgraded says all in the formats of two releases, with two keys. */
const MAX_VARIANTS = 4;
/** What waited in the socket when the filter came is not counted. */
const SETTLE_MS = 100;
/** Then it looks whether the flood is over, by letting it in. */
const HOLD_MS = 5_000;

/** Says for one path when the kernel is to filter. Pure: time comes in, monotonic milliseconds. */
export class FloodGuard {
  #level: FloodLevel = 'open';
  #most = MAX_THROWN;
  #thrown = 0;
  #windowMs = Number.NEGATIVE_INFINITY;
  #sinceMs = Number.NEGATIVE_INFINITY;

  get level(): FloodLevel {
    return this.#level;
  }

  /** A datagram was thrown away. @returns whether the level is another one now */
  threw(nowMs: number): boolean {
    if (nowMs >= this.#windowMs + WINDOW_MS) {
      this.#windowMs = nowMs;
      this.#thrown = 0;
    }
    if (nowMs < this.#windowMs || ++this.#thrown <= this.#most) return false;
    return this.#change(1, nowMs);
  }

  /**
   * To be asked with each round.
   *
   * @param usual heartbeats of a peer in a millisecond: all of them may be in a format that is of no use
   * @returns whether the level is another one now
   */
  look(nowMs: number, usual = 0): boolean {
    this.#most = MAX_THROWN + MAX_VARIANTS * usual * WINDOW_MS;
    return this.#level !== 'open' && nowMs >= this.#sinceMs + HOLD_MS && this.#change(-1, nowMs);
  }

  #change(step: 1 | -1, nowMs: number): boolean {
    const level = FLOOD_LEVELS[FLOOD_LEVELS.indexOf(this.#level) + step];
    this.#thrown = 0;
    this.#windowMs = step > 0 ? nowMs + SETTLE_MS : nowMs;
    if (level === undefined) return false;
    this.#level = level;
    this.#sinceMs = nowMs;
    return true;
  }
}

export interface JumpLimitOptions {
  /** So far altogether, for what a node that starts must catch up with. */
  readonly first: number;
  /** Once that is used up: so many a second, */
  readonly perSecond: number;
  /** and so many at once after a rest. */
  readonly burst: number;
}

/**
 * How far the peer may move a Lamport clock of this node. A clock at its end orders nothing any more; a peer that has been
 * taken over must not bring it there within the life of the pair. Pure: time comes in, monotonic milliseconds.
 */
export class JumpLimit {
  readonly #options: JumpLimitOptions;
  #left: number;
  #filledMs = 0;

  constructor(options: JumpLimitOptions) {
    this.#options = options;
    this.#left = options.first;
  }

  /** @param jump how far ahead of this node's clock; nothing or less is always allowed @returns whether it is allowed */
  take(jump: number, nowMs: number): boolean {
    const { perSecond, burst } = this.#options;
    const fresh = (Math.max(0, nowMs - this.#filledMs) * perSecond) / 1000;
    this.#filledMs = nowMs;
    if (this.#left < burst) this.#left = Math.min(burst, this.#left + fresh);
    if (jump > this.#left) return false;
    this.#left -= Math.max(0, jump);
    return true;
  }
}

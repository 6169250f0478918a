const PING_MS = 1000;
const DEAD_MS = 3000;
/** A peer that talks but does not get to the point: so long for its greeting after the link is up, */
const GREET_MS = 5000;
/** without an acknowledgement of what is on its way, */
const STALL_MS = 15_000;
/** and without any progress of the comparison of tables that is to bring both in step. */
const REPAIR_STALL_MS = 30_000;

/** How long a peer may be silent, or talk without getting to the point; and when it must hear from this node. Pure. */
export class LinkWatch {
  #tickMs = 0;
  #heardMs = 0;
  #sentMs = 0;
  /** Start of the link, latest acknowledgement and latest progress of the repair; each no earlier than it matters. */
  #linkedMs = 0;
  #ackedMs = 0;
  #repairedMs = 0;

  /** A new link. */
  begin(nowMs: number): void {
    this.#heardMs = this.#sentMs = this.#linkedMs = this.#ackedMs = this.#repairedMs = nowMs;
  }

  /** The peer sent anything. */
  heard(nowMs: number): void {
    this.#heardMs = nowMs;
  }

  /** Anything was sent to the peer. */
  sent(nowMs: number): void {
    this.#sentMs = nowMs;
  }

  /** The peer acknowledged something, or there is nothing to acknowledge. */
  acked(nowMs: number): void {
    this.#ackedMs = nowMs;
  }

  /** The comparison of tables went on, or there is none to wait for. */
  repaired(nowMs: number): void {
    this.#repairedMs = nowMs;
  }

  /** To be called all the time, several times a second. */
  tick(nowMs: number): void {
    // This thread slept: the peer's bytes may wait in the socket, so its silence proves nothing.
    if (nowMs - this.#tickMs > PING_MS)
      this.#heardMs = this.#linkedMs = this.#ackedMs = this.#repairedMs = nowMs;
    this.#tickMs = nowMs;
  }

  /** What the peer has failed to do in time, in words that follow its name; undefined: nothing. */
  breach(nowMs: number, established: boolean): string | undefined {
    if (nowMs - this.#heardMs > DEAD_MS) return `was silent for ${DEAD_MS} ms`;
    // Somebody who only keeps the link alive must not pass for a peer in step.
    if (!established)
      return nowMs - this.#linkedMs > GREET_MS ? `did not greet within ${GREET_MS} ms` : undefined;
    if (nowMs - this.#ackedMs > STALL_MS) return `has acknowledged nothing for ${STALL_MS / 1000} s`;
    return nowMs - this.#repairedMs > REPAIR_STALL_MS
      ? `has not gone on with the comparison of tables for ${REPAIR_STALL_MS / 1000} s`
      : undefined;
  }

  /** Milliseconds until the peer must hear from this node; not above 0: now. */
  pingDueMs(nowMs: number): number {
    return this.#sentMs + PING_MS - nowMs;
  }
}

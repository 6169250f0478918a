/**
 * Whether one side of a connection moves bytes as fast as it must: each span of its patience has to bring so many bytes as
 * the minimum rate gives in this time. Who is faster gains no credit, so that nobody can stop behind a quick beginning.
 * Only time counts in which it is that side's turn. Apache's mod_reqtimeout (`MinRate`) and Kestrel's
 * `MinRequestBodyDataRate` bound bodies so.
 */
export class Pace {
  #patienceMs = 0;
  #quota = 0;
  /** Of the span under way; below 0: it is the other side's turn. */
  #sinceMs = -1;
  #leftMs = 0;
  #owed = 0;

  /**
   * Another body begins; its time does not run yet.
   *
   * @param patienceMs the first so many milliseconds, and each so many after them
   * @param rate bytes a second; 0: any
   */
  begin(patienceMs: number, rate: number): void {
    this.#patienceMs = this.#leftMs = patienceMs;
    this.#quota = this.#owed = (rate * patienceMs) / 1000;
    this.#sinceMs = -1;
  }

  /**
   * It is this side's turn, from now on or still.
   *
   * @param nowMs milliseconds of a clock that counts only what is anybody's fault
   * @returns how long until it is too slow, unless it moves something; Infinity: never
   */
  run(nowMs: number): number {
    if (this.#quota === 0) return Number.POSITIVE_INFINITY;
    if (this.#sinceMs < 0) this.#sinceMs = nowMs;
    return Math.max(0, this.#leftMs - (nowMs - this.#sinceMs));
  }

  /** It is the other side's turn. */
  rest(nowMs: number): void {
    if (this.#sinceMs < 0) return;
    this.#leftMs = Math.max(0, this.#leftMs - (nowMs - this.#sinceMs));
    this.#sinceMs = -1;
  }

  /** @param bytes that were moved, whosever turn it is */
  moved(bytes: number, nowMs: number): void {
    this.#owed -= bytes;
    if (this.#owed > 0) return;
    this.#owed = this.#quota;
    this.#leftMs = this.#patienceMs;
    if (this.#sinceMs >= 0) this.#sinceMs = nowMs;
  }
}

/** Streams that end before their answer is complete: so many at once, and so many a second from then on. */
const RESETS = 200;
const RESETS_PER_SECOND = 20;
/** Frames that move no request on. */
const CHATTER = 1000;
const CHATTER_PER_SECOND = 100;
/** Of an answer: for so many bytes a client may say once that it has read. */
const BYTES_PER_UPDATE = 2048;

/**
 * How much a client of HTTP/2 may have lbd do that brings it nothing: each such frame costs one, and both sorts come back
 * with time. A browser that leaves a page with a hundred pictures, a download in small windows and a client that pings stay far
 * below (RFC 9113 §10.5; CVE-2023-44487, CVE-2025-8671, CVE-2019-9512 and those beside it).
 */
export class Calm {
  #resets = RESETS;
  #chatter = CHATTER;
  #atMs: number;

  /** @param nowMs monotonic, and so below */
  constructor(nowMs: number) {
    this.#atMs = nowMs;
  }

  /** A stream was reset by the client, or by lbd for something that the client did. @returns false: it is too much */
  reset(nowMs: number): boolean {
    this.#refill(nowMs);
    return --this.#resets >= 0;
  }

  /** A frame came that moves nothing on. @returns false: it is too much */
  frame(nowMs: number): boolean {
    if (--this.#chatter >= 0) return true;
    this.#refill(nowMs);
    return this.#chatter >= 0;
  }

  /**
   * Of an answer so much has left, about which the client will have something to say: clients of gRPC measure by a PING what
   * each message takes.
   *
   * @param isWhole it was not the client who had it cut so short
   */
  sent(bytes: number, isWhole: boolean): void {
    this.#chatter = Math.min(CHATTER, this.#chatter + bytes / BYTES_PER_UPDATE + (isWhole ? 1 : 0));
  }

  /** An answer is complete. */
  answered(): void {
    this.#resets = Math.min(RESETS, this.#resets + 1);
    this.#chatter = Math.min(CHATTER, this.#chatter + 2);
  }

  #refill(nowMs: number): void {
    const seconds = (nowMs - this.#atMs) / 1000;
    this.#atMs = nowMs;
    this.#resets = Math.min(RESETS, this.#resets + seconds * RESETS_PER_SECOND);
    this.#chatter = Math.min(CHATTER, this.#chatter + seconds * CHATTER_PER_SECOND);
  }
}

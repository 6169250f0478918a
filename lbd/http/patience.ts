import { Pace } from '../io/pace.ts';
import type { ClientStream } from './client-stream.ts';
import type { PoolTarget } from './target.ts';

/**
 * A client that has ended its side may still read, or be gone: that shows only when something is sent to it. Where its
 * answer has begun and pauses for longer than this, it is taken for gone, so that its backend does not work for nobody.
 */
const HALF_CLOSED_MS = 5_000;

/** How long a request, and each part of it and of its answer, may take. Sets the deadline of its client. */
export class Patience {
  /** When the request's total time is over; 0: it is not limited. */
  #endMs = 0;
  #idleMs = 0;
  #responseMs = 0;
  readonly #client: ClientStream;
  /** How fast the client sends its body, and how fast it reads answers; made when it does not do so at once. */
  #sending: Pace | undefined;
  #reading: Pace | undefined;

  constructor(client: ClientStream) {
    this.#client = client;
  }

  /** @param done the request has no body */
  beginPaces(done: boolean): void {
    if (done && this.#reading === undefined) return;
    const { timeouts, limits } = this.#client.frontend.config;
    this.#reading?.begin(timeouts.idleMs, limits.minRate);
    if (done) return;
    this.#sending ??= new Pace();
    this.#sending.begin(timeouts.bodyMs, limits.minRate);
  }

  /** From now on it is a matter of the target's time-outs. */
  begin({ timeouts }: PoolTarget): void {
    const { totalMs, idleMs, responseMs } = timeouts;
    this.#endMs = totalMs === 0 ? 0 : this.#client.frontend.context.deadlines.in(totalMs);
    this.#idleMs = idleMs;
    this.#responseMs = responseMs;
  }

  /** The answer is lbd's own, and takes its time. */
  beginOwn(): void {
    this.#endMs = 0;
    this.#idleMs = this.#client.frontend.config.timeouts.idleMs;
  }

  /** The total time is over. */
  get over(): boolean {
    return this.#endMs !== 0 && this.#client.frontend.context.deadlines.now >= this.#endMs;
  }

  /** A connection is made, or a turn awaited: only the total time runs. */
  wait(): void {
    this.#client.deadline = this.#endMs;
  }

  /** Body bytes of the request have come. */
  sent(bytes: number): void {
    this.#sending?.moved(bytes, this.#now);
  }

  /** Bytes of the answer have come. */
  received(bytes: number): void {
    this.#reading?.moved(bytes, this.#now);
  }

  /** The client has read what was written to it. */
  drained(): void {
    this.#reading?.rest(this.#now);
  }

  /** The client reads more slowly than its backend sends; that is not the backend's time. */
  awaitReader(): void {
    const { timeouts, limits } = this.#client.frontend.config;
    if (this.#reading === undefined) {
      this.#reading = new Pace();
      this.#reading.begin(timeouts.idleMs, limits.minRate);
    }
    this.#limit(Math.min(timeouts.idleMs, this.#reading.run(this.#now)));
  }

  /**
   * Something has moved.
   *
   * @param done all of the request has come
   * @param started its answer has begun
   */
  arm(done: boolean, started: boolean): void {
    const client = this.#client;
    if (client.ended && started) this.#limit(Math.min(this.#idleMs, HALF_CLOSED_MS));
    else if (done) this.#limit(started ? this.#idleMs : this.#responseMs);
    // A client that is paused waits for its backend, not the other way round.
    else if (client.paused) {
      this.#sending!.rest(this.#now);
      this.#limit(started ? this.#idleMs : this.#responseMs);
    } else this.#limit(Math.min(client.frontend.config.timeouts.bodyMs, this.#sending!.run(this.#now)));
  }

  get #now(): number {
    return this.#client.frontend.context.deadlines.countedMs;
  }

  /** Within the total time. */
  #limit(ms: number): void {
    const deadline = this.#client.frontend.context.deadlines.in(ms);
    this.#client.deadline = this.#endMs === 0 ? deadline : Math.min(deadline, this.#endMs);
  }
}

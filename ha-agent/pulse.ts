import { monotonicMs } from '../common/events.ts';

/** The beat of the process: a timer that does not drift, and that leaves out what a pause has made obsolete. */
export class Pulse {
  readonly #onBeat: () => void;
  #intervalMs = 0;
  #nextMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(onBeat: () => void) {
    this.#onBeat = onBeat;
  }

  /** The next beat is due one interval from now, or when it was due before: many calls in a row put none off. */
  start(intervalMs: number): void {
    const dueMs = monotonicMs() + intervalMs;
    this.#nextMs = this.#timer === undefined ? dueMs : Math.min(this.#nextMs, dueMs);
    this.#intervalMs = intervalMs;
    this.#schedule();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    const timer = setTimeout(() => {
      // It may be late; what the sockets hold by now must be heard before silence is concluded from it.
      setImmediate(() => {
        if (this.#timer !== timer) return;
        this.#onBeat();
        if (this.#timer !== timer) return;
        this.#nextMs = Math.max(this.#nextMs + this.#intervalMs, monotonicMs());
        this.#schedule();
      });
    }, this.#nextMs - monotonicMs());
    this.#timer = timer;
  }
}

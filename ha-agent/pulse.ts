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

  /** The first beat is due one interval from now; so it is after each call. */
  start(intervalMs: number): void {
    this.#intervalMs = intervalMs;
    this.#nextMs = monotonicMs();
    this.#schedule();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    const now = monotonicMs();
    this.#nextMs = Math.max(this.#nextMs + this.#intervalMs, now);
    const timer = setTimeout(() => {
      // It may be late; what the sockets hold by now must be heard before silence is concluded from it.
      setImmediate(() => {
        if (this.#timer !== timer) return;
        this.#onBeat();
        if (this.#timer === timer) this.#schedule();
      });
    }, this.#nextMs - now);
    this.#timer = timer;
  }
}

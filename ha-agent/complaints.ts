import { monotonicMs } from '../common/events.ts';

/** What has not happened again for so long is over. */
const MEMORY_MS = 60_000;

interface Complaint {
  readonly text: string;
  readonly latestMs: number;
  readonly times: number;
}

/**
 * What goes wrong again and again, such as a program that is slow: said when it begins, and a warning for as long as it goes
 * on.
 */
export class Complaints {
  readonly #onTrouble: (text: string) => void;
  readonly #complaints = new Map<string, Complaint>();

  constructor(onTrouble: (text: string) => void) {
    this.#onTrouble = onTrouble;
  }

  /**
   * @param about what it is about: two of the same are one
   * @param text in one line
   */
  add(about: string, text: string): void {
    const now = monotonicMs();
    const before = this.#complaints.get(about);
    const goesOn = before !== undefined && now - before.latestMs < MEMORY_MS;
    this.#complaints.set(about, { text, latestMs: now, times: (goesOn ? before.times : 0) + 1 });
    if (!goesOn) this.#onTrouble(text);
  }

  /** It is over. */
  forget(about: string): void {
    this.#complaints.delete(about);
  }

  /** What goes on, one line each. */
  get warnings(): readonly string[] {
    const now = monotonicMs();
    for (const [about, { latestMs }] of this.#complaints)
      if (now - latestMs >= MEMORY_MS) this.#complaints.delete(about);
    return [...this.#complaints.values()].map(({ text, latestMs, times }) =>
      times === 1 ? text : `${text} (${times} times, last ${Math.round((now - latestMs) / 1000)} s ago)`,
    );
  }
}

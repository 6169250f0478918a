import type { ControlEvent } from './control.ts';

/**
 * The last transitions of one daemon with their causes, for `lbctl events`. Kept in memory only: a full disk
 * must not matter. When full, the oldest event goes.
 */
export class EventLog {
  readonly #source: ControlEvent['source'];
  readonly #capacity: number;
  readonly #events: ControlEvent[] = [];

  /** @param capacity events that are kept, at least 1 */
  constructor(source: ControlEvent['source'], capacity = 256) {
    this.#source = source;
    this.#capacity = capacity;
  }

  /**
   * @param kind stable word, see `ControlEvent.kind`
   * @param text what happened and why; line breaks become spaces
   * @returns the time of day that it carries, ISO 8601
   */
  add(kind: string, text: string): string {
    const time = new Date().toISOString();
    if (this.#events.length >= this.#capacity) this.#events.shift();
    this.#events.push({
      time,
      mono_ms: monotonicMs(),
      source: this.#source,
      kind,
      text: text.replaceAll(/\s*[\r\n]+\s*/g, ' '),
    });
    return time;
  }

  /** Oldest first; a copy. */
  list(): ControlEvent[] {
    return [...this.#events];
  }
}

/** Milliseconds of CLOCK_MONOTONIC, to the microsecond: comparable between the processes of one machine. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}

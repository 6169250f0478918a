/** Something that must end when nothing happens. */
export interface Timed {
  /** Coarse milliseconds (`Deadlines.now`) at which `onDeadline` is due; 0: none. */
  deadline: number;
  /** Place in the list, kept by `Deadlines`; -1: not in it. */
  listed: number;
  onDeadline(): void;
}

/**
 * Time-outs for very many connections: one interval walks an array, setting a deadline is one store. Coarse on
 * purpose: a deadline fires up to two intervals late, never early. Time in which the thread did not run (stopped,
 * a machine that was paused, a long callback) does not count: what came meanwhile has not been read yet, and
 * nobody is to be cut off for a silence that was ours.
 */
export class Deadlines {
  /** Monotonic milliseconds at the last sweep. */
  now = performance.now();
  #deferredMs = 0;
  readonly #items: Timed[] = [];
  readonly #intervalMs: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(intervalMs = 100) {
    this.#intervalMs = intervalMs;
  }

  /** @param beat called twice an interval; with a timer of its own it would wake an idle thread half as often again */
  start(beat: () => void = () => {}): void {
    let turns = 0;
    this.#timer ??= setInterval(() => {
      beat();
      if (++turns % 2 === 0) this.sweep(performance.now());
    }, this.#intervalMs / 2);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  get size(): number {
    return this.#items.length;
  }

  /** Coarse time at which something due in `ms` is over. The interval is added so that it never fires early. */
  in(ms: number): number {
    return this.now + ms + this.#intervalMs;
  }

  /** As `now`, without the time that does not count. */
  get countedMs(): number {
    return this.now - this.#deferredMs;
  }

  add(item: Timed): void {
    if (item.listed >= 0) return;
    item.listed = this.#items.length;
    this.#items.push(item);
  }

  remove(item: Timed): void {
    const at = item.listed;
    if (at < 0) return;
    item.listed = -1;
    const last = this.#items.pop()!;
    if (last === item) return;
    this.#items[at] = last;
    last.listed = at;
  }

  /** @param now monotonic milliseconds, not below that of the last sweep */
  sweep(now: number): void {
    const lateMs = now - this.now - this.#intervalMs;
    this.now = now;
    if (lateMs > this.#intervalMs) this.#defer(lateMs);
    const items = this.#items;
    // Backwards, because a deadline often removes its item, which moves the last one into its place.
    for (let i = items.length - 1; i >= 0; i--) {
      const item = items[i];
      if (item === undefined || item.deadline === 0 || item.deadline > now) continue;
      item.deadline = 0;
      item.onDeadline();
    }
  }

  #defer(ms: number): void {
    this.#deferredMs += ms;
    for (const item of this.#items) if (item.deadline !== 0) item.deadline += ms;
  }

  /** Every item that is listed now. */
  all(): readonly Timed[] {
    return [...this.#items];
  }
}

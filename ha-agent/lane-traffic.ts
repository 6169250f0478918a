import type { DropCause } from './heartbeat.ts';
import type { Lane } from './lane.ts';
import { LaneFilter } from './lane-filter.ts';

/** Datagrams that may wait to be taken, several rounds of many groups. A heartbeat that is late is worth nothing. */
const MAX_WAITING = 512;
/** One that waits for so long means that the lane stalls. */
const STALL_MS = 1_000;

/** A lane with what went over it. What it does not take in time is left out, so that it holds up nothing. */
export class LaneTraffic {
  readonly lane: Lane;
  /** See `pathId`. */
  readonly id: string;
  readonly #onState: (why: string | undefined) => void;
  sent = 0;
  received = 0;
  seenMs: number | undefined;
  readonly dropped: Partial<Record<DropCause, number>> = {};
  readonly filter: LaneFilter;
  /** It is not in the config any more, and the peer may still use it: since then. */
  leavingMs: number | undefined;
  #waiting = 0;
  #waitingSinceMs = 0;
  #leftOut = 0;
  #stallMs: number | undefined;

  /** @param onState told when it begins to stall, and when it does not any more */
  constructor(lane: Lane, id: string, onState: (why: string | undefined) => void) {
    this.lane = lane;
    this.id = id;
    this.#onState = onState;
    this.filter = new LaneFilter(lane, id);
  }

  /** Why it does not work; undefined when it does. */
  get why(): string | undefined {
    if (this.lane.why !== undefined) return this.lane.why;
    if (this.#stallMs === undefined) return undefined;
    return `it stalls: nothing was taken for ${Math.round(this.#stallMs)} ms, ${this.#leftOut} heartbeats were left out`;
  }

  get stalls(): boolean {
    return this.#stallMs !== undefined;
  }

  /** @returns as `Lane.send`; undefined: left out, because too many wait already */
  send(data: Buffer, now: number): Promise<boolean> | undefined {
    this.#watch(now);
    if (this.#waiting >= MAX_WAITING || this.#stallMs !== undefined) {
      this.#leftOut++;
      return undefined;
    }
    if (this.#waiting++ === 0) this.#waitingSinceMs = now;
    return this.lane.send(data).then((taken) => {
      this.#waiting--;
      // The next one in the queue has its own time from here on.
      this.#waitingSinceMs = Number.POSITIVE_INFINITY;
      if (taken) this.sent++;
      this.#moves();
      return taken;
    });
  }

  #watch(now: number): void {
    if (this.#waiting === 0) return;
    this.#waitingSinceMs = Math.min(this.#waitingSinceMs, now);
    const waitedMs = now - this.#waitingSinceMs;
    if (waitedMs < STALL_MS) return;
    const isNew = this.#stallMs === undefined;
    this.#stallMs = waitedMs;
    if (isNew) this.#onState(this.why);
  }

  #moves(): void {
    if (this.#stallMs === undefined || this.#waiting > 0) return;
    this.#stallMs = undefined;
    this.#leftOut = 0;
    this.#onState(this.lane.why);
  }
}

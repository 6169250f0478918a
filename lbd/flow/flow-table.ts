import { type Flow, hasEnded, keyOf, lives, TCP_STATE } from './flow.ts';
import type { FlowPlace, FlowScope } from './flow-scope.ts';

/** As many flows as are followed; the kernel's own limit (`nf_conntrack_max`) is lower as a rule. */
export const MAX_FLOWS = 1_048_576;
/** No flow is in LAST_ACK for longer, by the kernel's own limit of 30 s: what happened to it then is told to nobody. */
const LAST_ACK_MS = 45_000;

/** A flow of the kernel's table. */
export interface KernelFlow extends Flow {
  status: number;
  mark: number;
  tcpState: number;
  timeoutS: number;
  /** The dump that saw it last. */
  seen: number;
  /** When it was heard of first; -Infinity: before anybody listened. */
  readonly sinceMs: number;
  readonly count: FlowCount;
}

/** Flows of one backend in one frontend. */
export interface FlowCount extends FlowPlace {
  /** Open now: TCP after the handshake and before both sides have closed. */
  active: number;
  /** That became active since the start. */
  opened: number;
  /** Of flows that left the kernel's table, both directions; 0 where the kernel does not count. */
  bytes: number;
}

export interface FlowTableEvents {
  /** A flow is new or differs. */
  onFlow(key: string, flow: KernelFlow): void;
  onGone(key: string, flow: KernelFlow): void;
  /** Monotonic. */
  nowMs(): number;
}

/**
 * What of our frontends the kernel of this node has, as its events tell, on whichever side of the sync; without what has
 * ended, though the kernel keeps that for a while. A dump puts right what events missed: flows that it does not show are
 * gone.
 */
export class FlowTable {
  readonly #events: FlowTableEvents;
  readonly #flows = new Map<string, KernelFlow>();
  readonly #counts = new Map<string, FlowCount>();
  /** Key of a flow in LAST_ACK → since when. Ascending. */
  readonly #closing = new Map<string, number>();
  #scope: FlowScope;
  #dump = 0;
  /**
   * Whether flows may be there of whose end the kernel does not tell: they are older than who listens, or ended while a
   * dump was under way that shows them nevertheless.
   */
  #silent = false;
  #dropped = 0;

  constructor(scope: FlowScope, events: FlowTableEvents) {
    this.#scope = scope;
    this.#events = events;
  }

  get size(): number {
    return this.#flows.size;
  }

  /** Flows that were not followed for want of room. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Whether only another dump can tell the end of some flows. */
  get silent(): boolean {
    return this.#silent;
  }

  get counts(): Iterable<Readonly<FlowCount>> {
    return this.#counts.values();
  }

  get(key: string): Readonly<KernelFlow> | undefined {
    return this.#flows.get(key);
  }

  entries(): MapIterator<[string, KernelFlow]> {
    return this.#flows.entries();
  }

  /** Another config: flows that are not ours any more are forgotten; new ones show in the next dump. */
  rescope(scope: FlowScope): void {
    this.#scope = scope;
    const flows = [...this.#flows.values()];
    this.#flows.clear();
    this.#closing.clear();
    for (const count of this.#counts.values()) count.active = 0;
    for (const flow of flows) {
      const count = this.#countOf(flow.tuples);
      if (count === undefined) continue;
      if (lives(flow)) count.active++;
      this.#flows.set(keyOf(flow.tuples), { ...flow, count });
    }
  }

  /** What an event or a dump shows. @param fromDump the kernel may stay silent about it */
  note(message: Flow, fromDump = false): void {
    const { tuples } = message;
    const key = keyOf(tuples);
    const known = this.#flows.get(key);
    if (hasEnded(message)) {
      if (known?.tuples === tuples) this.#forget(key, known);
      return;
    }
    if (known !== undefined && known.tuples === tuples) {
      const lived = lives(known);
      if (known.tcpState === TCP_STATE.lastAck) this.#closing.delete(key);
      known.seen = this.#dump;
      known.status = message.status;
      known.mark = message.mark;
      known.tcpState = message.tcpState;
      known.timeoutS = message.timeoutS;
      if (lives(known) !== lived) this.#countLife(known, !lived);
      if (message.tcpState === TCP_STATE.lastAck) this.#closing.set(key, this.#events.nowMs());
      this.#events.onFlow(key, known);
      return;
    }
    if (known !== undefined) this.#forget(key, known);
    else if (this.#flows.size >= MAX_FLOWS) {
      this.#dropped++;
      return;
    }
    const count = this.#countOf(tuples);
    if (count === undefined) return;
    const { mark, status, tcpState, timeoutS } = message;
    const sinceMs = fromDump ? Number.NEGATIVE_INFINITY : this.#events.nowMs();
    const flow = { tuples, mark, status, tcpState, timeoutS, seen: this.#dump, sinceMs, count };
    this.#flows.set(key, flow);
    if (lives(flow)) this.#countLife(flow, true);
    if (fromDump) this.#silent = true;
    this.#events.onFlow(key, flow);
  }

  /** The kernel says that a flow is gone. @param bytes that it moved, where known */
  gone(tuples: string, bytes: number): void {
    const key = keyOf(tuples);
    const known = this.#flows.get(key);
    // The event of an older flow between the same ends may come after the younger one began.
    const count = known?.tuples === tuples ? known.count : bytes > 0 ? this.#countOf(tuples) : undefined;
    if (count !== undefined) count.bytes += bytes;
    if (known?.tuples === tuples) this.#forget(key, known);
  }

  /** Call now and then: of a flow that is closing the kernel tells no more than its next state, which may not come. */
  sweep(nowMs: number): void {
    for (const [key, sinceMs] of this.#closing) {
      if (nowMs - sinceMs < LAST_ACK_MS) return;
      this.#forget(key, this.#flows.get(key)!);
    }
  }

  beginDump(): void {
    this.#dump++;
    this.#silent = false;
  }

  /** All flows that the dump did not show, and no event since it began, are gone. */
  endDump(): void {
    for (const [key, flow] of this.#flows) if (flow.seen !== this.#dump) this.#forget(key, flow);
  }

  #forget(key: string, flow: KernelFlow): void {
    this.#flows.delete(key);
    if (flow.tcpState === TCP_STATE.lastAck) this.#closing.delete(key);
    if (lives(flow)) this.#countLife(flow, false);
    this.#events.onGone(key, flow);
  }

  #countLife(flow: KernelFlow, begins: boolean): void {
    if (begins) flow.count.opened++;
    flow.count.active += begins ? 1 : -1;
  }

  #countOf(tuples: string): FlowCount | undefined {
    const place = this.#scope.place(tuples);
    if (place === undefined) return undefined;
    const key = `${place.frontend}\n${place.backend}`;
    const count = this.#counts.get(key) ?? { ...place, active: 0, opened: 0, bytes: 0 };
    this.#counts.set(key, count);
    return count;
  }
}

import { ProtocolError } from '../session/sync-frame.ts';
import { flowHash, lives, toldStatus } from './flow.ts';
import { type FlowDigest, flowFrame, KIND, RECORDS_PER_FRAME, RecordsBuilder } from './flow-frame.ts';
import type { FlowRoles } from './flow-roles.ts';
import type { FlowTable, KernelFlow } from './flow-table.ts';
import { Lag } from './lag.ts';

/** Records on their way; the rest waits. A power of two. */
const WINDOW = 8192;
/**
 * Time between two frames of changes that are not full: a frame and its acknowledgement cost both nodes as much as a dozen
 * flows.
 */
const PACE_MS = 8;
/** Flows that a frame of a snapshot looks at, however few the peer must know: a millisecond or two. */
const LOOKS = 4096;
/** How often a node at rest proves that its peer has the same. */
const DIGEST_MS = 5000;

/** What this node has from the peer, and the peer may not have any more. */
export interface Inheritance {
  readonly hasInherited: boolean;
  isInherited(key: string): boolean;
}

const NOTHING: Inheritance = { hasInherited: false, isInherited: () => false };

/**
 * Tells the peer of the flows for which this node is active. What changed is remembered by key, in order and once; what
 * is sent is what the table holds then. So nothing can be lost, and a short flow costs nothing. After a snapshot come
 * changes, each record with a sequence number, and now and then a digest. Pure: events and time in, frames out.
 */
export class FlowSender {
  readonly lag = new Lag();
  readonly #table: FlowTable;
  readonly #roles: FlowRoles;
  readonly #inheritance: Inheritance;
  readonly #looks: number;
  readonly #builder = new RecordsBuilder();
  /** Key → since when the peer has not been told. */
  readonly #changed = new Map<string, number>();
  /** Key → hash of what the peer was told. */
  readonly #told = new Map<string, number>();
  #sum = 0;
  #running = false;
  #snapshot: 'due' | 'sending' | 'sent' = 'due';
  /** Changes that were queued, and that were taken from the queue: FIFO, so a count is a place in it. */
  #queued = 0;
  #taken = 0;
  /** What the snapshot has not looked at; undefined: nothing. */
  #rest: Iterator<[string, KernelFlow]> | undefined;
  /** The records of the snapshot have lower numbers. */
  #snapshotEnd = 0;
  #sequence = 0;
  #acked = 0;
  #ackedTaken = 0;
  #digestMs = 0;
  #recordsMs = Number.NEGATIVE_INFINITY;
  /** Start of the latest snapshot; its own records are no measure of the lag. */
  #snapshotMs = 0;
  #filled = false;
  /** By sequence number: since when the record was due, and the place in the queue after it. */
  readonly #since = new Float64Array(WINDOW);
  readonly #takenAfter = new Float64Array(WINDOW);

  /** @param looks flows that a frame of a snapshot looks at; another number only in tests */
  constructor(table: FlowTable, roles: FlowRoles, inheritance = NOTHING, looks = LOOKS) {
    this.#table = table;
    this.#roles = roles;
    this.#inheritance = inheritance;
    this.#looks = looks;
  }

  /** Whether the peer has said that its table is complete. */
  get filled(): boolean {
    return this.#filled;
  }

  /** Flows of which the peer knows. */
  get told(): number {
    return this.#told.size;
  }

  /** A new link: the peer counts from 0. */
  connect(): void {
    this.#sequence = this.#acked = 0;
  }

  /** Both nodes can do their part from now on. */
  start(nowMs: number): void {
    this.#running = true;
    this.restart(nowMs);
  }

  stop(): void {
    this.restart(0);
    this.#running = false;
  }

  /** A new snapshot: the peer lost something, or this node is active for other addresses. */
  restart(nowMs: number): void {
    if (!this.#running) return;
    this.#changed.clear();
    this.#told.clear();
    this.#sum = 0;
    this.#taken = this.#queued;
    this.#snapshot = 'due';
    this.#rest = undefined;
    this.#filled = false;
    this.#digestMs = nowMs;
  }

  onFlow(key: string, flow: KernelFlow, nowMs: number): void {
    if (this.#snapshot === 'due') return;
    const known = this.#told.get(key);
    if (this.#sends(key, flow)) {
      if (known !== flowHash(flow)) this.#queue(key, nowMs);
    } else if (known !== undefined) this.#queue(key, nowMs);
  }

  onGone(key: string, nowMs: number): void {
    if (this.#told.has(key)) this.#queue(key, nowMs);
  }

  /** @throws ProtocolError where the peer has what was not sent */
  onAck(applied: number, filled: boolean, nowMs: number): void {
    if (applied < this.#acked || applied > this.#sequence)
      throw new ProtocolError(`acknowledgement of ${applied} flow records, of ${this.#sequence} sent`);
    for (let i = this.#acked; i < applied; i++) {
      const sinceMs = this.#since[i & (WINDOW - 1)]!;
      if (sinceMs > this.#snapshotMs) this.lag.note(nowMs - sinceMs, nowMs);
    }
    if (applied > this.#acked) this.#ackedTaken = this.#takenAfter[(applied - 1) & (WINDOW - 1)]!;
    this.#acked = applied;
    // One that was on its way when a new snapshot began says nothing of that.
    this.#filled = filled && this.#snapshot === 'sent';
  }

  /** The place in the queue after every change up to now. */
  mark(): number {
    return this.#queued;
  }

  /** Whether the kernel of the peer has everything before the mark. */
  reached(mark: number): boolean {
    const acked = this.#acked === this.#sequence ? this.#taken : this.#ackedTaken;
    // A snapshot that began after the mark was taken tells what was queued before.
    return this.#snapshot === 'sent' && this.#acked >= this.#snapshotEnd && acked >= mark;
  }

  /** Since when the peer lacks something, as an age; 0 at rest. */
  behindMs(nowMs: number): number {
    if (this.#acked < this.#sequence) return nowMs - this.#since[this.#acked & (WINDOW - 1)]!;
    if (this.#rest !== undefined) return nowMs - this.#snapshotMs;
    for (const sinceMs of this.#changed.values()) return nowMs - sinceMs;
    return 0;
  }

  /** Milliseconds until `next` has a frame, if nothing changes; `Infinity`: never. */
  idleMs(nowMs: number): number {
    if (!this.#running) return Number.POSITIVE_INFINITY;
    if (this.#snapshot === 'due' || (this.#snapshot === 'sending' && this.#rest === undefined)) return 0;
    if (this.#changed.size > 0 || this.#rest !== undefined) {
      if (this.#room <= 0) return Number.POSITIVE_INFINITY;
      return this.#paced(nowMs) ? 0 : this.#recordsMs + PACE_MS - nowMs;
    }
    return Math.max(0, this.#digestMs + DIGEST_MS - nowMs);
  }

  /** The next frame, if there is one. */
  next(nowMs: number): Buffer | undefined {
    if (!this.#running) return undefined;
    if (this.#snapshot === 'due') return this.#begin(nowMs);
    const records = this.#paced(nowMs) ? this.#records() : undefined;
    if (records !== undefined) {
      this.#recordsMs = nowMs;
      return records;
    }
    if (this.#snapshot === 'sending' && this.#rest === undefined) {
      this.#snapshot = 'sent';
      return flowFrame({ kind: KIND.end, digest: this.#digest() });
    }
    if (this.#snapshot === 'sent' && this.#changed.size === 0 && nowMs - this.#digestMs >= DIGEST_MS) {
      this.#digestMs = nowMs;
      return flowFrame({ kind: KIND.digest, digest: this.#digest() });
    }
    return undefined;
  }

  /** Whether the peer must know a flow. */
  #sends(key: string, flow: KernelFlow): boolean {
    return (
      lives(flow) && (this.#roles.sends(flow.tuples, flow.sinceMs) || this.#inheritance.isInherited(key))
    );
  }

  /** Records that may be sent before the peer acknowledges some. */
  get #room(): number {
    return WINDOW - (this.#sequence - this.#acked);
  }

  #paced(nowMs: number): boolean {
    const isFull = this.#changed.size >= RECORDS_PER_FRAME;
    return isFull || this.#snapshot === 'sending' || nowMs - this.#recordsMs >= PACE_MS;
  }

  #begin(nowMs: number): Buffer {
    this.#snapshot = 'sending';
    this.#snapshotMs = nowMs;
    const { owned, hasOrphans } = this.#roles;
    const tellsAny = owned.length > 0 || hasOrphans || this.#inheritance.hasInherited;
    this.#rest = tellsAny ? this.#table.entries() : undefined;
    this.#snapshotEnd = this.#sequence;
    return flowFrame({ kind: KIND.begin, addresses: owned });
  }

  #records(): Buffer | undefined {
    const room = Math.min(RECORDS_PER_FRAME, this.#room);
    if (room <= 0 || (this.#changed.size === 0 && this.#rest === undefined)) return undefined;
    this.#builder.begin(this.#sequence);
    for (const [key, sinceMs] of this.#changed) {
      if (this.#builder.count >= room) break;
      this.#changed.delete(key);
      this.#taken++;
      this.#tell(key, sinceMs);
    }
    if (this.#rest !== undefined) this.#tellRest(this.#rest, room);
    return this.#builder.count > 0 ? this.#builder.finish() : undefined;
  }

  #tellRest(rest: Iterator<[string, KernelFlow]>, room: number): void {
    for (let looks = this.#looks; this.#builder.count < room && looks > 0; looks--) {
      const { value, done } = rest.next();
      if (done) {
        this.#rest = undefined;
        this.#snapshotEnd = this.#sequence;
        return;
      }
      this.#tell(value[0], this.#snapshotMs);
    }
  }

  /** Adds the record of a flow, where there is something to tell after all. @param sinceMs since when it was due */
  #tell(key: string, sinceMs: number): void {
    const flow = this.#table.get(key);
    const known = this.#told.get(key);
    if (flow !== undefined && this.#sends(key, flow)) {
      const hash = flowHash(flow);
      if (hash === known) return;
      const { tuples, mark, timeoutS } = flow;
      this.#builder.add({ tuples, ended: false, mark, status: toldStatus(tuples, flow.status), timeoutS });
      this.#told.set(key, hash);
      this.#sum = (this.#sum + hash - (known ?? 0)) >>> 0;
    } else {
      if (known === undefined) return;
      this.#builder.add({ tuples: key, ended: true, mark: 0, status: 0, timeoutS: 0 });
      this.#told.delete(key);
      this.#sum = (this.#sum - known) >>> 0;
    }
    this.#since[this.#sequence & (WINDOW - 1)] = sinceMs;
    this.#takenAfter[this.#sequence & (WINDOW - 1)] = this.#taken;
    this.#sequence++;
  }

  #queue(key: string, nowMs: number): void {
    if (this.#changed.has(key)) return;
    this.#changed.set(key, nowMs);
    this.#queued++;
  }

  #digest(): FlowDigest {
    return { count: this.#told.size, sum: this.#sum };
  }
}

import { type FlowBatch, RequestBatch } from './conntrack-request.ts';
import { lives } from './flow.ts';
import type { FlowReplica, ReplicaFlow } from './flow-replica.ts';
import type { FlowRoles } from './flow-roles.ts';
import type { FlowScope } from './flow-scope.ts';
import type { FlowTable } from './flow-table.ts';

/** Requests in a batch: some milliseconds of the kernel and the helper. */
export const BATCH_REQUESTS = 256;
/**
 * Least life of a written flow. The kernel refreshes a flow on the node that sees its packets only, so what is short
 * there must be longer here; after a takeover the first packet sets the kernel's own life again.
 */
const LEAST_LIFE_S = 600;
/** A flow that ended here but not at the peer is written again, but not over and over: the patrol finds it later. */
const AGAIN_MS = 1000;
/** Flows that one patrol looks at: a millisecond. */
const PATROL_FLOWS = 2000;
/** Of those, so many are tried while the kernel's table is full: each refusal costs as much as a write. */
const PATROL_WHILE_FULL = 16;

/** Flows that a batch looks at, however few need a request: a millisecond or two. */
const LOOKS = 2000;

/** Error numbers of the kernel. */
const [ENOENT, ENOMEM, EEXIST, ENOSPC, EOPNOTSUPP] = [2, 12, 17, 28, 95];

type Operation = 'insert' | 'update' | 'delete';

export interface FlowWriterParts {
  readonly table: FlowTable;
  readonly replica: FlowReplica;
  readonly roles: FlowRoles;
  readonly scope: () => FlowScope;
  /** Bits of connection marks that the peer may set here. None by default. */
  readonly marks?: () => number;
  /** For `BATCH_REQUESTS` requests, in the form that the way to the kernel takes. As the kernel reads them by default. */
  readonly batch?: FlowBatch;
  /** Flows that a batch looks at; another number only in tests. */
  readonly looks?: number;
}

/**
 * Decides what to write into the kernel of this node, so that it holds what the peer told: the difference between the
 * replica and the kernel's table, for addresses for which this node stands by. Batches go one at a time; the answer to
 * the last request shows that all were carried out. Pure: answers and time in, batches out.
 */
export class FlowWriter {
  readonly #parts: FlowWriterParts;
  readonly #looks: number;
  readonly #batch: FlowBatch;
  /** Key → place in the peer's stream before which it is not written. Ascending. */
  readonly #pending = new Map<string, number>();
  /** The rest of what is looked at again, and the place in the peer's stream that waits for it. */
  #survey: { readonly keys: Iterator<string | undefined, void>; readonly place: number } | undefined;
  /** The latest batch was of the survey: neither waits for the other. */
  #surveyed = false;
  /** Of the batch on its way; the first request has the number `#base`. */
  #flying: { key: string; operation: Operation }[] = [];
  #flyingFrom = 0;
  #base = 1;
  #sentMs = 0;
  /** What the kernel said contrary to the table: what to do instead, once. */
  readonly #corrected = new Map<string, 'insert' | 'replace'>();
  #patrol: MapIterator<[string, ReplicaFlow]> | undefined;
  /** The kernel's table was, since the latest patrol. */
  #full = false;
  #strange: { readonly tuples: string; readonly atMs: number } | undefined;
  #written = 0;
  #failed = 0;
  #cause = '';

  constructor(parts: FlowWriterParts) {
    this.#parts = parts;
    this.#looks = parts.looks ?? LOOKS;
    this.#batch = parts.batch ?? new RequestBatch(BATCH_REQUESTS);
  }

  /** Requests that the kernel carried out. */
  get written(): number {
    return this.#written;
  }

  /** Requests that it refused, and the latest reason. */
  get failed(): { readonly count: number; readonly cause: string } {
    return { count: this.#failed, cause: this.#cause };
  }

  /** The latest flow to one of our frontends that the peer told of, and that leads where this config leads nobody. */
  get strange(): { readonly tuples: string; readonly atMs: number } | undefined {
    return this.#strange;
  }

  get idle(): boolean {
    return this.#flying.length === 0 && !this.due;
  }

  /** Whether `next` has something to look at now. */
  get due(): boolean {
    return this.#flying.length === 0 && (this.#pending.size > 0 || this.#survey !== undefined);
  }

  /** A flow may differ between replica and kernel. @param place in the peer's stream after what made it differ */
  want(key: string, place: number): void {
    if (!this.#pending.has(key)) this.#pending.set(key, place);
  }

  /** Any flow may differ, also one that the peer has never told of. @param place as of `want` */
  survey(place: number): void {
    if (!this.#parts.roles.followsAny) {
      this.#survey = undefined;
      return;
    }
    this.#survey = { keys: this.#all(), place: Math.min(place, this.#survey?.place ?? place) };
  }

  /** @returns up to which place in the peer's stream all is in the kernel, given that the stream came up to `received` */
  appliedUpTo(received: number): number {
    if (this.#flying.length > 0) return this.#flyingFrom;
    const upTo = this.#survey?.place ?? received;
    for (const place of this.#pending.values()) return Math.min(place, upTo);
    return upTo;
  }

  /** A flow has left the kernel's table. */
  onGone(key: string, place: number, nowMs: number): void {
    const flow = this.#parts.replica.get(key);
    if (flow === undefined || !this.#parts.roles.follows(key)) return;
    if (nowMs - flow.writtenMs >= AGAIN_MS) this.want(key, place);
  }

  /** Another stream of the peer begins, at place 0. */
  rebase(): void {
    for (const key of this.#pending.keys()) this.#pending.set(key, 0);
    if (this.#survey !== undefined) this.#survey = { ...this.#survey, place: 0 };
    this.#flyingFrom = 0;
  }

  /** Call now and then: finds what is missing although nobody told, and what needs a new life. */
  patrol(place: number, nowMs: number): void {
    const { replica, table, roles } = this.#parts;
    this.#patrol ??= replica.entries();
    const most = this.#full ? PATROL_WHILE_FULL : PATROL_FLOWS;
    this.#full = false;
    for (let i = 0, found = 0; i < PATROL_FLOWS && found < most; i++) {
      const { value, done } = this.#patrol.next();
      if (done) {
        this.#patrol = undefined;
        return;
      }
      const [key, flow] = value;
      if (replica.isStale(flow)) {
        replica.drop(key);
        continue;
      }
      if ((table.get(key) !== undefined && !isDue(flow, nowMs)) || !roles.follows(key)) continue;
      this.want(key, place);
      found++;
    }
  }

  /**
   * The next batch, if there is something to write and nothing on its way; without one, `due` says whether more is to be
   * looked at. Valid until the next call.
   */
  next(nowMs: number): Buffer | undefined {
    if (!this.due) return undefined;
    this.#base = (this.#base + BATCH_REQUESTS) % 2 ** 31 || 1;
    this.#flyingFrom = this.appliedUpTo(Number.POSITIVE_INFINITY);
    this.#surveyed = this.#survey !== undefined && (this.#pending.size === 0 || !this.#surveyed);
    if (this.#surveyed) this.#lookAround(nowMs);
    else this.#lookAtPending(nowMs);
    if (this.#batch.count === 0) return undefined;
    this.#sentMs = nowMs;
    return this.#batch.take();
  }

  #lookAtPending(nowMs: number): void {
    let looks = this.#looks;
    for (const key of this.#pending.keys()) {
      // A flow that is replaced takes two.
      if (this.#batch.room < 2 || looks-- === 0) return;
      this.#pending.delete(key);
      this.#plan(key, nowMs);
    }
  }

  #lookAround(nowMs: number): void {
    const { keys } = this.#survey!;
    for (let looks = this.#looks; this.#batch.room >= 2 && looks > 0; looks--) {
      const { value, done } = keys.next();
      if (done) {
        this.#survey = undefined;
        return;
      }
      if (value !== undefined) this.#plan(value, nowMs);
    }
  }

  /** Each key once: what the peer told, then what only this kernel has. Tables may change meanwhile. */
  *#all(): Generator<string | undefined, void> {
    const { replica, table } = this.#parts;
    for (const [key, flow] of replica.entries()) yield replica.isStale(flow) ? undefined : key;
    for (const [key] of table.entries())
      yield replica.complete && replica.get(key) === undefined ? key : undefined;
  }

  /** How long the answer to the batch on its way has been due, in milliseconds; 0 where none is. */
  waitingMs(nowMs: number): number {
    return this.#flying.length === 0 ? 0 : nowMs - this.#sentMs;
  }

  /**
   * The kernel's answer to a request.
   *
   * @param error a positive error number; 0: it was carried out
   */
  onAnswer(sequence: number, error: number): void {
    const at = sequence - this.#base;
    const request = this.#flying[at];
    if (request === undefined) return;
    if (error !== 0) this.#refused(request.key, request.operation, error);
    if (at < this.#flying.length - 1) return;
    this.#written += this.#flying.length;
    this.#flying = [];
  }

  /** What was on its way may or may not have been carried out: it is looked at again. */
  lost(): void {
    for (const { key } of this.#flying) {
      const flow = this.#parts.replica.get(key);
      if (flow !== undefined) flow.writtenMs = Number.NEGATIVE_INFINITY;
    }
    const again = new Map([
      ...this.#flying.map(({ key }) => [key, this.#flyingFrom] as const),
      ...this.#pending,
    ]);
    this.#pending.clear();
    for (const [key, place] of again) this.#pending.set(key, place);
    this.#flying = [];
  }

  #plan(key: string, nowMs: number): void {
    const { table, replica, roles, scope } = this.#parts;
    const corrected = this.#corrected.get(key);
    this.#corrected.delete(key);
    const [want, have] = [replica.get(key), table.get(key)];
    if (!roles.follows(key)) {
      // The peer was active as well for a while, and has a flow that this node knows nothing of.
      if (want !== undefined && have === undefined && roles.owns(key) && corrected === undefined)
        this.#adopt(key, want, nowMs);
      return;
    }
    if (want === undefined) {
      const goes = have !== undefined && roles.deletes(key) && !roles.isOrphan(key, have.sinceMs);
      if (goes) this.#push(key, 'delete');
      return;
    }
    if (!scope().allows(want.tuples, nowMs)) {
      if (scope().place(want.tuples) !== undefined) this.#strange = { tuples: want.tuples, atMs: nowMs };
      return;
    }
    const other = have !== undefined && (have.tuples !== want.tuples || !lives(have));
    if (other || corrected === 'replace') this.#push(key, 'delete');
    else if (have !== undefined && !isDue(want, nowMs) && corrected === undefined) return;
    const there = have !== undefined && !other && corrected === undefined;
    this.#push(key, there ? 'update' : 'insert', want);
    want.writtenMs = nowMs;
  }

  #adopt(key: string, want: ReplicaFlow, nowMs: number): void {
    if (!this.#parts.scope().allows(want.tuples, nowMs)) return;
    this.#push(key, 'insert', want);
    want.writtenMs = nowMs;
  }

  #push(key: string, operation: Operation, want?: ReplicaFlow): void {
    const sequence = this.#base + this.#flying.length;
    this.#flying.push({ key, operation });
    const marks = this.#parts.marks?.() ?? 0;
    const flow = want && { ...want, mark: (want.mark & marks) >>> 0, timeoutS: lifeS(want) };
    if (flow === undefined) this.#batch.delete(sequence, key);
    else if (operation === 'insert') this.#batch.insert(sequence, flow);
    else this.#batch.update(sequence, flow, this.#parts.table.get(key)?.status ?? 0, marks);
  }

  #refused(key: string, operation: Operation, error: number): void {
    // It was gone before: what was wanted.
    if (operation === 'delete' && error === ENOENT) return;
    const flow = this.#parts.replica.get(key);
    if (flow !== undefined) flow.writtenMs = Number.NEGATIVE_INFINITY;
    // What the table does not have but the kernel does is a connection that has closed here, and cannot be opened again.
    const other =
      operation === 'insert' && (error === EOPNOTSUPP || error === EEXIST)
        ? 'replace'
        : operation === 'update' && error === ENOENT
          ? 'insert'
          : undefined;
    if (other !== undefined && !this.#corrected.has(key)) {
      this.#corrected.set(key, other);
      this.want(key, this.#flyingFrom);
      return;
    }
    this.#failed++;
    const isFull = error === ENOMEM || error === ENOSPC;
    this.#full ||= isFull;
    this.#cause = isFull
      ? 'the connection table of the kernel is full (nf_conntrack_max)'
      : `${operation} refused with error ${error}`;
  }
}

function lifeS({ timeoutS }: ReplicaFlow): number {
  return Math.max(timeoutS, LEAST_LIFE_S);
}

/** Half of its life is over, or it was never written. */
function isDue(flow: ReplicaFlow, nowMs: number): boolean {
  return nowMs - flow.writtenMs >= lifeS(flow) * 500;
}

import { ProtocolError } from '../session/sync-frame.ts';
import { flowHash, keyOf } from './flow.ts';
import type { FlowDigest, FlowRecord } from './flow-frame.ts';
import { MAX_FLOWS } from './flow-table.ts';

/** A flow of the peer, and what of it this node has written into its kernel. */
export interface ReplicaFlow {
  readonly tuples: string;
  readonly mark: number;
  readonly status: number;
  readonly timeoutS: number;
  readonly hash: number;
  /** Of the snapshot that told it, or after which it was told. */
  readonly snapshot: number;
  /** When it was written; -Infinity: never in this form. */
  writtenMs: number;
}

/**
 * The flows that the peer has, as it told: what this node's kernel should hold for its addresses. What a snapshot does not
 * tell again counts for nothing at its end, whatever its number; the place that it takes is freed bit by bit. Pure.
 */
export class FlowReplica {
  readonly #flows = new Map<string, ReplicaFlow>();
  #snapshot = 0;
  /** What was told before is stale. */
  #oldest = 0;
  /** Of what was told since the latest snapshot began. */
  #count = 0;
  #sum = 0;

  /** Told since the latest snapshot began. */
  get size(): number {
    return this.#count;
  }

  get(key: string): ReplicaFlow | undefined {
    const flow = this.#flows.get(key);
    return flow === undefined || this.isStale(flow) ? undefined : flow;
  }

  /** Among them are stale ones. */
  entries(): MapIterator<[string, ReplicaFlow]> {
    return this.#flows.entries();
  }

  /** Whether no snapshot is under way: what is not here the peer does not have. */
  get complete(): boolean {
    return this.#oldest === this.#snapshot;
  }

  isStale({ snapshot }: ReplicaFlow): boolean {
    return snapshot < this.#oldest;
  }

  /** Frees the place of a stale flow. */
  drop(key: string): void {
    this.#flows.delete(key);
  }

  beginSnapshot(): void {
    this.#snapshot++;
    this.#count = 0;
    this.#sum = 0;
  }

  /**
   * @returns its key
   * @throws ProtocolError beyond MAX_FLOWS
   */
  apply(record: FlowRecord): string {
    if (record.ended) {
      this.#remove(record.tuples);
      return record.tuples;
    }
    const { tuples, mark, status, timeoutS } = record;
    const key = keyOf(tuples);
    const known = this.get(key);
    const isNew = known?.snapshot !== this.#snapshot;
    if (isNew && this.#count >= MAX_FLOWS) throw new ProtocolError(`more than ${MAX_FLOWS} flows`);
    const hash = flowHash({ tuples, mark, status, timeoutS, tcpState: 0 });
    const writtenMs = known?.hash === hash ? known.writtenMs : Number.NEGATIVE_INFINITY;
    this.#flows.set(key, { tuples, mark, status, timeoutS, hash, snapshot: this.#snapshot, writtenMs });
    if (isNew) this.#count++;
    this.#sum = (this.#sum + hash - (isNew ? 0 : known.hash)) >>> 0;
    return key;
  }

  /** What it did not tell is stale. */
  endSnapshot(): void {
    this.#oldest = this.#snapshot;
  }

  equals({ count, sum }: FlowDigest): boolean {
    return this.#count === count && this.#sum === sum;
  }

  #remove(key: string): void {
    const known = this.#flows.get(key);
    if (known === undefined) return;
    this.#flows.delete(key);
    if (known.snapshot !== this.#snapshot) return;
    this.#count--;
    this.#sum = (this.#sum - known.hash) >>> 0;
  }
}

import { ProtocolError } from '../session/sync-frame.ts';
import { destinationOf, flowHash, keyOf } from './flow.ts';
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
 * tell again counts for nothing at its end, whatever its number; the place that it takes is freed bit by bit. A peer whose
 * kernel has lost all cannot say of any flow from before that it has ended: those are inherited, until it has had its time
 * to take them over. Pure.
 */
export class FlowReplica {
  readonly #flows = new Map<string, ReplicaFlow>();
  #snapshot = 0;
  /** What was told before is stale. */
  #oldest = 0;
  /** Of what was told since the latest snapshot began. */
  #count = 0;
  #sum = 0;
  /** By address: what snapshots of these numbers told is inherited. */
  readonly #inherited = new Map<string, { readonly from: number; readonly to: number }>();
  /** By address: what snapshots up to this number told is stale. */
  readonly #forgotten = new Map<string, number>();

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

  isStale(flow: ReplicaFlow): boolean {
    if (flow.snapshot < this.#oldest) return !this.#isInherited(flow);
    return (
      this.#forgotten.size > 0 && flow.snapshot <= (this.#forgotten.get(destinationOf(flow.tuples)) ?? -1)
    );
  }

  /** Nobody has told since this node was active for an address: flows may have ended. Without a link only. */
  forget(address: string): void {
    this.#forgotten.set(address, this.#snapshot);
  }

  /** The peer has another, empty kernel. @param addresses for which this node follows it */
  inherit(addresses: Iterable<string>): void {
    for (const address of addresses) {
      const from = this.#inherited.get(address)?.from ?? this.#oldest;
      this.#inherited.set(address, { from, to: this.#snapshot });
    }
  }

  get hasInherited(): boolean {
    return this.#inherited.size > 0;
  }

  /** Whether this node has a flow from the peer that the peer may not have any more. */
  isInherited(key: string): boolean {
    const flow = this.#inherited.size > 0 ? this.get(key) : undefined;
    return flow !== undefined && this.#isInherited(flow);
  }

  /** This node is active for an address: what the peer told of it before is of former times. */
  disown(address: string): void {
    this.#inherited.delete(address);
  }

  /** The peer was told of all that is inherited, and has had its time. */
  forgetInherited(): void {
    this.#inherited.clear();
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
    this.#forgotten.clear();
  }

  equals({ count, sum }: FlowDigest): boolean {
    return this.#count === count && this.#sum === sum;
  }

  #isInherited({ snapshot, tuples }: ReplicaFlow): boolean {
    if (this.#inherited.size === 0) return false;
    const told = this.#inherited.get(destinationOf(tuples));
    return told !== undefined && snapshot >= told.from && snapshot <= told.to;
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

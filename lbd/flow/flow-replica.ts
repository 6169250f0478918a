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
  snapshot: number;
  /** When it was written; -Infinity: never in this form. */
  writtenMs: number;
}

/** The flows that the peer has, as it told: what this node's kernel should hold for its addresses. Pure. */
export class FlowReplica {
  readonly #flows = new Map<string, ReplicaFlow>();
  #snapshot = 0;
  #sum = 0;

  get size(): number {
    return this.#flows.size;
  }

  get(key: string): ReplicaFlow | undefined {
    return this.#flows.get(key);
  }

  keys(): MapIterator<string> {
    return this.#flows.keys();
  }

  entries(): MapIterator<[string, ReplicaFlow]> {
    return this.#flows.entries();
  }

  beginSnapshot(): void {
    this.#snapshot++;
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
    const known = this.#flows.get(key);
    if (known === undefined && this.#flows.size >= MAX_FLOWS)
      throw new ProtocolError(`more than ${MAX_FLOWS} flows`);
    const hash = flowHash({ tuples, mark, status, timeoutS, tcpState: 0 });
    const writtenMs = known?.hash === hash ? known.writtenMs : Number.NEGATIVE_INFINITY;
    this.#flows.set(key, { tuples, mark, status, timeoutS, hash, snapshot: this.#snapshot, writtenMs });
    this.#sum = (this.#sum + hash - (known?.hash ?? 0)) >>> 0;
    return key;
  }

  /** Forgets what the snapshot did not tell. @returns the keys */
  endSnapshot(): string[] {
    const gone: string[] = [];
    for (const [key, flow] of this.#flows) if (flow.snapshot !== this.#snapshot) gone.push(key);
    for (const key of gone) this.#remove(key);
    return gone;
  }

  equals({ count, sum }: FlowDigest): boolean {
    return this.#flows.size === count && this.#sum === sum;
  }

  #remove(key: string): void {
    const known = this.#flows.get(key);
    if (known === undefined) return;
    this.#flows.delete(key);
    this.#sum = (this.#sum - known.hash) >>> 0;
  }
}

import { ProtocolError } from '../session/sync-frame.ts';
import { type FlowDigest, type FlowRecord, flowFrame, KIND } from './flow-frame.ts';
import type { FlowReplica } from './flow-replica.ts';
import type { FlowRoles } from './flow-roles.ts';
import type { FlowWriter } from './flow-writer.ts';

/** Least time between two snapshots that are asked for: what makes tables differ may last. */
const AGAIN_MS = 5000;

/**
 * Takes in what the peer tells of its flows, hands it to the writer, and acknowledges what the kernel has. Pure: frames
 * and time in, frames out.
 */
export class FlowReceiver {
  readonly #replica: FlowReplica;
  readonly #roles: FlowRoles;
  readonly #writer: FlowWriter;
  #received = 0;
  #acked = -1;
  /** Where in the stream the latest snapshot ended; undefined: none has. */
  #endedAt: number | undefined;
  #inSnapshot = false;
  #againDue = false;
  #againMs = Number.NEGATIVE_INFINITY;
  #resyncs = 0;
  #digestEqual: boolean | undefined;
  #filledTold = false;

  constructor(replica: FlowReplica, roles: FlowRoles, writer: FlowWriter) {
    this.#replica = replica;
    this.#roles = roles;
    this.#writer = writer;
  }

  /** Whether the kernel of this node has had a whole snapshot of the peer on this link. */
  get filled(): boolean {
    return this.#endedAt !== undefined && this.#writer.appliedUpTo(this.#received) >= this.#endedAt;
  }

  /** Records of the peer, in its numbering. */
  get received(): number {
    return this.#received;
  }

  /** Snapshots that had to be asked for, because tables differed. */
  get resyncs(): number {
    return this.#resyncs;
  }

  get digestEqual(): boolean | undefined {
    return this.#digestEqual;
  }

  connect(): void {
    this.#writer.rebase();
    // What it told on another link counts until it has told all again.
    this.#replica.beginSnapshot();
    this.#received = 0;
    this.#acked = -1;
    this.#endedAt = undefined;
    this.#inSnapshot = this.#againDue = this.#filledTold = false;
  }

  onBegin(addresses: readonly string[]): void {
    this.#roles.setPeer(addresses);
    this.#replica.beginSnapshot();
    this.#inSnapshot = true;
    this.#endedAt = undefined;
  }

  /** @throws ProtocolError where records are missing or too many */
  onRecords(first: number, records: readonly FlowRecord[]): void {
    if (first !== this.#received)
      throw new ProtocolError(`flow records from ${first}, expected from ${this.#received}`);
    for (const [i, record] of records.entries()) this.#writer.want(this.#replica.apply(record), first + i);
    this.#received += records.length;
  }

  onEnd(digest: FlowDigest, nowMs: number): void {
    if (!this.#inSnapshot) throw new ProtocolError('the end of a flow snapshot that has not begun');
    this.#inSnapshot = false;
    this.#replica.endSnapshot();
    this.#roles.relieve();
    // What this node has from former times, and the peer does not know, has ended meanwhile.
    this.#writer.survey(this.#received);
    this.#endedAt = this.#received;
    this.#compare(digest, nowMs);
  }

  onDigest(digest: FlowDigest, nowMs: number): void {
    if (!this.#inSnapshot) this.#compare(digest, nowMs);
  }

  /** This node follows the peer for other addresses than before: all is looked at again. */
  recheck(): void {
    this.#writer.survey(this.#received);
  }

  /** Whether `next` has a frame. */
  get due(): boolean {
    // A correction is queued at the place of its batch, which may have been acknowledged: the peer's view never goes back.
    return (
      this.#againDue ||
      this.#writer.appliedUpTo(this.#received) > this.#acked ||
      this.filled !== this.#filledTold
    );
  }

  next(): Buffer | undefined {
    if (!this.due) return undefined;
    if (this.#againDue) {
      this.#againDue = false;
      return flowFrame({ kind: KIND.again });
    }
    this.#acked = Math.max(this.#writer.appliedUpTo(this.#received), this.#acked);
    this.#filledTold = this.filled;
    return flowFrame({ kind: KIND.ack, applied: this.#acked, filled: this.#filledTold });
  }

  #compare(digest: FlowDigest, nowMs: number): void {
    this.#digestEqual = this.#replica.equals(digest);
    if (this.#digestEqual || nowMs - this.#againMs < AGAIN_MS) return;
    this.#againMs = nowMs;
    this.#againDue = true;
    this.#resyncs++;
  }
}

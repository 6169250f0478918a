/**
 * Which entries changed, in order, until the peer has acknowledged them. It holds slots, not content: what
 * is sent is what the table holds then, so a resend is never stale and memory is bounded. Sequence numbers
 * count from 0 and name the place between two updates.
 */
export class UpdateLog {
  readonly capacity: number;
  readonly #slots: Int32Array;
  readonly #times: Float64Array;
  readonly #mask: number;
  #acked = 0;
  #sent = 0;
  #end = 0;

  /** @param capacity a power of two */
  constructor(capacity: number) {
    this.capacity = capacity;
    this.#slots = new Int32Array(capacity);
    this.#times = new Float64Array(capacity);
    this.#mask = capacity - 1;
  }

  get acked(): number {
    return this.#acked;
  }

  get sent(): number {
    return this.#sent;
  }

  get end(): number {
    return this.#end;
  }

  get room(): number {
    return this.capacity - (this.#end - this.#acked);
  }

  /** Call only where there is `room`. */
  append(slot: number, nowMs: number): void {
    this.#slots[this.#end & this.#mask] = slot;
    this.#times[this.#end & this.#mask] = nowMs;
    this.#end++;
  }

  slotAt(sequence: number): number {
    return this.#slots[sequence & this.#mask]!;
  }

  markSent(sequence: number): void {
    this.#sent = sequence;
  }

  /** @returns false where the peer acknowledges what was never sent */
  ack(sequence: number): boolean {
    if (sequence < this.#acked || sequence > this.#sent) return false;
    this.#acked = sequence;
    return true;
  }

  /** Starts again from what the peer has. @returns false where that is no longer here */
  resumeFrom(sequence: number): boolean {
    if (sequence < this.#acked || sequence > this.#end) return false;
    this.#acked = sequence;
    this.#sent = sequence;
    return true;
  }

  /** Forgets what is pending; a digest comparison covers it. */
  skip(): void {
    this.#acked = this.#end;
    this.#sent = this.#end;
  }

  /** Age of the oldest update that is not acknowledged, in milliseconds; 0 where there is none. */
  lagMs(nowMs: number): number {
    return this.#acked === this.#end ? 0 : Math.max(0, nowMs - this.#times[this.#acked & this.#mask]!);
  }
}

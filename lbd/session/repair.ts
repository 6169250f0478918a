import { PARTITIONS, WAY_BITS, WAYS } from './layout.ts';
import { digestPartitions, partitionOf, RECORD_WORDS, readRecord } from './scan.ts';
import {
  DIGESTS_HEAD,
  ENTRIES_HEAD,
  FRAME,
  FrameBuilder,
  MAX_RECORDS,
  ProtocolError,
  wordsFrame,
} from './sync-frame.ts';
import type { SessionTable } from './table.ts';

/** Entries whose digests are taken at one go: about 2 ms. */
const SCAN_ENTRIES = 32768;
/** A round that takes its time over the whole table; a million entries cost about half a percent of a core. */
const ROLLING_ROUND_MS = 20_000;
/** After a difference was repaired, look again so soon; doubled each time that one is left. */
const VERIFY_MS = 250;
/** Tables that overflow never agree; then comparing more often only costs. */
const MAX_VERIFY_MS = 64_000;
/** A partition that changed here so recently may differ because the news is still on its way. */
const FRESH_MS = 1000;
/** Rounds in a row in which a fresh partition may differ before it is sent all the same. */
const FRESH_ROUNDS = 8;

/**
 * Finds and mends what differs between the two tables. In a round this node sends the digests of all
 * partitions; the peer compares them with its own, sends all entries of those that differ, then `done`. Each
 * node runs its own rounds, so what one lacks comes from the other, and merging settles conflicts. A round is
 * strict where something is known to be missing (a new link without resume, a lost update): then every
 * difference counts. Else one in a partition that changed a moment ago does not.
 *
 * Pure: no clock, no socket.
 */
export class Repair {
  readonly #table: SessionTable;
  readonly #framePartitions: number;

  /** Rounds of this node. */
  #roundId = 0;
  #roundStrict = false;
  #roundNext = 0;
  #roundState: 'none' | 'sending' | 'waiting' = 'none';
  #rolling = false;
  #strictWanted = false;
  #nextRoundMs = Number.POSITIVE_INFINITY;
  #nextFrameMs = 0;
  #differing = 0;
  /** Whether the tables were equal when last compared. */
  digestEqual: boolean | undefined;

  /** The peer's round. */
  #peerRound = -1;
  #peerStrict = false;
  #peerNext = 0;
  #peerDone = false;
  #mismatches = 0;
  readonly #wanted = new Uint8Array(PARTITIONS);
  readonly #own = new Int32Array(PARTITIONS * 2);
  readonly #changedMs = new Float64Array(PARTITIONS).fill(Number.NEGATIVE_INFINITY);
  /** When anything changed last, here or there. */
  #busyMs = Number.NEGATIVE_INFINITY;
  readonly #strikes = new Uint8Array(PARTITIONS);

  /** Where sending entries is: a bucket in a region, and which of its partitions are wanted. */
  #bucket = 0;
  #bucketEnd = 0;
  #sending = new Uint8Array(PARTITIONS);

  /** Losses of updates so far; how many of them the peer's strict rounds made good. */
  #gaps = 0;
  #coveredGaps = 0;
  #roundGaps = 0;
  /** Rounds of the peer that were ended on this link, and whether a strict one awaits acknowledgement. */
  #donesSent = 0;
  #coverAtDone = 0;
  #coverGaps = 0;

  constructor(table: SessionTable) {
    this.#table = table;
    this.#framePartitions = Math.max(1, Math.floor(SCAN_ENTRIES / (table.capacity / PARTITIONS)));
    this.#framePartitions = Math.min(this.#framePartitions, PARTITIONS);
  }

  /** A new link: rounds under way are void. */
  reset(): void {
    this.#roundState = 'none';
    this.#strictWanted = false;
    this.#nextRoundMs = Number.POSITIVE_INFINITY;
    this.#differing = 0;
    this.digestEqual = undefined;
    this.#peerRound = -1;
    this.#peerDone = false;
    this.#donesSent = this.#coverAtDone = 0;
    this.#wanted.fill(0);
    this.#bucket = this.#bucketEnd = 0;
  }

  /** The peer cannot know of some change: only a strict round of its own helps. */
  noteGap(): void {
    this.#gaps++;
  }

  /** Number of losses so far, for `covers`. */
  get gaps(): number {
    return this.#gaps;
  }

  /** Whether the peer has made good the first `gaps` losses. */
  covers(gaps: number): boolean {
    return this.#coveredGaps >= gaps;
  }

  /** A local change, which the peer may not have yet. */
  noteChange(slot: number, nowMs: number): void {
    const memory = this.#table.memory;
    this.#changedMs[partitionOf(Atomics.load(memory.words, memory.tagAt(slot)))] = nowMs;
    this.#busyMs = nowMs;
  }

  /** The peer's changes came in. */
  noteMerged(nowMs: number): void {
    this.#busyMs = nowMs;
  }

  /** Asks for a strict round as soon as may be. */
  wantStrict(): void {
    this.#strictWanted = true;
  }

  /** Asks for a first comparison where no strict round was needed. */
  wantRolling(nowMs: number): void {
    this.#nextRoundMs = nowMs + VERIFY_MS;
  }

  /** When there is something to send next, if nothing comes before: not after now, where there is already. */
  dueMs(nowMs: number): number {
    if (this.#strictWanted && this.#roundState !== 'waiting') return nowMs;
    if (this.#peerDone || this.#bucket !== this.#bucketEnd || this.#wanted.includes(1)) return nowMs;
    if (this.#roundState === 'none') return this.#nextRoundMs;
    if (this.#roundState === 'waiting') return Number.POSITIVE_INFINITY;
    return this.#paced(nowMs) ? this.#nextFrameMs : nowMs;
  }

  /** The next digests of this node's round, if it is time for any. Send what changed before them first. */
  nextDigests(nowMs: number): Buffer | undefined {
    // A rolling round takes seconds, and what is known to be missing cannot wait: leave it unfinished.
    const overtaken = this.#strictWanted && this.#roundState === 'sending' && !this.#roundStrict;
    if (this.#roundState === 'none' || overtaken) this.#beginRound(nowMs);
    if (this.#roundState !== 'sending' || (this.#paced(nowMs) && nowMs < this.#nextFrameMs)) return undefined;
    const count = Math.min(this.#framePartitions, PARTITIONS - this.#roundNext);
    const frame = new FrameBuilder(FRAME.digests, DIGESTS_HEAD + count * 2);
    frame.words.set([this.#roundId, this.#roundStrict ? 1 : 0, this.#roundNext, count]);
    digestPartitions(this.#table.memory, this.#roundNext, count, frame.words.subarray(DIGESTS_HEAD));
    this.#roundNext += count;
    this.#nextFrameMs = nowMs + (ROLLING_ROUND_MS * count) / PARTITIONS;
    if (this.#roundNext === PARTITIONS) this.#roundState = 'waiting';
    return frame.finish(DIGESTS_HEAD + count * 2);
  }

  /** @returns whether this ends a strict round, after which nothing is missing here */
  onDone(words: Int32Array, nowMs: number): boolean {
    if (this.#roundState !== 'waiting' || words[0] !== this.#roundId)
      throw new ProtocolError(`end of round ${words[0]}, which is not under way`);
    const differing = words[1]!;
    if (differing < 0 || differing > PARTITIONS) throw new ProtocolError(`${differing} partitions differ`);
    this.#roundState = 'none';
    this.digestEqual = differing === 0;
    this.#differing = differing === 0 ? 0 : this.#differing + 1;
    this.#rolling = differing === 0;
    this.#nextRoundMs =
      nowMs + (differing === 0 ? VERIFY_MS : Math.min(VERIFY_MS * 2 ** (this.#differing - 1), MAX_VERIFY_MS));
    return this.#roundStrict;
  }

  /** Compares the peer's digests with this node's. */
  onDigests(words: Int32Array, length: number, nowMs: number): void {
    const [round, strict, first, count] = [words[0]!, words[1]!, words[2]!, words[3]!];
    if (first === 0) {
      if (this.#peerDone) throw new ProtocolError(`round ${round} before the end of ${this.#peerRound}`);
      this.#peerRound = round;
      this.#peerStrict = strict === 1;
      this.#peerNext = 0;
      this.#mismatches = 0;
      this.#roundGaps = this.#gaps;
    }
    const fits = count > 0 && count <= PARTITIONS - first && length === (DIGESTS_HEAD + count * 2) * 4;
    if (round !== this.#peerRound || first !== this.#peerNext || !fits || this.#peerDone)
      throw new ProtocolError(
        `digests of round ${round}, partitions ${first} and ${count} more, out of turn`,
      );
    digestPartitions(this.#table.memory, first, count, this.#own);
    for (let i = 0; i < count; i++) {
      const at = DIGESTS_HEAD + i * 2;
      const equal = words[at] === this.#own[i * 2] && words[at + 1] === this.#own[i * 2 + 1];
      // Nothing here to send: the peer's entries come in this node's own round.
      const empty = this.#own[i * 2] === 0 && this.#own[i * 2 + 1] === 0;
      this.#judge(first + i, equal, empty, nowMs);
    }
    this.#peerNext = first + count;
    this.#peerDone = this.#peerNext === PARTITIONS;
  }

  /** Entries of partitions that differ, as many as fit into a frame. */
  nextEntries(): Buffer | undefined {
    if (this.#bucket === this.#bucketEnd && !this.#nextRegion()) return undefined;
    const memory = this.#table.memory;
    const now = memory.now();
    const frame = new FrameBuilder(FRAME.entries, ENTRIES_HEAD + MAX_RECORDS * RECORD_WORDS);
    frame.words[0] = this.#table.clock;
    let records = 0;
    do {
      for (; this.#bucket < this.#bucketEnd && records <= MAX_RECORDS - WAYS; this.#bucket++) {
        for (let way = 0; way < WAYS; way++) {
          const slot = (this.#bucket << WAY_BITS) | way;
          const tag = Atomics.load(memory.words, memory.tagAt(slot));
          if (tag === 0 || this.#sending[partitionOf(tag)] === 0) continue;
          const at = ENTRIES_HEAD + records * RECORD_WORDS;
          // One that is busy changes now: that change is reported by itself.
          if (readRecord(memory, slot, frame.words, at, now) === 'found') records++;
        }
      }
    } while (records <= MAX_RECORDS - WAYS && this.#nextRegion());
    return records === 0 ? undefined : frame.finish(ENTRIES_HEAD + records * RECORD_WORDS);
  }

  /** The end of the peer's round, once everything that it lacked was sent. */
  nextDone(): Buffer | undefined {
    if (!this.#peerDone) return undefined;
    this.#donesSent++;
    if (this.#peerStrict) {
      this.#coverAtDone = this.#donesSent;
      this.#coverGaps = this.#roundGaps;
    }
    const frame = wordsFrame(FRAME.done, [this.#peerRound, this.#mismatches]);
    this.#peerRound = -1;
    this.#peerDone = false;
    return frame;
  }

  /** The peer has read the end of so many of its rounds, and so all entries before it. */
  onDonesRead(count: number): void {
    if (count > this.#donesSent) throw new ProtocolError(`${count} rounds ended, of ${this.#donesSent}`);
    if (this.#coverAtDone > 0 && count >= this.#coverAtDone) this.#coveredGaps = this.#coverGaps;
  }

  /**
   * Whether this round takes its time. While entries change, a difference is mostly news on its way, and comparing
   * as fast as possible would hold up just that news.
   */
  #paced(nowMs: number): boolean {
    return !this.#roundStrict && (this.#rolling || nowMs - this.#busyMs < FRESH_MS);
  }

  #beginRound(nowMs: number): void {
    if (!this.#strictWanted && nowMs < this.#nextRoundMs) return;
    this.#roundId = (this.#roundId + 1) & 0x7fffffff;
    this.#roundStrict = this.#strictWanted;
    if (this.#strictWanted) this.#rolling = false;
    this.#strictWanted = false;
    this.#roundNext = 0;
    this.#nextFrameMs = nowMs;
    this.#roundState = 'sending';
  }

  #judge(partition: number, equal: boolean, empty: boolean, nowMs: number): void {
    if (equal) {
      this.#strikes[partition] = 0;
      return;
    }
    const fresh = nowMs - this.#changedMs[partition]! < FRESH_MS;
    if (!this.#peerStrict && fresh && this.#strikes[partition]! < FRESH_ROUNDS) {
      this.#strikes[partition]!++;
      return;
    }
    this.#strikes[partition] = 0;
    this.#mismatches++;
    if (!empty) this.#wanted[partition] = 1;
  }

  /** Moves on to the next region with wanted partitions. @returns false where there is none */
  #nextRegion(): boolean {
    const first = this.#wanted.indexOf(1);
    if (first < 0) return false;
    const memory = this.#table.memory;
    const share = memory.partitionsPerRegion;
    const region = Math.floor(first / share);
    const from = region * share;
    this.#sending.fill(0);
    this.#sending.set(this.#wanted.subarray(from, from + share), from);
    this.#wanted.fill(0, from, from + share);
    this.#bucket = region * memory.regionBuckets;
    this.#bucketEnd = this.#bucket + memory.regionBuckets;
    return true;
  }
}

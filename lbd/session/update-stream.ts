import { TokenBucket } from '../../common/token-bucket.ts';
import { MAX_VERSION } from './layout.ts';
import type { Repair } from './repair.ts';
import { RECORD_WORDS, readRecord } from './scan.ts';
import {
  checkRecords,
  ENTRIES_HEAD,
  FRAME,
  FrameBuilder,
  MAX_RECORDS,
  ProtocolError,
  sequenceFrom,
  sequenceWords,
  UPDATES_HEAD,
  wordsFrame,
} from './sync-frame.ts';
import type { Hello } from './sync-hello.ts';
import type { SessionTable } from './table.ts';
import { UpdateLog } from './update-log.ts';

/** Two thirds of a second of updates at the rate that must hold; 0.75 MiB. */
const LOG_CAPACITY = 65536;
/** Updates on their way; the rest waits, so that a slow peer does not fill this node's memory. */
const WINDOW = 32768;
/** Changes taken out of the rings at one go: about a millisecond. */
const DRAIN_MAX = 16384;

/** How far the peer may move the clock, which goes on by one a second or so. Half of its range remains in any case: 34 years. */
const CLOCK_JUMPS = { first: 2 ** 30, perSecond: 10, burst: 2 ** 20 } as const;

/**
 * Changes of entries, in order: this node's on their way to the peer, and the peer's into this node's table. Each direction
 * has its own sequence numbers. What cannot be told in order any more is a gap, which a round of digests must close.
 */
export class UpdateStream {
  readonly #table: SessionTable;
  readonly #repair: Repair;
  readonly #log = new UpdateLog(LOG_CAPACITY);
  readonly #jumps = new TokenBucket(CLOCK_JUMPS);
  readonly #drained = new Int32Array(DRAIN_MAX);
  #isUp = false;
  #roundDue = false;
  #gapSinceMs = 0;
  /** Losses of updates before this link: what the peer has of all before, its rounds must show. */
  #linkGaps = 0;
  /** What this node has of the peer: all updates before `received` of that boot, if `whole`. */
  #peerBoot = '';
  #received = 0;
  #whole = false;

  constructor(table: SessionTable, repair: Repair) {
    this.#table = table;
    this.#repair = repair;
  }

  /** A new link. */
  begin(): void {
    this.#isUp = false;
    this.#roundDue = false;
  }

  /** The link is gone. */
  end(): void {
    this.#isUp = false;
  }

  /** What this node has of the peer; null: not all. For its hello. */
  get known(): Hello['known'] {
    return this.#whole ? { boot: this.#peerBoot, received: this.#received } : null;
  }

  /** Whether this node has all that the peer has. */
  get isWhole(): boolean {
    return this.#whole;
  }

  /** Whether the peer can have all that this node has. */
  get isCovered(): boolean {
    return this.#repair.covers(this.#repair.gaps);
  }

  /** Whether nothing of this node was ever told or lost. */
  get isUnused(): boolean {
    return this.#log.end === 0;
  }

  get hasNews(): boolean {
    return this.#log.sent < this.#log.end || this.#roundDue;
  }

  get isSent(): boolean {
    return this.#log.sent === this.#log.end;
  }

  /** Whether the peer has acknowledged all that was sent. */
  get isAcked(): boolean {
    return this.#log.acked === this.#log.sent;
  }

  get acked(): number {
    return this.#log.acked;
  }

  /** Of the peer, for the acknowledgement. */
  get received(): number {
    return this.#received;
  }

  /** The place after every change up to now. */
  get mark(): number {
    return this.#log.end + this.#table.changes.pending;
  }

  /** Whether the peer has everything before a mark, and before so many gaps. */
  reached(mark: number, gaps: number): boolean {
    return this.#log.acked >= mark && this.#repair.covers(Math.max(gaps, this.#linkGaps));
  }

  /** How far the peer is behind, in milliseconds. */
  lagMs(nowMs: number): number {
    const behindMs = this.isCovered ? 0 : nowMs - this.#gapSinceMs;
    return Math.max(this.#log.lagMs(nowMs), behindMs);
  }

  /** @param boot of this node @returns whether the updates resume where the peer left off @throws ProtocolError */
  onHello(hello: Hello, boot: string, nowMs: number): boolean {
    if (hello.boot !== this.#peerBoot) {
      this.#peerBoot = hello.boot;
      this.#received = 0;
      this.#whole = false;
    }
    this.#checkClock(hello.clock, nowMs);
    this.#table.raiseClock(Math.min(hello.clock + 1, MAX_VERSION));
    const resume = hello.known?.boot === boot && this.isCovered && this.#log.resumeFrom(hello.known.received);
    if (!resume) {
      this.#log.skip();
      this.#noteGap(nowMs);
    }
    this.#linkGaps = this.#repair.gaps;
    this.#isUp = true;
    return resume;
  }

  /** The frame that says where this node's updates begin. */
  startFrame(resume: boolean): Buffer {
    return wordsFrame(FRAME.start, [resume ? 1 : 0, ...sequenceWords(this.#log.acked)]);
  }

  /** Where the peer's updates begin. @throws ProtocolError where they resume elsewhere than this node left off */
  onStart(words: Int32Array, nowMs: number): void {
    const sequence = sequenceFrom(words, 1);
    if (words[0] === 1) {
      if (!this.#whole || sequence !== this.#received)
        throw new ProtocolError(`resume at ${sequence}, expected ${this.#whole ? this.#received : 'none'}`);
      this.#repair.wantRolling(nowMs);
    } else {
      this.#received = sequence;
      this.#whole = false;
      this.#repair.wantStrict();
    }
  }

  /** A strict round of this node has ended: nothing of the peer is missing. */
  becomeWhole(): void {
    this.#whole = true;
  }

  /** The next updates to send, as many as the peer may have on their way. */
  next(nowMs: number): Buffer | undefined {
    const log = this.#log;
    const count = Math.min(log.end - log.sent, MAX_RECORDS, WINDOW - (log.sent - log.acked));
    if (count <= 0) return undefined;
    const frame = new FrameBuilder(FRAME.updates, UPDATES_HEAD + count * RECORD_WORDS);
    frame.words.set([...sequenceWords(log.sent), count, this.#table.clock]);
    const memory = this.#table.memory;
    const now = memory.now();
    let at = UPDATES_HEAD;
    for (let i = 0; i < count; i++) {
      const result = readRecord(memory, log.slotAt(log.sent + i), frame.words, at, now);
      if (result === 'found') at += RECORD_WORDS;
      else if (result === 'busy') this.#loseUpdate(nowMs);
    }
    log.markSent(log.sent + count);
    return frame.finish(at);
  }

  /** Asks the peer for a round of digests, where an update could not be told. */
  nextRound(): Buffer | undefined {
    if (!this.#roundDue) return undefined;
    this.#roundDue = false;
    return wordsFrame(FRAME.round);
  }

  /** @throws ProtocolError for updates out of order, or that are none */
  onUpdates(words: Int32Array, length: number, nowMs: number): void {
    const sequence = sequenceFrom(words, 0);
    const count = words[2]!;
    if (sequence !== this.#received || count < 1 || count > WINDOW)
      throw new ProtocolError(`updates from ${sequence}, ${count} of them; expected from ${this.#received}`);
    this.#merge(words, UPDATES_HEAD, length, words[3]!, nowMs);
    this.#repair.noteMerged(nowMs);
    this.#received += count;
  }

  /** Entries that the comparison of tables brought. @throws ProtocolError for what is none */
  onEntries(words: Int32Array, length: number, nowMs: number): void {
    this.#merge(words, ENTRIES_HEAD, length, words[0]!, nowMs);
  }

  /** @returns false where the peer acknowledges what was never sent */
  ack(sequence: number): boolean {
    return this.#log.ack(sequence);
  }

  /** Takes in what the workers changed. @returns how many changes */
  drain(nowMs: number): number {
    // Without a peer the log is a memory for a short break; a longer one ends in digests.
    if (!this.#isUp && this.#log.room < DRAIN_MAX) {
      this.#log.skip();
      this.#noteGap(nowMs);
    }
    const count = this.#table.changes.drain(this.#drained, Math.min(DRAIN_MAX, this.#log.room));
    for (let i = 0; i < count; i++) {
      this.#log.append(this.#drained[i]!, nowMs);
      this.#repair.noteChange(this.#drained[i]!, nowMs);
    }
    if (this.#table.changes.takeOverflow()) this.#loseUpdate(nowMs);
    return count;
  }

  #merge(words: Int32Array, head: number, length: number, clock: number, nowMs: number): void {
    const { count, version } = checkRecords(words, head, length);
    if (clock < 1) throw new ProtocolError(`clock ${clock}`);
    this.#checkClock(Math.max(clock, version), nowMs);
    this.#table.raiseClock(clock);
    const now = this.#table.memory.now();
    for (let i = 0; i < count; i++) this.#table.merge(words, head + i * RECORD_WORDS, now);
  }

  /** @throws ProtocolError where the peer moves the clock of sessions too far */
  #checkClock(clock: number, nowMs: number): void {
    const jump = clock - this.#table.clock;
    if (!this.#jumps.take(nowMs, jump)) throw new ProtocolError(`a clock of sessions that is ${jump} ahead`);
  }

  /** An update that cannot be told: only digests will find it. */
  #loseUpdate(nowMs: number): void {
    this.#noteGap(nowMs);
    this.#roundDue = this.#isUp;
  }

  #noteGap(nowMs: number): void {
    if (this.isCovered) this.#gapSinceMs = nowMs;
    this.#repair.noteGap();
  }
}

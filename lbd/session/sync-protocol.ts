import type { SyncStatus } from '../../common/control.ts';
import { TokenBucket } from '../../common/token-bucket.ts';
import { MAX_VERSION } from './layout.ts';
import { ENGINE_PREFIX, type Registers } from './registers.ts';
import { Repair } from './repair.ts';
import { RECORD_WORDS, readRecord } from './scan.ts';
import {
  bytesFrame,
  checkRecords,
  ENTRIES_HEAD,
  FRAME,
  FrameBuilder,
  FrameReader,
  type FrameType,
  MAX_RECORDS,
  ProtocolError,
  sequenceFrom,
  sequenceWords,
  UPDATES_HEAD,
  wordsFrame,
} from './sync-frame.ts';
import { type Hello, helloFrame, parseHello, parseRegister, registerFrame } from './sync-hello.ts';
import type { SessionTable } from './table.ts';
import { UpdateLog } from './update-log.ts';

/** Two thirds of a second of updates at the rate that must hold; 0.75 MiB. */
const LOG_CAPACITY = 65536;
/** Updates on their way; the rest waits, so that a slow peer does not fill this node's memory. */
const WINDOW = 32768;
/** Changes taken out of the rings at one go: about a millisecond. */
const DRAIN_MAX = 16384;
const PING_MS = 1000;
const DEAD_MS = 3000;
/** A peer that talks but does not get to the point: so long for its greeting after the link is up, */
const GREET_MS = 5000;
/** without an acknowledgement of what is on its way, */
const STALL_MS = 15_000;
/** and without any progress of the comparison of tables that is to bring both in step. */
const REPAIR_STALL_MS = 30_000;

/** How far the peer may move the clock, which goes on by one a second or so. Half of its range remains in any case: 34 years. */
const CLOCK_JUMPS = { first: 2 ** 30, perSecond: 10, burst: 2 ** 20 } as const;

/**
 * What else travels on the link, in frames of type `flows`, to a peer whose hello offers it. All calls come from the
 * protocol; a frame may be made and read in about a millisecond.
 */
export interface SyncCompanion {
  /** Names the connection table of this node's kernel, 16 hex digits: another one after each boot. Told to the peer. */
  readonly tableMark: string | undefined;
  /** A link to a peer that takes part. @param peerMark of the peer; undefined: it has none, or its release tells none */
  connect(nowMs: number, peerMark?: string): void;
  disconnect(): void;
  /** @param payload valid during the call only @throws ProtocolError where it breaks the rules */
  receive(payload: Buffer, nowMs: number): void;
  /** The next frame to send, whole; undefined where there is none now. */
  pull(nowMs: number): Buffer | undefined;
  /** Whether this node has what the peer holds for it, or cannot have it. */
  readonly complete: boolean;
  /** Milliseconds until there is something to pull, if nothing happens; `Infinity`: never. */
  idleMs(nowMs: number): number;
  /** To be called when that changes by itself; set by whoever pulls. */
  onNews: (() => void) | undefined;
  /** The place after every change up to now, and whether the peer has everything before it. */
  mark(): number;
  reached(mark: number): boolean;
}

/** Secrets of session tickets, told as a whole whenever they change. The link is the only place where they travel. */
export interface TicketSharing {
  encode(nowMs: number): Buffer;
  /** @param payload valid during the call only @throws Error where it breaks the rules */
  merge(payload: Buffer, nowMs: number): void;
}

export interface SyncProtocolOptions {
  readonly table: SessionTable;
  readonly registers: Registers;
  readonly cluster: string;
  /** Names of this node and of the other one. */
  readonly node: string;
  readonly peer: string;
  /** 16 hex digits, random at each start of the process. */
  readonly boot: string;
  readonly companion?: SyncCompanion | undefined;
  /** Secrets of session tickets that both nodes share. */
  readonly tickets?: TicketSharing | undefined;
  /** Whether this node takes a second connection for heartbeats. */
  readonly heartbeats?: boolean;
  /** The peer greeted: whether it takes such a connection, too. */
  onGreeted?(heartbeats: boolean): void;
}

/** A place in the stream of changes, see `SyncProtocol.mark`. */
export interface SyncMark {
  readonly updates: number;
  readonly registers: number;
  readonly gaps: number;
  readonly companion: number;
}

/**
 * Session sync as a state machine: bytes in through `receive`, time through `tick`, frames out through
 * `pull`, which makes them only when the link can take them, so backpressure needs no queue. Both nodes run
 * the same code; each direction has its own sequence numbers.
 *
 * After a link is up: `hello` from both, and the key of the hashes, where they differ; then `start`, which says whether the updates resume where the peer
 * left off or whether it must compare digests first; then `updates`, acknowledged by sequence number, beside
 * rounds of digests (see `Repair`), registers and pings. What was lost anywhere (a full ring, a full log, a
 * restart) ends in a strict round of digests.
 */
export class SyncProtocol {
  readonly #options: SyncProtocolOptions;
  readonly #table: SessionTable;
  readonly #registers: Registers;
  readonly #log = new UpdateLog(LOG_CAPACITY);
  readonly #repair: Repair;
  readonly #reader = new FrameReader();
  readonly #jumps = new TokenBucket(CLOCK_JUMPS);
  readonly #drained = new Int32Array(DRAIN_MAX);

  #link: 'down' | 'greeting' | 'up' = 'down';
  #failure: string | undefined;
  #refusal: Buffer | undefined;
  #helloSent = false;
  #start: Buffer | undefined;
  #roundDue = false;
  #gapSinceMs = 0;
  #tickMs = 0;
  #heardMs = 0;
  #sentMs = 0;
  /** Start of the link, latest acknowledgement and latest progress of the repair; each no earlier than it matters. */
  #linkedMs = 0;
  #ackedMs = 0;
  #repairedMs = 0;

  /** Losses of updates before this link: what the peer has of all before, its rounds must show. */
  #linkGaps = 0;

  /** What this node has of the peer: all updates before `received` of that boot, if `whole`. */
  #peerBoot = '';
  #received = 0;
  #whole = false;
  #peerStarted = false;
  #ackDue = false;
  #warning = '';

  /** Registers: keys to send; counts on this link. */
  readonly #registerKeys = new Set<string>();
  #registersSent = 0;
  #registersAcked = 0;
  #registersReceived = 0;
  /** Ends of this node's rounds that were read on this link. */
  #donesReceived = 0;
  #merging = false;
  /** The peer shares tickets, and those of this node are not told yet. */
  #ticketsDue = false;
  #tellsTickets = false;
  #tellsEngines = false;
  /** A peer has agreed on the hash key. */
  #everStarted = false;
  /** What the hello of this link says. */
  #offersToTake = false;
  /** Fingerprint of the peer's hash key that must come before anything else; undefined: they agree, or the peer takes it. */
  #awaitedKey: number | undefined;
  #hashKeyDue = false;
  /** The peer takes part, too; undefined: there is none, or no link. */
  #companion: SyncCompanion | undefined;

  constructor(options: SyncProtocolOptions) {
    this.#options = options;
    this.#table = options.table;
    this.#registers = options.registers;
    this.#repair = new Repair(options.table);
    options.registers.onChange((key) => {
      if (!this.#merging) this.#registerKeys.add(key);
    });
  }

  /** Why the link must be closed, once `pull` has nothing more; undefined while all is well. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** Whether both sides have greeted each other. */
  get established(): boolean {
    return this.#link === 'up' && this.#peerStarted && this.#failure === undefined;
  }

  /** A new link to the peer. Any former one is gone. */
  connect(nowMs: number): void {
    this.#link = 'greeting';
    this.#failure = undefined;
    this.#refusal = undefined;
    this.#helloSent = false;
    this.#start = undefined;
    this.#peerStarted = false;
    this.#offersToTake = this.#takesHashKey;
    this.#awaitedKey = undefined;
    this.#hashKeyDue = false;
    this.#ackDue = false;
    this.#roundDue = false;
    this.#heardMs = this.#sentMs = this.#linkedMs = this.#ackedMs = this.#repairedMs = nowMs;
    this.#registersSent = this.#registersAcked = this.#registersReceived = 0;
    this.#donesReceived = 0;
    this.#companion?.disconnect();
    this.#companion = undefined;
    for (const key of this.#registers.keys()) this.#registerKeys.add(key);
    this.#reader.reset();
    this.#repair.reset();
  }

  /** The secrets of session tickets are others now. */
  ticketsChanged(): void {
    this.#ticketsDue = this.#tellsTickets;
  }

  disconnect(): void {
    this.#link = 'down';
    this.#tellsTickets = this.#ticketsDue = false;
    this.#companion?.disconnect();
    this.#companion = undefined;
  }

  /**
   * Bytes from the peer. A breach of the protocol sets `failure`.
   *
   * @returns how many were taken: digests take long to compare (2 ms), so it stops after them; call again
   */
  receive(chunk: Uint8Array, nowMs: number): number {
    if (this.#link === 'down' || this.#failure !== undefined) return chunk.length;
    this.#heardMs = nowMs;
    try {
      return this.#reader.push(chunk, (type, length) => {
        this.#handle(type, length, nowMs);
        return type === FRAME.digests || this.#failure !== undefined;
      });
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#fail(error.message);
      this.#refusal = bytesFrame(FRAME.refused, Buffer.from(error.message.slice(0, 256)));
      return chunk.length;
    }
  }

  /**
   * Takes in what the workers changed, and watches the link: call it every few milliseconds while anything changes, and
   * several times a second else, see `idleMs`.
   *
   * @returns changes that were taken in
   */
  tick(nowMs: number): number {
    const taken = this.#drain(nowMs);
    this.#watch(nowMs);
    return taken;
  }

  #watch(nowMs: number): void {
    // This thread slept: the peer's bytes may wait in the socket, so its silence proves nothing.
    if (nowMs - this.#tickMs > PING_MS)
      this.#heardMs = this.#linkedMs = this.#ackedMs = this.#repairedMs = nowMs;
    this.#tickMs = nowMs;
    if (this.#link === 'down' || this.#failure !== undefined) return;
    const { peer } = this.#options;
    if (nowMs - this.#heardMs > DEAD_MS) this.#fail(`${peer} was silent for ${DEAD_MS} ms`);
    else if (!this.established) {
      if (nowMs - this.#linkedMs > GREET_MS) this.#fail(`${peer} did not greet within ${GREET_MS} ms`);
    } else this.#watchProgress(nowMs);
  }

  /** Milliseconds until there is something to send, if nothing changes here and nothing comes; `Infinity`: never. */
  idleMs(nowMs: number): number {
    if (this.#link !== 'up' || this.#failure !== undefined) return Number.POSITIVE_INFINITY;
    const { sent, end } = this.#log;
    const answers = this.#start !== undefined || this.#ackDue;
    const news = this.#registerKeys.size > 0 || this.#ticketsDue || sent < end || this.#roundDue;
    if (answers || news) return 0;
    const companionMs = this.#companion?.idleMs(nowMs) ?? Number.POSITIVE_INFINITY;
    return Math.max(
      0,
      Math.min(companionMs, this.#repair.dueMs(nowMs) - nowMs, this.#sentMs + PING_MS - nowMs),
    );
  }

  /** Somebody who only keeps the link alive must not pass for a peer in step. */
  #watchProgress(nowMs: number): void {
    const { peer } = this.#options;
    const log = this.#log;
    if (log.acked === log.sent && this.#registersAcked === this.#registersSent) this.#ackedMs = nowMs;
    if (this.#whole && this.#repair.covers(this.#repair.gaps)) this.#repairedMs = nowMs;
    if (nowMs - this.#ackedMs > STALL_MS)
      this.#fail(`${peer} has acknowledged nothing for ${STALL_MS / 1000} s`);
    else if (nowMs - this.#repairedMs > REPAIR_STALL_MS)
      this.#fail(`${peer} has not gone on with the comparison of tables for ${REPAIR_STALL_MS / 1000} s`);
  }

  /** The next frame to send, at most 64 KiB; undefined where there is none now. Takes up to 2 ms. */
  pull(nowMs: number): Buffer | undefined {
    const frame = this.#next(nowMs);
    if (frame) this.#sentMs = nowMs;
    return frame;
  }

  status(nowMs: number): SyncStatus {
    const complete =
      this.#whole && this.#repair.covers(this.#repair.gaps) && this.#companion?.complete !== false;
    const behindMs = this.#repair.covers(this.#repair.gaps) ? 0 : nowMs - this.#gapSinceMs;
    return {
      state: !this.established ? 'connecting' : complete ? 'synced' : 'snapshot',
      entries: this.#table.size,
      capacity: this.#table.capacity,
      lag_ms: Math.max(this.#log.lagMs(nowMs), behindMs),
      why: this.#failure ?? this.#warning,
      digest_equal: this.established ? this.#repair.digestEqual : undefined,
    };
  }

  /** The place in the stream after every change up to now. */
  mark(nowMs: number): SyncMark {
    this.#drain(nowMs);
    return {
      updates: this.#log.end + this.#table.changes.pending,
      registers: this.#registersSent + this.#registerKeys.size,
      gaps: this.#repair.gaps,
      companion: this.#companion?.mark() ?? 0,
    };
  }

  /** Whether the peer has everything before the mark. */
  reached(mark: SyncMark): boolean {
    return (
      this.established &&
      this.#log.acked >= mark.updates &&
      this.#registerKeys.size === 0 &&
      this.#registersAcked === this.#registersSent &&
      this.#repair.covers(Math.max(mark.gaps, this.#linkGaps)) &&
      this.#companion?.reached(mark.companion) !== false
    );
  }

  #fail(cause: string): void {
    this.#failure = cause;
  }

  #next(nowMs: number): Buffer | undefined {
    if (this.#link === 'down') return undefined;
    if (this.#failure !== undefined) {
      const refusal = this.#refusal;
      this.#refusal = undefined;
      return refusal;
    }
    if (!this.#helloSent) {
      this.#helloSent = true;
      return helloFrame(this.#hello());
    }
    if (this.#link !== 'up' || this.#awaitedKey !== undefined) return undefined;
    if (this.#hashKeyDue) {
      this.#hashKeyDue = false;
      return wordsFrame(FRAME.hashKey, [...this.#table.hashKey]);
    }
    if (this.#start) {
      const start = this.#start;
      this.#start = undefined;
      return start;
    }
    if (this.#ackDue) {
      this.#ackDue = false;
      return wordsFrame(FRAME.ack, [
        ...sequenceWords(this.#received),
        this.#registersReceived,
        this.#donesReceived,
      ]);
    }
    return (
      this.#nextTickets(nowMs) ??
      this.#nextRegister() ??
      this.#nextUpdates(nowMs) ??
      this.#companion?.pull(nowMs) ??
      this.#nextRepair(nowMs) ??
      this.#nextPing(nowMs)
    );
  }

  #nextTickets(nowMs: number): Buffer | undefined {
    if (!this.#ticketsDue) return undefined;
    this.#ticketsDue = false;
    return bytesFrame(FRAME.tickets, this.#options.tickets!.encode(nowMs));
  }

  #nextRegister(): Buffer | undefined {
    for (const key of this.#registerKeys) {
      this.#registerKeys.delete(key);
      if (key.startsWith(ENGINE_PREFIX) && !this.#tellsEngines) continue;
      const register = this.#registers.register(key);
      if (!register) continue;
      this.#registersSent++;
      return registerFrame(register);
    }
    return undefined;
  }

  #nextUpdates(nowMs: number): Buffer | undefined {
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

  #nextRepair(nowMs: number): Buffer | undefined {
    // Digests must follow every update that they cover, or they would differ for nothing.
    const digests = this.#log.sent === this.#log.end ? this.#repair.nextDigests(nowMs) : undefined;
    if (digests) return digests;
    if (this.#roundDue) {
      this.#roundDue = false;
      return wordsFrame(FRAME.round);
    }
    return this.#repair.nextEntries() ?? this.#repair.nextDone();
  }

  #nextPing(nowMs: number): Buffer | undefined {
    return nowMs - this.#sentMs >= PING_MS ? wordsFrame(FRAME.ping) : undefined;
  }

  #hello(): Hello {
    const { cluster, node, boot } = this.#options;
    return {
      cluster,
      node,
      boot,
      capacity: this.#table.capacity,
      keyFingerprint: this.#table.keyFingerprint,
      clock: this.#table.clock,
      known: this.#whole ? { boot: this.#peerBoot, received: this.#received } : null,
      flows: this.#options.companion !== undefined,
      flowTable: this.#options.companion?.tableMark,
      heartbeats: this.#options.heartbeats === true,
      tickets: this.#options.tickets !== undefined,
      engines: true,
      takesHashKey: this.#offersToTake,
    };
  }

  #handle(type: FrameType, length: number, nowMs: number): void {
    const words = this.#reader.payload;
    if (type === FRAME.refused) this.#onRefused(length);
    else if (type === FRAME.hello) this.#onHello(parseHello(this.#reader.bytes(length)), nowMs);
    else if (this.#link !== 'up') throw new ProtocolError(`frame of type ${type} before the hello`);
    else if (type === FRAME.hashKey) this.#onHashKey(words);
    else if (type === FRAME.start) this.#onStart(words, nowMs);
    else if (!this.#peerStarted) throw new ProtocolError(`frame of type ${type} before the start`);
    else if (type === FRAME.updates) this.#onUpdates(words, length, nowMs);
    else if (type === FRAME.ack) this.#onAck(words, nowMs);
    else if (type === FRAME.entries) {
      this.#repairedMs = nowMs;
      this.#mergeAll(words, ENTRIES_HEAD, length, words[0]!, nowMs);
    } else if (type === FRAME.register) this.#onRegister(length, nowMs);
    else if (type === FRAME.round) this.#repair.wantStrict();
    else if (type === FRAME.digests) {
      // The comparison must see what the workers changed, or it would take it for a difference.
      this.#drain(nowMs);
      this.#repairedMs = nowMs;
      this.#repair.onDigests(words, length, nowMs);
    } else if (type === FRAME.done) this.#onDone(words, nowMs);
    else if (type === FRAME.flows) this.#companion?.receive(this.#reader.bytes(length), nowMs);
    else if (type === FRAME.tickets) this.#onTickets(length, nowMs);
  }

  /** Nothing here is placed by this node's hash key. */
  get #takesHashKey(): boolean {
    return !this.#everStarted && this.#log.end === 0 && this.#table.unused;
  }

  /**
   * The secret was replaced, and one of the two started before that: who has had no sessions takes over the key of the
   * hashes from the other one, and of two such nodes the one whose name sorts first.
   */
  #agreeOnHashKey({ keyFingerprint, takesHashKey }: Hello): void {
    if (keyFingerprint === this.#table.keyFingerprint) return;
    const { node, peer } = this.#options;
    const takes = takesHashKey !== undefined && this.#offersToTake && (!takesHashKey || node < peer);
    if (takes) this.#awaitedKey = keyFingerprint;
    else if (takesHashKey === true) this.#hashKeyDue = true;
    else
      throw new ProtocolError(
        'session keys differ: both nodes need the same secret; if they have it, restart lbd of the standby',
      );
  }

  #onHashKey(words: Int32Array): void {
    const awaited = this.#awaitedKey;
    if (awaited === undefined) throw new ProtocolError('a key of the hashes, which nobody asked for');
    if (!this.#takesHashKey) throw new ProtocolError('session keys differ, and sessions came meanwhile');
    if (!this.#table.adoptHashKey(words.slice(0, 4), awaited))
      throw new ProtocolError('another key of the hashes than the hello said');
    this.#awaitedKey = undefined;
  }

  #onTickets(length: number, nowMs: number): void {
    if (!this.#tellsTickets) throw new ProtocolError('secrets of tickets, which nobody asked for');
    try {
      this.#options.tickets!.merge(this.#reader.bytes(length), nowMs);
    } catch (error) {
      // What is wrong with it may quote it.
      throw new ProtocolError('malformed secrets of tickets', { cause: error });
    }
  }

  #onDone(words: Int32Array, nowMs: number): void {
    if (this.#repair.onDone(words, nowMs)) this.#whole = true;
    this.#repairedMs = nowMs;
    this.#donesReceived++;
    this.#ackDue = true;
  }

  #onRefused(length: number): void {
    const text = this.#reader
      .bytes(length)
      .toString('latin1')
      .replaceAll(/[^ -~]/g, '?');
    this.#fail(`${this.#options.peer} refused: ${text}`);
  }

  #onHello(hello: Hello, nowMs: number): void {
    const { cluster, node, peer, boot } = this.#options;
    if (this.#link === 'up') throw new ProtocolError('a second hello');
    if (hello.cluster !== cluster)
      throw new ProtocolError(
        `the peer is of cluster ${JSON.stringify(hello.cluster)}, this node of "${cluster}"`,
      );
    if (hello.node !== peer || hello.boot === boot)
      throw new ProtocolError(`${JSON.stringify(hello.node)} called, "${node}" expects "${peer}"`);
    this.#agreeOnHashKey(hello);
    this.#warning =
      hello.capacity === this.#table.capacity
        ? ''
        : `sessions.capacity is ${this.#table.capacity} here and ${hello.capacity} on ${peer}: the smaller table forgets first`;
    if (hello.boot !== this.#peerBoot) {
      this.#peerBoot = hello.boot;
      this.#received = 0;
      this.#whole = false;
    }
    this.#checkClock(hello.clock, nowMs);
    this.#table.raiseClock(Math.min(hello.clock + 1, MAX_VERSION));
    const resume =
      hello.known?.boot === boot &&
      this.#repair.covers(this.#repair.gaps) &&
      this.#log.resumeFrom(hello.known.received);
    if (!resume) {
      this.#log.skip();
      this.#noteGap(nowMs);
    }
    this.#linkGaps = this.#repair.gaps;
    this.#start = wordsFrame(FRAME.start, [resume ? 1 : 0, ...sequenceWords(this.#log.acked)]);
    this.#link = 'up';
    if (hello.flows === true && this.#options.companion !== undefined) {
      this.#companion = this.#options.companion;
      this.#companion.connect(nowMs, hello.flowTable);
    }
    this.#tellsEngines = hello.engines === true;
    this.#tellsTickets = hello.tickets === true && this.#options.tickets !== undefined;
    this.#ticketsDue = this.#tellsTickets;
    this.#options.onGreeted?.(hello.heartbeats === true);
  }

  #onStart(words: Int32Array, nowMs: number): void {
    if (this.#peerStarted) throw new ProtocolError('a second start');
    if (this.#awaitedKey !== undefined) throw new ProtocolError('a start before the key of the hashes');
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
    this.#peerStarted = this.#everStarted = true;
  }

  #onUpdates(words: Int32Array, length: number, nowMs: number): void {
    const sequence = sequenceFrom(words, 0);
    const count = words[2]!;
    if (sequence !== this.#received || count < 1 || count > WINDOW)
      throw new ProtocolError(`updates from ${sequence}, ${count} of them; expected from ${this.#received}`);
    this.#mergeAll(words, UPDATES_HEAD, length, words[3]!, nowMs);
    this.#repair.noteMerged(nowMs);
    this.#received += count;
    this.#ackDue = true;
  }

  #mergeAll(words: Int32Array, head: number, length: number, clock: number, nowMs: number): void {
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

  #onAck(words: Int32Array, nowMs: number): void {
    const sequence = sequenceFrom(words, 0);
    const registers = words[2]!;
    if (sequence > this.#log.acked || registers > this.#registersAcked) this.#ackedMs = nowMs;
    if (!this.#log.ack(sequence) || registers < this.#registersAcked || registers > this.#registersSent)
      throw new ProtocolError(`acknowledgement of ${sequence} and ${registers}, which were not sent`);
    this.#registersAcked = registers;
    this.#repair.onDonesRead(words[3]!);
  }

  #onRegister(length: number, nowMs: number): void {
    this.#merging = true;
    try {
      const register = parseRegister(this.#reader.bytes(length));
      const breach = this.#registers.breachOf(register, nowMs);
      if (breach !== undefined) throw new ProtocolError(breach);
      this.#registers.merge(register);
    } finally {
      this.#merging = false;
    }
    this.#registersReceived++;
    this.#ackDue = true;
  }

  #drain(nowMs: number): number {
    const up = this.#link === 'up';
    // Without a peer the log is a memory for a short break; a longer one ends in digests.
    if (!up && this.#log.room < DRAIN_MAX) {
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

  /** An update that cannot be told: only digests will find it. */
  #loseUpdate(nowMs: number): void {
    this.#noteGap(nowMs);
    this.#roundDue = this.#link === 'up';
  }

  #noteGap(nowMs: number): void {
    if (this.#repair.covers(this.#repair.gaps)) this.#gapSinceMs = nowMs;
    this.#repair.noteGap();
  }
}

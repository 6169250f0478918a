import type { SyncStatus } from '../../common/control.ts';
import { Greeting, type GreetingOptions } from './greeting.ts';
import { LinkWatch } from './link-watch.ts';
import { RegisterExchange } from './register-exchange.ts';
import type { Registers } from './registers.ts';
import { Repair } from './repair.ts';
import type { SyncCompanion } from './sync-companion.ts';
import {
  bytesFrame,
  FRAME,
  FrameReader,
  type FrameType,
  ProtocolError,
  sequenceFrom,
  sequenceWords,
  wordsFrame,
} from './sync-frame.ts';
import { type Hello, parseHello } from './sync-hello.ts';
import type { SessionTable } from './table.ts';
import { UpdateStream } from './update-stream.ts';

export interface SyncProtocolOptions extends GreetingOptions {
  readonly registers: Registers;
  /** The peer greeted: whether it takes a second connection for heartbeats. */
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
 * After the greeting: `updates`, acknowledged by sequence number, beside rounds of digests (see `Repair`), registers and
 * pings. What was lost anywhere (a full ring, a full log, a restart) ends in a strict round of digests.
 */
export class SyncProtocol {
  readonly #options: SyncProtocolOptions;
  readonly #table: SessionTable;
  readonly #repair: Repair;
  readonly #updates: UpdateStream;
  readonly #registers: RegisterExchange;
  readonly #greeting: Greeting;
  readonly #watch = new LinkWatch();
  readonly #reader = new FrameReader();

  #isDown = true;
  #failure: string | undefined;
  #refusal: Buffer | undefined;
  #ackDue = false;
  /** Ends of this node's rounds that were read on this link. */
  #donesReceived = 0;
  /** The peer shares tickets, and those of this node are not told yet. */
  #ticketsDue = false;
  #tellsTickets = false;
  /** The peer takes part, too; undefined: there is none, or no link. */
  #companion: SyncCompanion | undefined;

  constructor(options: SyncProtocolOptions) {
    const { table, registers } = options;
    this.#options = options;
    this.#table = table;
    this.#repair = new Repair(table);
    this.#updates = new UpdateStream(table, this.#repair);
    this.#registers = new RegisterExchange(registers);
    this.#greeting = new Greeting(options, this.#updates);
  }

  /** Why the link must be closed, once `pull` has nothing more; undefined while all is well. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** Whether both sides have greeted each other. */
  get established(): boolean {
    return !this.#isDown && this.#greeting.isOver && this.#failure === undefined;
  }

  /** A new link to the peer. Any former one is gone. */
  connect(nowMs: number): void {
    this.#isDown = false;
    this.#failure = undefined;
    this.#refusal = undefined;
    this.#ackDue = false;
    this.#donesReceived = 0;
    this.#companion?.disconnect();
    this.#companion = undefined;
    this.#greeting.begin();
    this.#watch.begin(nowMs);
    this.#updates.begin();
    this.#registers.begin();
    this.#reader.reset();
    this.#repair.reset();
  }

  /** The secrets of session tickets are others now. */
  ticketsChanged(): void {
    this.#ticketsDue = this.#tellsTickets;
  }

  disconnect(): void {
    this.#isDown = true;
    this.#tellsTickets = this.#ticketsDue = false;
    this.#updates.end();
    this.#companion?.disconnect();
    this.#companion = undefined;
  }

  /**
   * Bytes from the peer. A breach of the protocol sets `failure`.
   *
   * @returns how many were taken: digests take long to compare (2 ms), so it stops after them; call again
   */
  receive(chunk: Uint8Array, nowMs: number): number {
    if (this.#isDown || this.#failure !== undefined) return chunk.length;
    this.#watch.heard(nowMs);
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
    const taken = this.#updates.drain(nowMs);
    this.#watch.tick(nowMs);
    if (!this.#isDown && this.#failure === undefined) this.#watchPeer(nowMs);
    return taken;
  }

  #watchPeer(nowMs: number): void {
    const [updates, registers] = [this.#updates, this.#registers];
    if (updates.isAcked && registers.isAcked) this.#watch.acked(nowMs);
    if (updates.isWhole && updates.isCovered) this.#watch.repaired(nowMs);
    const breach = this.#watch.breach(nowMs, this.established);
    if (breach !== undefined) this.#fail(`${this.#options.peer} ${breach}`);
  }

  /** Milliseconds until there is something to send, if nothing changes here and nothing comes; `Infinity`: never. */
  idleMs(nowMs: number): number {
    if (this.#isDown || !this.#greeting.isHeard || this.#failure !== undefined)
      return Number.POSITIVE_INFINITY;
    const answers = this.#greeting.hasNews || this.#ackDue;
    if (answers || this.#registers.hasNews || this.#ticketsDue || this.#updates.hasNews) return 0;
    const companionMs = this.#companion?.idleMs(nowMs) ?? Number.POSITIVE_INFINITY;
    return Math.max(
      0,
      Math.min(companionMs, this.#repair.dueMs(nowMs) - nowMs, this.#watch.pingDueMs(nowMs)),
    );
  }

  /** The next frame to send, at most 64 KiB; undefined where there is none now. Takes up to 2 ms. */
  pull(nowMs: number): Buffer | undefined {
    const frame = this.#next(nowMs);
    if (frame) this.#watch.sent(nowMs);
    return frame;
  }

  status(nowMs: number): SyncStatus {
    const { isWhole, isCovered } = this.#updates;
    const complete = isWhole && isCovered && this.#companion?.complete !== false;
    return {
      state: !this.established ? 'connecting' : complete ? 'synced' : 'snapshot',
      entries: this.#table.size,
      capacity: this.#table.capacity,
      lag_ms: this.#updates.lagMs(nowMs),
      why: this.#failure ?? this.#greeting.warning,
      digest_equal: this.established ? this.#repair.digestEqual : undefined,
    };
  }

  /** The place in the stream after every change up to now. */
  mark(nowMs: number): SyncMark {
    this.#updates.drain(nowMs);
    return {
      updates: this.#updates.mark,
      registers: this.#registers.mark,
      gaps: this.#repair.gaps,
      companion: this.#companion?.mark() ?? 0,
    };
  }

  /** Whether the peer has everything before the mark. */
  reached(mark: SyncMark): boolean {
    return (
      this.established &&
      this.#updates.reached(mark.updates, mark.gaps) &&
      !this.#registers.hasNews &&
      this.#registers.isAcked &&
      this.#companion?.reached(mark.companion) !== false
    );
  }

  #fail(cause: string): void {
    this.#failure = cause;
  }

  #next(nowMs: number): Buffer | undefined {
    if (this.#isDown) return undefined;
    if (this.#failure !== undefined) {
      const refusal = this.#refusal;
      this.#refusal = undefined;
      return refusal;
    }
    const greeting = this.#greeting.next();
    if (greeting !== undefined || !this.#greeting.isOpen) return greeting;
    return (
      this.#nextAck() ??
      this.#nextTickets(nowMs) ??
      this.#registers.next() ??
      this.#updates.next(nowMs) ??
      this.#companion?.pull(nowMs) ??
      this.#nextRepair(nowMs) ??
      this.#nextPing(nowMs)
    );
  }

  #nextAck(): Buffer | undefined {
    if (!this.#ackDue) return undefined;
    this.#ackDue = false;
    return wordsFrame(FRAME.ack, [
      ...sequenceWords(this.#updates.received),
      this.#registers.received,
      this.#donesReceived,
    ]);
  }

  #nextTickets(nowMs: number): Buffer | undefined {
    if (!this.#ticketsDue) return undefined;
    this.#ticketsDue = false;
    return bytesFrame(FRAME.tickets, this.#options.tickets!.encode(nowMs));
  }

  #nextRepair(nowMs: number): Buffer | undefined {
    // Digests must follow every update that they cover, or they would differ for nothing.
    const digests = this.#updates.isSent ? this.#repair.nextDigests(nowMs) : undefined;
    return digests ?? this.#updates.nextRound() ?? this.#repair.nextEntries() ?? this.#repair.nextDone();
  }

  #nextPing(nowMs: number): Buffer | undefined {
    return this.#watch.pingDueMs(nowMs) <= 0 ? wordsFrame(FRAME.ping) : undefined;
  }

  #handle(type: FrameType, length: number, nowMs: number): void {
    const words = this.#reader.payload;
    if (type === FRAME.refused) this.#onRefused(length);
    else if (type === FRAME.hello) this.#onHello(parseHello(this.#reader.bytes(length)), nowMs);
    else if (!this.#greeting.isHeard) throw new ProtocolError(`frame of type ${type} before the hello`);
    else if (type === FRAME.hashKey) this.#greeting.onHashKey(words);
    else if (type === FRAME.start) this.#greeting.onStart(words, nowMs);
    else if (!this.#greeting.isOver) throw new ProtocolError(`frame of type ${type} before the start`);
    else if (type === FRAME.updates) {
      this.#updates.onUpdates(words, length, nowMs);
      this.#ackDue = true;
    } else if (type === FRAME.ack) this.#onAck(words, nowMs);
    else if (type === FRAME.entries) {
      this.#watch.repaired(nowMs);
      this.#updates.onEntries(words, length, nowMs);
    } else if (type === FRAME.register) {
      this.#registers.receive(this.#reader.bytes(length), nowMs);
      this.#ackDue = true;
    } else if (type === FRAME.round) this.#repair.wantStrict();
    else if (type === FRAME.digests) {
      // The comparison must see what the workers changed, or it would take it for a difference.
      this.#updates.drain(nowMs);
      this.#watch.repaired(nowMs);
      this.#repair.onDigests(words, length, nowMs);
    } else if (type === FRAME.done) this.#onDone(words, nowMs);
    else if (type === FRAME.flows) this.#companion?.receive(this.#reader.bytes(length), nowMs);
    else if (type === FRAME.tickets) this.#onTickets(length, nowMs);
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
    if (this.#repair.onDone(words, nowMs)) this.#updates.becomeWhole();
    this.#watch.repaired(nowMs);
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
    const { companion, tickets, onGreeted } = this.#options;
    this.#greeting.onHello(hello, nowMs);
    if (hello.flows === true && companion !== undefined) {
      this.#companion = companion;
      this.#companion.connect(nowMs, hello.flowTable);
    }
    this.#registers.onHello(hello.engines === true);
    this.#tellsTickets = hello.tickets === true && tickets !== undefined;
    this.#ticketsDue = this.#tellsTickets;
    onGreeted?.(hello.heartbeats === true);
  }

  #onAck(words: Int32Array, nowMs: number): void {
    const [sequence, registers] = [sequenceFrom(words, 0), words[2]!];
    if (sequence > this.#updates.acked || registers > this.#registers.acked) this.#watch.acked(nowMs);
    if (!this.#updates.ack(sequence) || !this.#registers.ack(registers))
      throw new ProtocolError(`acknowledgement of ${sequence} and ${registers}, which were not sent`);
    this.#repair.onDonesRead(words[3]!);
  }
}

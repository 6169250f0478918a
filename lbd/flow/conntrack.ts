import { messageOf, OperatorError } from '../../common/errors.ts';
import { errorText } from '../../common/libc.ts';
import { monotonicMs } from '../session/memory.ts';
import { FLAG, MESSAGE } from './conntrack-message.ts';
import type { FlowBatch } from './conntrack-request.ts';
import { DIRECT, type FlowKernel } from './flow-kernel.ts';
import { NetlinkError, NetlinkOverrun, type NetlinkSocket } from './netlink-socket.ts';

/** A table of a million flows takes some seconds; what takes longer hangs. */
const DUMP_MS = 30_000;
const [MIN_RETRY_MS, MAX_RETRY_MS] = [50, 5_000];
/** A socket that worked so long was well: the next one comes soon. */
const WELL_AFTER_MS = 5_000;
/** Of the question that asks for nothing. */
const ASK_SEQUENCE = 2 ** 32 - 1;
/**
 * Nothing waits for events: they are read at intervals, all that came meanwhile together. To be woken for each one would
 * cost several times what the event itself does, on both sides. Under load the shorter interval counts.
 */
const [BUSY_MS, CALM_MS] = [5, 20];
/** Messages before others have their turn: some milliseconds, and a read more. A dump brings some forty with a datagram. */
const MESSAGES_PER_TURN = 2000;

export interface ConntrackEvents {
  /** A flow in an event or, with `fromDump`, in a dump; valid during the call only. */
  onFlow(bytes: Buffer, at: number, end: number, fromDump: boolean): void;
  onGone(bytes: Buffer, at: number, end: number): void;
  /** The kernel's answer to a request; the error number is positive, 0 where there is none. */
  onAnswer(sequence: number, error: number): void;
  onDumpBegin(): void;
  /** The first one after each start shows that all works. */
  onDumpEnd(): void;
  /** @param lost events were lost; the next dump tells which */
  onDown(why: string, lost: boolean): void;
}

/**
 * The kernel's connection tracking: events, dumps, and requests that change it. When events come faster than they are
 * read the kernel says so, and a new socket begins with a dump.
 */
export class Conntrack {
  readonly #kernel: FlowKernel;
  readonly #events: ConntrackEvents;
  readonly #ownRequest: FlowBatch;
  readonly #onMessage = (bytes: Buffer, at: number, end: number) => this.#receive(bytes, at, end);
  #socket: NetlinkSocket | undefined;
  /** Of the latest try to open a socket, as long as it may still bring one. */
  #opening: object | undefined;
  #openedMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #soon: NodeJS.Immediate | undefined;
  /** Messages of this turn. */
  #heard = 0;
  #retry: NodeJS.Timeout | undefined;
  #retryMs = MIN_RETRY_MS;
  #dumpTimer: NodeJS.Timeout | undefined;
  /** Above those of all other requests but one. */
  #dumpSequence = 2 ** 31;
  #dumpInterrupted = false;
  #dumping = false;
  #askedMs: number | undefined;
  #delayMs = 0;
  #closed = false;

  /** @param kernel how it is reached */
  constructor(events: ConntrackEvents, kernel: FlowKernel = DIRECT) {
    this.#kernel = kernel;
    this.#events = events;
    this.#ownRequest = kernel.newBatch(1);
  }

  get running(): boolean {
    return this.#socket !== undefined;
  }

  open(): void {
    if (this.#socket !== undefined || this.#opening !== undefined || this.#closed) return;
    const opening = {};
    this.#opening = opening;
    const opened = (socket: NetlinkSocket) => {
      if (this.#opening !== opening) {
        socket.close();
        return;
      }
      this.#opening = undefined;
      this.#socket = socket;
      this.#openedMs = monotonicMs();
      this.dump();
    };
    const failed = (error: unknown) => {
      if (this.#opening === opening) this.#end(messageOf(error), false);
    };
    try {
      const socket = this.#kernel.open(() => this.#readSoon());
      if (socket instanceof Promise) void socket.then(opened, failed);
      else opened(socket);
    } catch (error) {
      failed(error);
    }
  }

  /** Sends whole requests. */
  write(requests: Buffer): void {
    try {
      this.#socket?.write(requests);
    } catch (error) {
      this.#end(messageOf(error), false);
    }
  }

  /** Asks for all flows. One dump at a time: what is asked meanwhile makes it begin again. */
  dump(): void {
    if (this.#dumping) this.#dumpInterrupted = true;
    if (this.#dumping || this.#socket === undefined) return;
    this.#dumping = true;
    this.#dumpInterrupted = false;
    this.#dumpSequence++;
    this.#events.onDumpBegin();
    this.#ownRequest.dump(this.#dumpSequence);
    this.#dumpTimer = setTimeout(() => this.#end('the kernel does not list its flows', false), DUMP_MS);
    this.write(this.#ownRequest.take());
  }

  /** Finds out how late events are read: an answer of the kernel queues behind them. One question at a time. */
  ask(nowMs: number): void {
    if (this.#askedMs !== undefined || this.#socket === undefined) return;
    this.#askedMs = nowMs;
    this.#ownRequest.nothing(ASK_SEQUENCE);
    this.write(this.#ownRequest.take());
  }

  /** A question waits for its answer. */
  get asks(): boolean {
    return this.#askedMs !== undefined;
  }

  /** How late events were read at the latest question, or are by now, in milliseconds. */
  delayMs(nowMs: number): number {
    return this.#askedMs === undefined ? this.#delayMs : Math.max(this.#delayMs, nowMs - this.#askedMs);
  }

  /** Begins with another socket: answers that are due do not come. */
  restart(why: string): void {
    this.#end(why, true);
  }

  /** Until `open`. */
  stop(): void {
    clearTimeout(this.#retry);
    this.#forget();
  }

  close(): void {
    this.#closed = true;
    this.stop();
  }

  #readSoon(): void {
    if (this.#socket !== undefined) this.#soon ??= setImmediate(() => this.#read());
  }

  #read(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#soon);
    this.#soon = undefined;
    const socket = this.#socket;
    if (socket === undefined) return;
    this.#heard = 0;
    let more = true;
    try {
      while (more && this.#heard < MESSAGES_PER_TURN) more = socket.read(this.#onMessage);
    } catch (error) {
      // Whatever else is thrown is a mistake of this program.
      const isLoss = error instanceof NetlinkOverrun || error instanceof NetlinkError;
      if (!isLoss && !(error instanceof OperatorError)) throw error;
      if (this.#socket === socket) this.#end(error.message, isLoss);
      return;
    }
    if (this.#socket !== socket) return;
    if (more) this.#readSoon();
    else this.#timer = setTimeout(() => this.#read(), this.#heard > 0 ? BUSY_MS : CALM_MS);
  }

  #receive(bytes: Buffer, at: number, end: number): void {
    this.#heard++;
    const type = bytes.readUInt16LE(at + 4);
    const flags = bytes.readUInt16LE(at + 6);
    if (type === MESSAGE.new) {
      if (flags & FLAG.multi && flags & FLAG.interrupted) this.#dumpInterrupted = true;
      this.#events.onFlow(bytes, at, end, (flags & FLAG.multi) !== 0);
    } else if (type === MESSAGE.delete) this.#events.onGone(bytes, at, end);
    else if (type === MESSAGE.done) this.#dumped((flags & FLAG.interrupted) !== 0);
    else if (type === MESSAGE.error && end - at >= 20) this.#answer(bytes, at);
  }

  #answer(bytes: Buffer, at: number): void {
    const error = -bytes.readInt32LE(at + 16);
    const sequence = bytes.readUInt32LE(at + 8);
    if (sequence === ASK_SEQUENCE) this.#asked();
    else if (sequence !== this.#dumpSequence) this.#events.onAnswer(sequence, error);
    else if (error !== 0) this.#end(`the kernel does not list its flows: ${errorText(error)}`, false);
  }

  #asked(): void {
    if (this.#askedMs !== undefined) this.#delayMs = monotonicMs() - this.#askedMs;
    this.#askedMs = undefined;
  }

  #dumped(interrupted: boolean): void {
    if (!this.#dumping) return;
    this.#dumping = false;
    clearTimeout(this.#dumpTimer);
    // The table was resized, or another dump asked for: flows may be missing.
    if (interrupted || this.#dumpInterrupted) this.dump();
    else this.#events.onDumpEnd();
  }

  #forget(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#dumpTimer);
    clearImmediate(this.#soon);
    this.#soon = undefined;
    this.#dumping = false;
    this.#askedMs = undefined;
    this.#delayMs = 0;
    this.#opening = undefined;
    this.#socket?.close();
    this.#socket = undefined;
  }

  #end(why: string, lost: boolean): void {
    const workedMs = this.#socket === undefined ? 0 : monotonicMs() - this.#openedMs;
    this.#forget();
    if (this.#closed) return;
    if (workedMs >= WELL_AFTER_MS) this.#retryMs = MIN_RETRY_MS;
    this.#events.onDown(why, lost);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.open(), lost ? MIN_RETRY_MS : this.#retryMs);
    if (!lost) this.#retryMs = Math.min(this.#retryMs * 2, MAX_RETRY_MS);
  }
}

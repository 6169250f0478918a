import type net from 'node:net';
import { atTurnEnd, writeSoon } from '../../io/direct-io.ts';
import { encryptsAtOnce } from '../../io/encrypting.ts';
import type { TurnWork } from '../../io/hold-back.ts';
import { send } from '../../io/raw-socket.ts';
import { Message } from '../message.ts';
import { block, writeTrailers } from './answer-fields.ts';
import {
  ERROR,
  type ErrorCode,
  FLAG,
  FRAME,
  FRAME_BYTES,
  MAX_WINDOW_BYTES,
  readUint32,
  SETTING,
  WINDOW_BYTES,
  writeBlock,
  writeFrameHeader,
  writeNumberFrame,
} from './frames.ts';
import { HpackEncoder } from './hpack/encoder.ts';
import type { Priority } from './priority.ts';

/** What is to be written waits for the end of the turn, but no more than so much. */
const OUT_BYTES = 64 * 1024;
/** What is longer costs more to copy than to write at once. */
const HOLD_BYTES = 16 * 1024;
/** What waits to be written is little but for answers that the peer asks for and does not read. */
const UNREAD_BYTES = 256 * 1024;
/** Room for what most turns write. */
const FIRST_BYTES = 512;
/** The peer gets credit for its connection once it has used so much of it. */
const CREDIT_BYTES = WINDOW_BYTES >>> 1;

/** A stream, as far as it sends data. */
export interface SendingStream {
  readonly id: number;
  readonly priority: Priority;
  /** What may be sent before the peer gives more; negative after it has taken some back (RFC 9113 §6.9.2). */
  sendWindow: number;
  /** Data, or the end of it, waits. */
  readonly wants: boolean;
  readonly hasData: boolean;
  /** Its turn. @param most bytes of data */
  proceed(most: number): void;
  /** The connection takes no more for now. @returns whether the stream is to be let go again, having nothing that waits */
  hold(): boolean;
  /** It takes more again. @returns whether the stream may send now */
  release(): boolean;
}

/**
 * What both ends of an HTTP/2 connection have: frames that leave together at the end of a turn, windows in both directions
 * (RFC 9113 §5.2), and whose turn it is to send (RFC 9218 §10).
 */
export abstract class Http2Link implements TurnWork {
  /** The socket has taken as much as it can. */
  blocked = false;
  protected readonly socket: net.Socket;
  protected readonly out = new Message(FIRST_BYTES);
  protected readonly encoder = new HpackEncoder();
  /** What may come before we give more. */
  protected receiveWindow = WINDOW_BYTES;
  /** The first window of streams, by the peer's settings. */
  protected firstWindow = WINDOW_BYTES;
  /** Something may be sent that could not be. */
  protected mayProceed = false;
  #taken = 0;
  #sendWindow = WINDOW_BYTES;
  #mostPayload = FRAME_BYTES;
  /** Streams that have something to send and could not. */
  readonly #waiting: SendingStream[] = [];
  /** Streams that are held up, since the socket has taken as much as it can, though they had nothing to send just then. */
  readonly #held: SendingStream[] = [];
  #isDue = false;

  constructor(socket: net.Socket) {
    this.socket = socket;
  }

  /** All streams that are open. */
  protected abstract get sending(): Iterable<SendingStream>;
  /** Nothing is sent any more. */
  protected abstract get isOver(): boolean;
  /** The peer has broken a rule of the connection. @returns false: nothing more is to be read */
  protected abstract fail(code: ErrorCode, why: string): false;
  /** So many bytes of data have left. @param isWhole no window has cut them short */
  protected onSent?(bytes: number, isWhole: boolean): void;
  /** So many bytes go to the socket. */
  protected onWritten?(bytes: number): void;

  /** A block of fields, in `block`, leaves. @param ends nothing comes behind them. @returns bytes of the block */
  sendHead(id: number, ends: boolean): number {
    writeBlock(this.out, block, id, ends, this.#mostPayload);
    this.beDue();
    return block.length;
  }

  /** @param trailers each with its CRLF. @returns bytes of their block */
  sendTrailers(id: number, trailers: string): number {
    block.clear();
    this.encoder.begin(block);
    writeTrailers(trailers);
    return this.sendHead(id, true);
  }

  /**
   * Sends data of a stream, as much as windows allow, in frames.
   *
   * @param ends it is all there is; without any, an empty frame says so, which needs no window
   * @returns how far it came
   */
  sendData(stream: SendingStream, buffer: Buffer, start: number, end: number, ends: boolean): number {
    if (start === end && !ends) return end;
    const { out } = this;
    let at = start;
    do {
      const room = Math.min(this.#mostPayload, this.#sendWindow, stream.sendWindow);
      if (room <= 0 && at < end) break;
      const length = Math.min(end - at, Math.max(0, room));
      const isLast = ends && at + length === end;
      writeFrameHeader(out, length, FRAME.data, isLast ? FLAG.endStream : 0, stream.id);
      out.copy(buffer, at, at + length);
      at += length;
      this.#sendWindow -= length;
      stream.sendWindow -= length;
      this.onSent?.(length, at === end);
      if (out.length >= OUT_BYTES) this.#flush();
    } while (at < end && !this.blocked);
    this.beDue();
    return at;
  }

  /** The peer may send so much more. @param id of a stream; 0: all of them together */
  credit(id: number, bytes: number): void {
    writeNumberFrame(this.out, FRAME.windowUpdate, id, bytes);
    this.beDue();
  }

  /** Data of any stream comes, whether it is still wanted or not. @returns false: it is more than may come */
  protected charge(bytes: number): boolean {
    this.receiveWindow -= bytes;
    this.#taken += bytes;
    return this.receiveWindow >= 0;
  }

  /** What came has been handed on: streams have windows of their own, so that none holds up the others here. */
  protected creditAll(): void {
    if (this.#taken < CREDIT_BYTES) return;
    this.receiveWindow += this.#taken;
    this.credit(0, this.#taken);
    this.#taken = 0;
  }

  protected sendReset(id: number, code: ErrorCode): void {
    writeNumberFrame(this.out, FRAME.rstStream, id, code);
    this.beDue();
  }

  /** Returns a PING. */
  protected sendPong(buffer: Buffer, start: number, end: number): void {
    writeFrameHeader(this.out, end - start, FRAME.ping, FLAG.ack, 0);
    this.out.copy(buffer, start, end);
    this.beDue();
  }

  /** What both ends may say of themselves (RFC 9113 §6.5.2). @param id of `SETTING`. @returns false: it has failed */
  protected onSetting(id: number, value: number): boolean {
    switch (id) {
      case SETTING.headerTableSize:
        this.encoder.tableSize(value);
        return true;
      case SETTING.initialWindowSize:
        if (value > MAX_WINDOW_BYTES)
          return this.fail(ERROR.flowControl, 'SETTINGS_INITIAL_WINDOW_SIZE too large');
        return this.#shiftWindows(value);
      case SETTING.maxFrameSize:
        if (value < FRAME_BYTES || value >= 1 << 24)
          return this.fail(ERROR.protocol, 'SETTINGS_MAX_FRAME_SIZE out of range');
        this.#mostPayload = Math.min(value, OUT_BYTES);
        return true;
      default:
        return true;
    }
  }

  protected onSettings(buffer: Buffer, start: number, end: number): boolean {
    for (let at = start; at < end; at += 6) {
      const id = (buffer[at]! << 8) | buffer[at + 1]!;
      if (!this.onSetting(id, readUint32(buffer, at + 2))) return false;
    }
    writeFrameHeader(this.out, 0, FRAME.settings, FLAG.ack, 0);
    this.beDue();
    return true;
  }

  /** RFC 9113 §6.9.2 */
  #shiftWindows(value: number): boolean {
    const by = value - this.firstWindow;
    this.firstWindow = value;
    for (const stream of this.sending) {
      stream.sendWindow += by;
      if (stream.sendWindow > MAX_WINDOW_BYTES)
        return this.fail(ERROR.flowControl, 'SETTINGS_INITIAL_WINDOW_SIZE makes a window too large');
    }
    this.mayProceed ||= by > 0;
    return true;
  }

  /** WINDOW_UPDATE of the connection. */
  protected onCredit(by: number): boolean {
    if (by === 0) return this.fail(ERROR.protocol, 'WINDOW_UPDATE by nothing');
    this.#sendWindow += by;
    if (this.#sendWindow > MAX_WINDOW_BYTES) return this.fail(ERROR.flowControl, 'window too large');
    this.mayProceed = true;
    return true;
  }

  /** The peer does not read what it has asked for. */
  protected get isUnread(): boolean {
    return this.socket.writableLength > UNREAD_BYTES;
  }

  // Whose turn it is.

  /** A stream has something to send and cannot. */
  await(stream: SendingStream): void {
    if (!this.#waiting.includes(stream)) this.#waiting.push(stream);
  }

  /** A stream is over. */
  protected forget(stream: SendingStream): void {
    takeOut(this.#waiting, stream);
    takeOut(this.#held, stream);
  }

  /** Sends what waits, in the order of its urgency. */
  protected proceed(): void {
    this.mayProceed = false;
    while (!this.blocked && !this.isOver) {
      const at = this.#next();
      if (at < 0) return;
      const stream = this.#waiting[at]!;
      this.#waiting.splice(at, 1);
      stream.proceed(stream.priority.incremental ? this.#mostPayload : Number.MAX_SAFE_INTEGER);
      // Behind those like it.
      if (stream.wants) this.await(stream);
    }
  }

  /** @returns place among those that wait; -1: none may go */
  #next(): number {
    let best = -1;
    for (let at = 0; at < this.#waiting.length; at++) {
      const stream = this.#waiting[at]!;
      // The end of a stream needs no window.
      if (stream.hasData && (stream.sendWindow <= 0 || this.#sendWindow <= 0)) continue;
      if (best < 0 || stream.priority.urgency < this.#waiting[best]!.priority.urgency) best = at;
    }
    return best;
  }

  // The socket.

  /** Something is to be written by the end of the turn. */
  protected beDue(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    atTurnEnd(this);
  }

  endTurn(): void {
    this.#isDue = false;
    this.#flush();
    if (this.#held.length > 0) this.#letGo();
  }

  #flush(): void {
    const { out, socket } = this;
    const { length } = out;
    if (length === 0) return;
    this.onWritten?.(length);
    if (!socket.destroyed && !socket.writableEnded && !this.#write(length)) this.#hold();
    out.clear();
  }

  #write(length: number): boolean {
    const { out, socket } = this;
    if (encryptsAtOnce(socket)) return socket.write(out.bytes.subarray(0, length));
    return length > HOLD_BYTES ? send(socket, out.bytes, 0, length) : writeSoon(socket, out.bytes, 0, length);
  }

  /** What comes for the streams now would only have to be kept. */
  #hold(): void {
    if (this.blocked) return;
    this.blocked = true;
    for (const stream of this.sending)
      if (stream.hold() && !this.#held.includes(stream)) this.#held.push(stream);
  }

  onDrain(): void {
    this.blocked = false;
    if (this.isOver) return;
    this.proceed();
    this.#letGo();
  }

  /** One after the other: what the first one brings may be as much as the socket takes. */
  #letGo(): void {
    while (!this.blocked) {
      const stream = this.#held.shift();
      if (stream === undefined) return;
      if (!stream.release()) continue;
      this.beDue();
      return;
    }
  }
}

function takeOut(list: SendingStream[], stream: SendingStream): void {
  const at = list.indexOf(stream);
  if (at >= 0) list.splice(at, 1);
}

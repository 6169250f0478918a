import type net from 'node:net';
import type { Endpoints } from '../../../common/proxy-protocol.ts';
import type { Frontend } from '../../entry/frontend.ts';
import type { ByteSink } from '../../io/byte-sink.ts';
import type { Timed } from '../../io/deadlines.ts';
import { readSoon } from '../../io/direct-io.ts';
import { endpointsOf } from '../../io/raw-socket.ts';
import { badRequest, HEAD_TOO_LARGE } from '../../log/refusal.ts';
import { handshakeMs } from '../../tls/terminator.ts';
import { passesTrailer } from '../h1/trailers.ts';
import type { HttpAnswer } from '../model.ts';
import { type Peer, peerOf } from '../peer.ts';
import type { HttpService } from '../service.ts';
import { ANSWER_FIELDS, block } from './answer-fields.ts';
import { BAD_PADDING, BlockReader, MORE, TOO_LONG } from './block-reader.ts';
import { Calm } from './calm.ts';
import { FrameReader, type FrameSink } from './frame-reader.ts';
import { frameFault } from './frame-rules.ts';
import {
  ERROR,
  type ErrorCode,
  FLAG,
  FRAME,
  FRAME_BYTES,
  MAX_STREAM_ID,
  MAX_WINDOW_BYTES,
  PREFACE,
  PRIORITY_BYTES,
  readUint32,
  SETTING,
  writeFrameHeader,
  writeGoAway,
  writeSettings,
} from './frames.ts';
import { HpackDecoder } from './hpack/decoder.ts';
import { writeStatus } from './hpack/encoder.ts';
import { Http2Link } from './link.ts';
import { readPriority } from './priority.ts';
import { builder, requestScratch } from './scratch.ts';
import { Http2Stream } from './stream.ts';
import { newKey } from './websocket-key.ts';

/** Requests at a time. */
export const MAX_STREAMS = 100;
/** Streams that lbd has reset, of which frames may still be under way. */
const MAX_LATE = 200;
/** A connection without a request for so long lets go of what they have left. */
const REST_MS = 1000;
/** How long a client may take to close, once it has been told to, and to return the PING behind a GOAWAY. */
const LINGER_MS = 2000;
const PING_MS = 1000;
/** Of the PING behind the first GOAWAY. */
const GOING = 'tandem->';

const OPEN = 0;
/** GOAWAY has left, and with it no stream is excluded: the client may not have it yet. */
const WARNED = 1;
/** No stream above the last one is served. */
const LEAVING = 2;
/** Nothing is served; what comes is thrown away until the client closes. */
const OVER = 3;

type Owned = net.Socket & { http2?: Http2Connection };

/** One HTTP/2 connection of a client (RFC 9113): frames, windows, and who may send next. Requests are its streams'. */
export class Http2Connection extends Http2Link implements ByteSink, FrameSink, Timed {
  deadline: number;
  listed = -1;
  ended = false;
  readonly service: HttpService;
  readonly frontend: Frontend;
  readonly peer: Peer;
  readonly #endpoints: Endpoints | undefined;
  readonly #reader = new FrameReader(this);
  readonly #decoder = new HpackDecoder();
  readonly #streams = new Map<number, Http2Stream>();
  /** Of streams that are over. */
  #spare: Http2Stream[] = [];
  readonly #late = new Set<number>();
  readonly #calm: Calm;
  #mode = OPEN;
  #prefaceBytes = 0;
  /** The client's first SETTINGS are here. */
  #isSet = false;
  #lastStream = 0;
  /** The last one that is served, once it is said. */
  #lastServed = MAX_STREAM_ID;
  readonly #block = new BlockReader();
  #resting = true;
  /** A part of a frame is here, whose rest has the time of a head; and the deadline that it stands in front of. */
  #isPartial = false;
  #deadlineBehind = 0;
  #tookHandshake = false;

  /** @param endpoints from a PROXY header; undefined: the ends of the socket are those of the client */
  constructor(socket: net.Socket, service: HttpService, endpoints?: Endpoints) {
    super(socket);
    const { frontend } = service;
    this.service = service;
    this.frontend = frontend;
    this.#endpoints = endpoints;
    this.peer = peerOf(socket, frontend, endpoints);
    (socket as Owned).http2 = this;
    socket.on('end', onEnd);
    socket.on('error', onError);
    socket.on('drain', onDrain);
    socket.once('close', onClose);
    frontend.count('accepted', 1);
    const { deadlines } = frontend.context;
    this.#calm = new Calm(deadlines.now);
    this.deadline = deadlines.in(frontend.config.timeouts.headMs);
    deadlines.add(this);
    readSoon(socket);
    writeSettings(this.out, [
      [SETTING.maxConcurrentStreams, MAX_STREAMS],
      [SETTING.maxHeaderListSize, frontend.config.limits.headBytes],
      [SETTING.enableConnectProtocol, 1],
      [SETTING.noRfc7540Priorities, 1],
    ]);
    this.beDue();
  }

  get endpoints(): Endpoints {
    return this.#endpoints ?? endpointsOf(this.socket);
  }

  get localAddress(): string | undefined {
    return this.socket.localAddress;
  }

  /** Backends work for its streams. */
  get backend(): undefined {
    return undefined;
  }

  get idle(): boolean {
    return this.#streams.size === 0;
  }

  get gone(): boolean {
    return this.#mode === OVER || this.socket.destroyed;
  }

  /** How long the handshake took, for the first request; then 0. */
  takeHandshakeMs(): number {
    if (this.#tookHandshake) return 0;
    this.#tookHandshake = true;
    return handshakeMs(this.socket);
  }

  // How it ends.

  /**
   * Asks the client to go: first with no stream excluded, then, when it must have heard that, with the last one that came
   * (RFC 9113 §6.8). Those that are running go on.
   */
  retire(): void {
    if (this.#mode !== OPEN || !this.#isSet) return;
    this.#endPartial();
    this.#mode = WARNED;
    writeGoAway(this.out, MAX_STREAM_ID, ERROR.noError, '');
    writeFrameHeader(this.out, 8, FRAME.ping, 0, 0);
    this.out.text(GOING);
    this.beDue();
    this.deadline = this.frontend.context.deadlines.in(PING_MS);
  }

  /** The client knows. */
  #leave(): void {
    if (this.#mode !== WARNED) return;
    this.#mode = LEAVING;
    this.#lastServed = this.#lastStream;
    if (this.#streams.size === 0) {
      this.#end(ERROR.noError, '');
      return;
    }
    writeGoAway(this.out, this.#lastServed, ERROR.noError, '');
    this.beDue();
    this.deadline = 0;
  }

  closeIfIdle(): void {
    if (this.#streams.size === 0) this.#end(ERROR.noError, '');
  }

  /** A `drain_timeout`, or the time to stop, is over. */
  cut(): void {
    for (const stream of [...this.#streams.values()]) stream.cut();
    this.#end(ERROR.noError, '');
  }

  /** The client has broken the rules, or asks for too much. @returns false: nothing more is to be read */
  protected fail(code: ErrorCode, why: string): false {
    if (this.#mode === OVER) return false;
    this.frontend.count('refused_400', 1);
    this.frontend.logFlood(this.peer.address, 'http2_error', 0, why);
    this.#end(code, why);
    return false;
  }

  /** Says the last word, and waits for the client's end, so that it is not lost in a reset. */
  #end(code: ErrorCode, why: string): void {
    if (this.#mode === OVER) return;
    writeGoAway(this.out, Math.min(this.#lastStream, this.#lastServed), code, why);
    this.#mode = OVER;
    this.#isPartial = false;
    for (const stream of [...this.#streams.values()]) stream.onGone(true);
    this.endTurn();
    this.#block.drop();
    this.deadline = this.frontend.context.deadlines.in(LINGER_MS);
    this.socket.end();
    if (this.ended) this.socket.destroySoon();
    else this.socket.resume();
  }

  onClientEnd(): void {
    this.ended = true;
    if (this.#mode === OVER) this.socket.destroySoon();
    else if (this.#streams.size === 0) this.#end(ERROR.noError, '');
    else for (const stream of [...this.#streams.values()]) stream.onEnd();
  }

  onClientClose(): void {
    this.#mode = OVER;
    this.frontend.context.deadlines.remove(this);
    this.frontend.leave();
    for (const stream of [...this.#streams.values()]) stream.onGone(!this.ended);
    for (const stream of this.#spare) stream.dispose();
    this.#spare = [];
    this.#block.drop();
  }

  onDeadline(): void {
    const { config, context } = this.frontend;
    if (this.#mode === OVER) this.socket.destroy();
    else if (this.#mode === WARNED) this.#leave();
    else if (!this.#isSet || this.#isPartial || this.#block.stream !== 0)
      this.fail(ERROR.enhanceYourCalm, 'head too slow');
    else if (this.#streams.size > 0) return;
    else if (this.#resting) this.#end(ERROR.noError, '');
    else {
      this.#resting = true;
      for (const stream of this.#spare) stream.dispose();
      this.#spare = [];
      if (this.out.length === 0) this.out.shrink();
      const leftMs = config.timeouts.keepAliveMs - REST_MS;
      if (leftMs <= 0) this.#end(ERROR.noError, '');
      else this.deadline = context.deadlines.in(leftMs);
    }
  }

  /** No stream is left. */
  #awaitRequest(): void {
    if (this.#mode === LEAVING || this.ended) this.#end(ERROR.noError, '');
    if (this.#mode !== OPEN) return;
    const { config, context } = this.frontend;
    this.#resting = false;
    const deadline = context.deadlines.in(Math.min(config.timeouts.keepAliveMs, REST_MS));
    if (this.#isPartial) this.#deadlineBehind = deadline;
    else this.deadline = deadline;
  }

  // From the client.

  onBytes(buffer: Buffer, length: number): void {
    this.frontend.count('bytes_received', length);
    if (this.#mode === OVER) return;
    let at = 0;
    if (this.#prefaceBytes < PREFACE.length) {
      while (at < length && this.#prefaceBytes < PREFACE.length)
        if (buffer[at++] !== PREFACE[this.#prefaceBytes++]) {
          this.fail(ERROR.protocol, 'no connection preface');
          return;
        }
    }
    this.#reader.read(buffer, at, length);
    if (this.#mode === OVER) return;
    if (this.#reader.within) this.#beginPartial();
    this.creditAll();
    if (this.mayProceed) this.proceed();
  }

  #beginPartial(): void {
    if (this.#isPartial || this.#mode !== OPEN || !this.#isSet || this.#block.stream !== 0) return;
    const { config, context } = this.frontend;
    this.#isPartial = true;
    this.#deadlineBehind = this.deadline;
    this.deadline = context.deadlines.in(config.timeouts.headMs);
  }

  /** It is complete, or one of DATA, which has the time of a body. */
  #endPartial(): void {
    if (!this.#isPartial) return;
    this.#isPartial = false;
    this.deadline = this.#deadlineBehind;
  }

  get #nowMs(): number {
    return this.frontend.context.deadlines.now;
  }

  #spendFrame(): boolean {
    return this.#calm.frame(this.#nowMs) || this.fail(ERROR.enhanceYourCalm, 'too many frames to no end');
  }

  #spendReset(): boolean {
    return this.#calm.reset(this.#nowMs) || this.fail(ERROR.enhanceYourCalm, 'too many streams are reset');
  }

  onBadPadding(): false {
    return this.fail(ERROR.protocol, 'padding longer than its frame');
  }

  onFrameHeader(type: number, flags: number, id: number, length: number): boolean {
    const fault = frameFault(type, flags, id, length);
    if (fault !== undefined) return this.fail(fault.code, fault.why);
    if (!this.#isSet && (type !== FRAME.settings || (flags & FLAG.ack) !== 0))
      return this.fail(ERROR.protocol, 'no SETTINGS behind the preface');
    if (
      this.#block.stream !== 0
        ? type !== FRAME.continuation || id !== this.#block.stream
        : type === FRAME.continuation
    )
      return this.fail(ERROR.protocol, 'a block of fields that is interrupted, or goes on without a start');
    switch (type) {
      case FRAME.data:
        this.#endPartial();
        return this.#chargeData(id, length);
      case FRAME.headers:
      case FRAME.continuation:
        return true;
      case FRAME.rstStream:
        return !this.#isIdle(id) || this.fail(ERROR.protocol, 'RST_STREAM of an idle stream');
      case FRAME.windowUpdate:
        if (id !== 0 && this.#isIdle(id)) return this.fail(ERROR.protocol, 'WINDOW_UPDATE of an idle stream');
        return this.#spendFrame();
      default:
        return this.#spendFrame();
    }
  }

  /** RFC 9113 §5.1: nothing has been said of it; even numbers are a server's, which has none. */
  #isIdle(id: number): boolean {
    return id > this.#lastStream || (id & 1) === 0;
  }

  #chargeData(id: number, length: number): boolean {
    if (this.#isIdle(id)) return this.fail(ERROR.protocol, 'DATA on an idle stream');
    // RFC 9113 §6.9.1: also of a stream that is over.
    if (!this.charge(length)) return this.fail(ERROR.flowControl, 'more DATA than the connection may have');
    const stream = this.#streams.get(id);
    if (stream === undefined)
      return this.#isLate(id) || this.fail(ERROR.streamClosed, 'DATA on a closed stream');
    if (stream.heardAll) return this.#resetFor(stream, ERROR.streamClosed, 'DATA behind END_STREAM');
    return (
      stream.charge(length) || this.#resetFor(stream, ERROR.flowControl, 'more DATA than the stream may have')
    );
  }

  /** The client has broken a rule of one stream. @param why for the log. @returns whether the connection goes on */
  #resetFor(stream: Http2Stream, code: ErrorCode, why: string): boolean {
    stream.log?.fault('http2_error', undefined, why);
    stream.resetWith(code);
    return this.#spendReset();
  }

  /** What comes may have been sent before a reset was heard of, or before a GOAWAY. */
  #isLate(id: number): boolean {
    return this.#late.has(id) || id > this.#lastServed;
  }

  onData(id: number, buffer: Buffer, start: number, length: number, ended: boolean): boolean {
    const stream = this.#streams.get(id);
    // Nothing, or padding alone.
    if (length === 0 && (!ended || stream === undefined) && !this.#spendFrame()) return false;
    if (stream === undefined || stream.heardAll) return true;
    return (
      stream.onData(buffer, start, length, ended) ||
      this.#resetFor(stream, ERROR.protocol, 'another Content-Length')
    );
  }

  onPayload(type: number, flags: number, id: number, buffer: Buffer, start: number, end: number): boolean {
    this.#endPartial();
    switch (type) {
      case FRAME.headers:
        return this.#onHeaders(flags, id, buffer, start, end);
      case FRAME.continuation:
        return this.#onContinuation(flags, id, buffer, start, end);
      case FRAME.rstStream:
        return this.#onReset(id);
      case FRAME.settings:
        return (flags & FLAG.ack) !== 0 || this.#onSettings(buffer, start, end);
      case FRAME.ping:
        this.#onPing(flags, buffer, start, end);
        return this.#mode !== OVER;
      case FRAME.windowUpdate:
        return this.#onWindowUpdate(id, readUint32(buffer, start) & MAX_WINDOW_BYTES);
      case FRAME.priority:
        return this.#onPriority(id, end - start);
      case FRAME.priorityUpdate:
        return this.#onPriorityUpdate(buffer, start, end);
      default:
        // Of GOAWAY nothing follows: a server has opened no stream.
        return true;
    }
  }

  /** RFC 9113 §5.3.2: read for its form alone. */
  #onPriority(id: number, length: number): boolean {
    if (length === PRIORITY_BYTES) return true;
    const stream = this.#streams.get(id);
    if (stream !== undefined) return this.#resetFor(stream, ERROR.frameSize, 'PRIORITY of another size');
    // RFC 9113 §6.4: what has not been opened cannot be reset, and what is closed need not be.
    return !this.#isIdle(id) || this.fail(ERROR.frameSize, 'PRIORITY of another size');
  }

  /** RFC 9218 §7.1; of a stream that is still to come it is not kept. */
  #onPriorityUpdate(buffer: Buffer, start: number, end: number): boolean {
    const id = readUint32(buffer, start) & MAX_STREAM_ID;
    if ((id & 1) === 0) return this.fail(ERROR.protocol, 'PRIORITY_UPDATE of no stream of a client');
    const stream = this.#streams.get(id);
    if (stream !== undefined) stream.priority = readPriority(buffer.latin1Slice(start + 4, end));
    return true;
  }

  #onPing(flags: number, buffer: Buffer, start: number, end: number): void {
    if ((flags & FLAG.ack) === 0) this.sendPong(buffer, start, end);
    else if (buffer.latin1Slice(start, end) === GOING) this.#leave();
  }

  #onReset(id: number): boolean {
    const stream = this.#streams.get(id);
    // Of one that lbd has reset, or whose answer is complete.
    if (stream === undefined) return this.#spendFrame();
    this.#late.delete(id);
    stream.onGone(true);
    return this.#spendReset();
  }

  protected override onSetting(id: number, value: number): boolean {
    if (id === SETTING.enablePush && value > 1)
      return this.fail(ERROR.protocol, 'SETTINGS_ENABLE_PUSH neither 0 nor 1');
    if (id === SETTING.noRfc7540Priorities && value > 1)
      return this.fail(ERROR.protocol, 'SETTINGS_NO_RFC7540_PRIORITIES neither 0 nor 1');
    return super.onSetting(id, value);
  }

  #onSettings(buffer: Buffer, start: number, end: number): boolean {
    if (!this.onSettings(buffer, start, end)) return false;
    if (!this.#isSet) {
      this.#isSet = true;
      this.#awaitRequest();
    }
    return true;
  }

  #onWindowUpdate(id: number, by: number): boolean {
    if (id === 0) return this.onCredit(by);
    const stream = this.#streams.get(id);
    if (stream === undefined) return true;
    if (by === 0) return this.#resetFor(stream, ERROR.protocol, 'WINDOW_UPDATE by nothing');
    stream.sendWindow += by;
    if (stream.sendWindow > MAX_WINDOW_BYTES)
      return this.#resetFor(stream, ERROR.flowControl, 'window too large');
    this.mayProceed ||= stream.wants;
    return true;
  }

  // Blocks of fields.

  /** A head that is too large can be answered, as long as it is not beyond all measure: it has to be decoded for that. */
  get #mostBlock(): number {
    return this.frontend.config.limits.headBytes + FRAME_BYTES;
  }

  #onHeaders(flags: number, id: number, buffer: Buffer, start: number, end: number): boolean {
    const { config, context } = this.frontend;
    const state = this.#block.begin(flags, id, buffer, start, end, this.#mostBlock);
    if (state !== MORE) return this.#afterPiece(state, id);
    if (this.#mode === OPEN) this.deadline = context.deadlines.in(config.timeouts.headMs);
    return true;
  }

  #onContinuation(flags: number, id: number, buffer: Buffer, start: number, end: number): boolean {
    const state = this.#block.append(flags, buffer, start, end, this.#mostBlock);
    if (state === MORE) return true;
    if (this.#mode === OPEN) this.deadline = 0;
    const goesOn = this.#afterPiece(state, id);
    if (goesOn && this.#streams.size === 0) this.#awaitRequest();
    return goesOn;
  }

  #afterPiece(state: number, id: number): boolean {
    if (state === BAD_PADDING) return this.onBadPadding();
    if (state === TOO_LONG) return this.fail(ERROR.enhanceYourCalm, 'fields too large');
    return this.#onBlock(id);
  }

  #onBlock(id: number): boolean {
    const { buffer, start, end, ends } = this.#block;
    const { limits } = this.frontend.config;
    const stream = this.#streams.get(id);
    builder.begin(limits.headBytes, limits.fields, stream !== undefined);
    const fault = this.#decoder.decode(buffer, start, end, builder);
    if (fault !== '') return this.fail(ERROR.compression, fault);
    if (stream !== undefined) return this.#onTrailers(stream, ends);
    if ((id & 1) === 0) return this.fail(ERROR.protocol, 'a stream of an even number');
    if (id <= this.#lastStream)
      return this.#isLate(id)
        ? this.#spendFrame()
        : this.fail(ERROR.streamClosed, 'HEADERS on a closed stream');
    this.#lastStream = id;
    if (id > this.#lastServed) return this.#spendFrame();
    if (this.#streams.size >= MAX_STREAMS || this.isUnread) {
      this.resetStream(id, ERROR.refusedStream);
      return this.#spendReset();
    }
    return this.#begin(id, ends, end - start);
  }

  /** The fields of a request are in `builder`. */
  #begin(id: number, ends: boolean, bytes: number): boolean {
    if (this.frontend.closes) this.retire();
    const isTooLarge = builder.fault === 'too large';
    let key = '';
    const isWhole = builder.finish(ends, () => {
      key = newKey();
      return key;
    });
    if (!isWhole && !isTooLarge) {
      // RFC 9113 §8.1.1
      this.frontend.count('refused_400', 1);
      this.frontend.logFlood(this.peer.address, 'bad_request');
      this.resetStream(id, ERROR.protocol);
      return this.#spendReset();
    }
    const stream = this.#spare.pop() ?? new Http2Stream(this);
    stream.id = id;
    stream.sendWindow = this.firstWindow;
    stream.priority = readPriority(builder.priority);
    this.#streams.set(id, stream);
    if (this.#mode === OPEN) this.deadline = 0;
    const head = requestScratch;
    const { message } = builder;
    const after = head.parse(message.bytes, 0, message.length, Number.MAX_SAFE_INTEGER);
    // A line end within a value would make lines of its own.
    const refusal = isTooLarge
      ? HEAD_TOO_LARGE
      : after < 0
        ? badRequest(head.fault, head.status)
        : after !== message.length || head.fieldCount !== builder.lines
          ? badRequest('invalid byte in a field value')
          : builder.isExtended && !builder.isWebSocket
            ? badRequest('unsupported protocol', 501)
            : undefined;
    if (refusal !== undefined) stream.beginRefused(refusal, ends, head, message);
    else stream.begin(head, bytes, ends, builder.length, key);
    return this.#mode !== OVER;
  }

  #onTrailers(stream: Http2Stream, ends: boolean): boolean {
    if (stream.heardAll) return this.#resetFor(stream, ERROR.streamClosed, 'HEADERS behind END_STREAM');
    // RFC 9113 §8.1
    if (!ends) return this.#resetFor(stream, ERROR.protocol, 'trailers without END_STREAM');
    const trailers = builder.trailers((name) => passesTrailer(name, this.service.reserved));
    if (trailers === undefined || !stream.onTrailers(trailers))
      return this.#resetFor(stream, ERROR.protocol, 'malformed trailers');
    return true;
  }

  // To the client.

  /** Puts together the fields of an answer, which leave with the next `sendHead`. */
  encode(status: number, answer: HttpAnswer): void {
    block.clear();
    this.encoder.begin(block);
    writeStatus(block, status);
    answer.fields(ANSWER_FIELDS, true);
  }

  resetStream(id: number, code: ErrorCode): void {
    if (this.#mode === OVER) return;
    this.sendReset(id, code);
    this.#late.add(id);
    if (this.#late.size > MAX_LATE) this.#late.delete(this.#late.values().next().value!);
  }

  /**
   * A stream is over.
   *
   * @param isComplete it came to its end
   * @param isReusable it may serve another request
   */
  closed(stream: Http2Stream, isComplete: boolean, isReusable: boolean): void {
    this.#streams.delete(stream.id);
    this.forget(stream);
    if (isReusable) this.#spare.push(stream);
    if (isComplete) this.#calm.answered();
    if (this.#streams.size === 0) this.#awaitRequest();
  }

  protected get sending(): Iterable<Http2Stream> {
    return this.#streams.values();
  }

  protected get isOver(): boolean {
    return this.#mode === OVER;
  }

  protected override onSent(bytes: number, isWhole: boolean): void {
    this.#calm.sent(bytes, isWhole);
  }

  protected override onWritten(bytes: number): void {
    this.frontend.count('bytes_sent', bytes);
  }
}

function onEnd(this: Owned): void {
  this.http2!.onClientEnd();
}
function onError(this: Owned): void {
  // 'close' follows and does what is to be done; without a listener an error would end the process.
}
function onDrain(this: Owned): void {
  this.http2!.onDrain();
}
function onClose(this: Owned): void {
  this.http2!.onClientClose();
}

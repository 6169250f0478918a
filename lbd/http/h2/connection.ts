import type net from 'node:net';
import type { Endpoints } from '../../../common/proxy-protocol.ts';
import type { Frontend } from '../../entry/frontend.ts';
import type { ByteSink } from '../../io/byte-sink.ts';
import type { Timed } from '../../io/deadlines.ts';
import { atTurnEnd, readSoon, writeSoon } from '../../io/direct-io.ts';
import type { TurnWork } from '../../io/hold-back.ts';
import { endpointsOf, resetNow, send } from '../../io/raw-socket.ts';
import { badRequest, HEAD_TOO_LARGE } from '../../log/refusal.ts';
import { handshakeMs } from '../../tls/terminator.ts';
import { Backlog } from '../h1/backlog.ts';
import { passesTrailer } from '../h1/trailers.ts';
import { Message } from '../message.ts';
import type { HttpAnswer } from '../model.ts';
import { type Peer, peerOf } from '../peer.ts';
import type { HttpService } from '../service.ts';
import { ANSWER_FIELDS, block, writeTrailers } from './answer-fields.ts';
import { Calm } from './calm.ts';
import { FrameReader, type FrameSink } from './frame-reader.ts';
import {
  ERROR,
  type ErrorCode,
  FLAG,
  FRAME,
  FRAME_BYTES,
  MAX_STREAM_ID,
  MAX_WINDOW_BYTES,
  PREFACE,
  readUint32,
  SETTING,
  WINDOW_BYTES,
  writeBlock,
  writeFrameHeader,
  writeGoAway,
  writeNumberFrame,
  writeSettings,
} from './frames.ts';
import { HpackDecoder } from './hpack/decoder.ts';
import { HpackEncoder, writeStatus } from './hpack/encoder.ts';
import { readPriority } from './priority.ts';
import { builder, requestScratch } from './scratch.ts';
import { Http2Stream } from './stream.ts';
import { newKey } from './websocket-key.ts';

/** Requests at a time. */
export const MAX_STREAMS = 100;
/** The client gets credit for its connection once it has used so much of it. */
const CREDIT_BYTES = WINDOW_BYTES >>> 1;
/** What is to be written waits for the end of the turn, but no more than so much. */
const OUT_BYTES = 64 * 1024;
/** Behind a HEADERS frame. */
const MAX_CONTINUATIONS = 16;
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
export class Http2Connection implements ByteSink, FrameSink, Timed, TurnWork {
  deadline: number;
  listed = -1;
  ended = false;
  /** The socket has taken as much as it can. */
  blocked = false;
  readonly service: HttpService;
  readonly frontend: Frontend;
  readonly peer: Peer;
  readonly #socket: net.Socket;
  readonly #endpoints: Endpoints | undefined;
  readonly #reader = new FrameReader(this);
  readonly #decoder = new HpackDecoder();
  readonly #encoder = new HpackEncoder();
  readonly #streams = new Map<number, Http2Stream>();
  /** Of streams that are over. */
  #spare: Http2Stream[] = [];
  /** Streams that have something to send and could not. */
  #waiting: Http2Stream[] = [];
  /** Streams whose backends are held up, since the socket has taken as much as it can, though they had nothing to send just then. */
  #held: Http2Stream[] = [];
  readonly #late = new Set<number>();
  readonly #calm: Calm;
  readonly #out = new Message(512);
  #isDue = false;
  #mode = OPEN;
  #prefaceBytes = 0;
  /** The client's first SETTINGS are here. */
  #isSet = false;
  #lastStream = 0;
  /** The last one that is served, once it is said. */
  #lastServed = MAX_STREAM_ID;
  #receiveWindow = WINDOW_BYTES;
  #taken = 0;
  #sendWindow = WINDOW_BYTES;
  /** Of streams, by the client's settings. */
  #firstWindow = WINDOW_BYTES;
  #mostPayload = FRAME_BYTES;
  /** Of a block of fields that goes on in CONTINUATIONs; 0: none. */
  #blockStream = 0;
  #blockEnds = false;
  #pieces: Backlog | undefined;
  #continuations = 0;
  /** Something may be sent that could not be. */
  #mayProceed = false;
  #resting = true;
  #tookHandshake = false;

  /** @param endpoints from a PROXY header; undefined: the ends of the socket are those of the client */
  constructor(socket: net.Socket, service: HttpService, endpoints?: Endpoints) {
    const { frontend } = service;
    this.#socket = socket;
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
    writeSettings(this.#out, [
      [SETTING.maxConcurrentStreams, MAX_STREAMS],
      [SETTING.maxHeaderListSize, frontend.config.limits.headBytes],
      [SETTING.enableConnectProtocol, 1],
      [SETTING.noRfc7540Priorities, 1],
    ]);
    this.#beDue();
  }

  get endpoints(): Endpoints {
    return this.#endpoints ?? endpointsOf(this.#socket);
  }

  get localAddress(): string | undefined {
    return this.#socket.localAddress;
  }

  /** Backends work for its streams. */
  get backend(): undefined {
    return undefined;
  }

  get idle(): boolean {
    return this.#streams.size === 0;
  }

  get gone(): boolean {
    return this.#mode === OVER || this.#socket.destroyed;
  }

  /** How long the handshake took, for the first request; then 0. */
  takeHandshakeMs(): number {
    if (this.#tookHandshake) return 0;
    this.#tookHandshake = true;
    return handshakeMs(this.#socket);
  }

  // How it ends.

  /**
   * Asks the client to go: first with no stream excluded, then, when it must have heard that, with the last one that came
   * (RFC 9113 §6.8). Those that are running go on.
   */
  retire(): void {
    if (this.#mode !== OPEN || !this.#isSet) return;
    this.#mode = WARNED;
    writeGoAway(this.#out, MAX_STREAM_ID, ERROR.noError, '');
    writeFrameHeader(this.#out, 8, FRAME.ping, 0, 0);
    this.#out.text(GOING);
    this.#beDue();
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
    writeGoAway(this.#out, this.#lastServed, ERROR.noError, '');
    this.#beDue();
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
  #fail(code: ErrorCode, why: string): false {
    if (this.#mode === OVER) return false;
    this.frontend.count('refused_400', 1);
    this.frontend.logFlood(this.peer.address, 'http2_error', 0, why);
    this.#end(code, why);
    return false;
  }

  /** Says the last word, and waits for the client's end, so that it is not lost in a reset. */
  #end(code: ErrorCode, why: string): void {
    if (this.#mode === OVER) return;
    writeGoAway(this.#out, Math.min(this.#lastStream, this.#lastServed), code, why);
    this.#mode = OVER;
    for (const stream of [...this.#streams.values()]) stream.onGone(true);
    this.endTurn();
    this.#pieces = undefined;
    this.deadline = this.frontend.context.deadlines.in(LINGER_MS);
    this.#socket.end();
    if (this.ended) this.#socket.destroySoon();
    else this.#socket.resume();
  }

  onClientEnd(): void {
    this.ended = true;
    if (this.#mode === OVER) this.#socket.destroySoon();
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
    this.#pieces = undefined;
  }

  onDeadline(): void {
    const { config, context } = this.frontend;
    if (this.#mode === OVER) this.#socket.destroy();
    else if (this.#mode === WARNED) this.#leave();
    else if (!this.#isSet || this.#blockStream !== 0) this.#fail(ERROR.enhanceYourCalm, 'head too slow');
    else if (this.#streams.size > 0) return;
    else if (this.#resting) this.#end(ERROR.noError, '');
    else {
      this.#resting = true;
      for (const stream of this.#spare) stream.dispose();
      this.#spare = [];
      this.#out.shrink();
      const leftMs = config.timeouts.keepAliveMs - REST_MS;
      if (leftMs <= 0) this.#end(ERROR.noError, '');
      else this.deadline = context.deadlines.in(leftMs);
    }
  }

  /** No stream is left. */
  #awaitRequest(): void {
    if (this.#mode === LEAVING) this.#end(ERROR.noError, '');
    if (this.#mode !== OPEN) return;
    const { config, context } = this.frontend;
    this.#resting = false;
    this.deadline = context.deadlines.in(Math.min(config.timeouts.keepAliveMs, REST_MS));
  }

  // From the client.

  onBytes(buffer: Buffer, length: number): void {
    this.frontend.count('bytes_received', length);
    if (this.#mode === OVER) return;
    let at = 0;
    if (this.#prefaceBytes < PREFACE.length) {
      while (at < length && this.#prefaceBytes < PREFACE.length)
        if (buffer[at++] !== PREFACE[this.#prefaceBytes++]) {
          this.#fail(ERROR.protocol, 'no connection preface');
          return;
        }
    }
    this.#reader.read(buffer, at, length);
    if (this.#mode === OVER) return;
    if (this.#taken >= CREDIT_BYTES) {
      this.#receiveWindow += this.#taken;
      this.credit(0, this.#taken);
      this.#taken = 0;
    }
    if (this.#mayProceed) this.#proceed();
  }

  get #nowMs(): number {
    return this.frontend.context.deadlines.now;
  }

  #spendFrame(): boolean {
    return this.#calm.frame(this.#nowMs) || this.#fail(ERROR.enhanceYourCalm, 'too many frames to no end');
  }

  #spendReset(): boolean {
    return this.#calm.reset(this.#nowMs) || this.#fail(ERROR.enhanceYourCalm, 'too many streams are reset');
  }

  onBadPadding(): boolean {
    return this.#fail(ERROR.protocol, 'padding longer than its frame');
  }

  onFrameHeader(type: number, flags: number, id: number, length: number): boolean {
    if (length > FRAME_BYTES) return this.#fail(ERROR.frameSize, 'frame too large');
    if (!this.#isSet && (type !== FRAME.settings || (flags & FLAG.ack) !== 0))
      return this.#fail(ERROR.protocol, 'no SETTINGS behind the preface');
    if (this.#blockStream !== 0 && (type !== FRAME.continuation || id !== this.#blockStream))
      return this.#fail(ERROR.protocol, 'a frame within a block of fields');
    switch (type) {
      case FRAME.data:
        return this.#chargeData(flags, id, length);
      case FRAME.headers:
        if (id === 0) return this.#fail(ERROR.protocol, 'HEADERS on stream 0');
        return true;
      case FRAME.continuation:
        if (this.#blockStream === 0) return this.#fail(ERROR.protocol, 'CONTINUATION of nothing');
        return true;
      case FRAME.priority:
        return this.#spendFrame() && (id !== 0 || this.#fail(ERROR.protocol, 'PRIORITY on stream 0'));
      case FRAME.rstStream:
        if (length !== 4) return this.#fail(ERROR.frameSize, 'RST_STREAM of another size');
        if (id === 0 || id > this.#lastStream || (id & 1) === 0)
          return this.#fail(ERROR.protocol, 'RST_STREAM of an idle stream');
        return true;
      case FRAME.settings:
        if (id !== 0) return this.#fail(ERROR.protocol, 'SETTINGS on a stream');
        if ((flags & FLAG.ack) !== 0 ? length !== 0 : length % 6 !== 0)
          return this.#fail(ERROR.frameSize, 'SETTINGS of another size');
        return this.#spendFrame();
      case FRAME.pushPromise:
        return this.#fail(ERROR.protocol, 'PUSH_PROMISE of a client');
      case FRAME.ping:
        if (id !== 0) return this.#fail(ERROR.protocol, 'PING on a stream');
        if (length !== 8) return this.#fail(ERROR.frameSize, 'PING of another size');
        return this.#spendFrame();
      case FRAME.goAway:
        if (id !== 0) return this.#fail(ERROR.protocol, 'GOAWAY on a stream');
        if (length < 8) return this.#fail(ERROR.frameSize, 'GOAWAY of another size');
        return this.#spendFrame();
      case FRAME.windowUpdate:
        if (length !== 4) return this.#fail(ERROR.frameSize, 'WINDOW_UPDATE of another size');
        if (id !== 0 && (id > this.#lastStream || (id & 1) === 0))
          return this.#fail(ERROR.protocol, 'WINDOW_UPDATE of an idle stream');
        return this.#spendFrame();
      case FRAME.priorityUpdate:
        if (id !== 0) return this.#fail(ERROR.protocol, 'PRIORITY_UPDATE on a stream');
        if (length < 4) return this.#fail(ERROR.frameSize, 'PRIORITY_UPDATE of another size');
        return this.#spendFrame();
      default:
        // RFC 9113 §4.1: what is not known is ignored.
        return this.#spendFrame();
    }
  }

  #chargeData(flags: number, id: number, length: number): boolean {
    if (id === 0) return this.#fail(ERROR.protocol, 'DATA on stream 0');
    if (id > this.#lastStream || (id & 1) === 0) return this.#fail(ERROR.protocol, 'DATA on an idle stream');
    // RFC 9113 §6.9.1: also of a stream that is over.
    this.#receiveWindow -= length;
    this.#taken += length;
    if (this.#receiveWindow < 0)
      return this.#fail(ERROR.flowControl, 'more DATA than the connection may have');
    if (length === 0 && (flags & FLAG.endStream) === 0 && !this.#spendFrame()) return false;
    const stream = this.#streams.get(id);
    if (stream === undefined)
      return this.#isLate(id) || this.#fail(ERROR.streamClosed, 'DATA on a closed stream');
    if (stream.heardAll) return this.#resetFor(stream, ERROR.streamClosed);
    return stream.charge(length) || this.#resetFor(stream, ERROR.flowControl);
  }

  /** The client has broken a rule of one stream. @returns whether the connection goes on */
  #resetFor(stream: Http2Stream, code: ErrorCode): boolean {
    stream.log?.fault('http2_error');
    stream.resetWith(code);
    return this.#spendReset();
  }

  /** What comes may have been sent before a reset was heard of, or before a GOAWAY. */
  #isLate(id: number): boolean {
    return this.#late.has(id) || id > this.#lastServed;
  }

  onData(id: number, buffer: Buffer, start: number, length: number, ended: boolean): boolean {
    const stream = this.#streams.get(id);
    if (stream === undefined || stream.heardAll) return true;
    return stream.onData(buffer, start, length, ended) || this.#resetFor(stream, ERROR.protocol);
  }

  onPayload(type: number, flags: number, id: number, buffer: Buffer, start: number, end: number): boolean {
    switch (type) {
      case FRAME.headers:
        return this.#onHeaders(flags, id, buffer, start, end);
      case FRAME.continuation:
        return this.#onContinuation(flags, buffer, start, end);
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
    if (length === 5) return true;
    const stream = this.#streams.get(id);
    if (stream !== undefined) return this.#resetFor(stream, ERROR.frameSize);
    this.resetStream(id, ERROR.frameSize);
    return this.#spendReset();
  }

  /** RFC 9218 §7.1; of a stream that is still to come it is not kept. */
  #onPriorityUpdate(buffer: Buffer, start: number, end: number): boolean {
    const id = readUint32(buffer, start) & MAX_STREAM_ID;
    if (id === 0) return this.#fail(ERROR.protocol, 'PRIORITY_UPDATE of stream 0');
    const stream = this.#streams.get(id);
    if (stream !== undefined) stream.priority = readPriority(buffer.latin1Slice(start + 4, end));
    return true;
  }

  #onPing(flags: number, buffer: Buffer, start: number, end: number): void {
    if ((flags & FLAG.ack) === 0) {
      writeFrameHeader(this.#out, 8, FRAME.ping, FLAG.ack, 0);
      this.#out.copy(buffer, start, end);
      this.#beDue();
    } else if (buffer.latin1Slice(start, end) === GOING) this.#leave();
  }

  #onReset(id: number): boolean {
    const stream = this.#streams.get(id);
    // Of one that lbd has reset, or whose answer is complete.
    if (stream === undefined) return this.#spendFrame();
    this.#late.delete(id);
    stream.onGone(true);
    return this.#spendReset();
  }

  #onSettings(buffer: Buffer, start: number, end: number): boolean {
    for (let at = start; at < end; at += 6) {
      const value = readUint32(buffer, at + 2);
      switch ((buffer[at]! << 8) | buffer[at + 1]!) {
        case SETTING.headerTableSize:
          this.#encoder.tableSize(value);
          break;
        case SETTING.enablePush:
          if (value > 1) return this.#fail(ERROR.protocol, 'SETTINGS_ENABLE_PUSH neither 0 nor 1');
          break;
        case SETTING.initialWindowSize:
          if (value > MAX_WINDOW_BYTES)
            return this.#fail(ERROR.flowControl, 'SETTINGS_INITIAL_WINDOW_SIZE too large');
          if (!this.#shiftWindows(value - this.#firstWindow)) return false;
          this.#firstWindow = value;
          break;
        case SETTING.maxFrameSize:
          if (value < FRAME_BYTES || value >= 1 << 24)
            return this.#fail(ERROR.protocol, 'SETTINGS_MAX_FRAME_SIZE out of range');
          this.#mostPayload = Math.min(value, OUT_BYTES);
          break;
      }
    }
    writeFrameHeader(this.#out, 0, FRAME.settings, FLAG.ack, 0);
    this.#beDue();
    if (!this.#isSet) {
      this.#isSet = true;
      this.#awaitRequest();
    }
    return true;
  }

  /** RFC 9113 §6.9.2 */
  #shiftWindows(by: number): boolean {
    if (by === 0) return true;
    for (const stream of this.#streams.values()) {
      stream.sendWindow += by;
      if (stream.sendWindow > MAX_WINDOW_BYTES)
        return this.#fail(ERROR.flowControl, 'SETTINGS_INITIAL_WINDOW_SIZE makes a window too large');
    }
    this.#mayProceed ||= by > 0;
    return true;
  }

  #onWindowUpdate(id: number, by: number): boolean {
    if (id === 0) {
      if (by === 0) return this.#fail(ERROR.protocol, 'WINDOW_UPDATE by nothing');
      this.#sendWindow += by;
      if (this.#sendWindow > MAX_WINDOW_BYTES) return this.#fail(ERROR.flowControl, 'window too large');
      this.#mayProceed = true;
      return true;
    }
    const stream = this.#streams.get(id);
    if (stream === undefined) return true;
    if (by === 0) return this.#resetFor(stream, ERROR.protocol);
    stream.sendWindow += by;
    if (stream.sendWindow > MAX_WINDOW_BYTES) return this.#resetFor(stream, ERROR.flowControl);
    this.#mayProceed ||= stream.wants;
    return true;
  }

  // Blocks of fields.

  #onHeaders(flags: number, id: number, buffer: Buffer, start: number, end: number): boolean {
    let at = start;
    let padding = 0;
    if ((flags & FLAG.padded) !== 0) {
      if (at === end) return this.onBadPadding();
      padding = buffer[at++]!;
    }
    if ((flags & FLAG.priority) !== 0) at += 5;
    if (at + padding > end) return this.onBadPadding();
    const ends = (flags & FLAG.endStream) !== 0;
    if ((flags & FLAG.endHeaders) !== 0) return this.#onBlock(id, ends, buffer, at, end - padding);
    this.#blockStream = id;
    this.#blockEnds = ends;
    this.#continuations = 0;
    this.#pieces = new Backlog(buffer, at, end - padding);
    const { config, context } = this.frontend;
    if (this.#mode === OPEN) this.deadline = context.deadlines.in(config.timeouts.headMs);
    return this.#isBlockBounded(this.#pieces);
  }

  #onContinuation(flags: number, buffer: Buffer, start: number, end: number): boolean {
    const block = this.#pieces!;
    block.append(buffer, start, end);
    this.#continuations++;
    if (!this.#isBlockBounded(block)) return false;
    if ((flags & FLAG.endHeaders) === 0) return true;
    const id = this.#blockStream;
    this.#blockStream = 0;
    this.#pieces = undefined;
    if (this.#mode === OPEN) this.deadline = 0;
    const goesOn = this.#onBlock(id, this.#blockEnds, block.bytes, 0, block.length);
    if (goesOn && this.#streams.size === 0) this.#awaitRequest();
    return goesOn;
  }

  /** CVE-2024-27316 and those beside it. */
  #isBlockBounded({ length }: Backlog): boolean {
    return (
      (length <= this.frontend.config.limits.headBytes && this.#continuations <= MAX_CONTINUATIONS) ||
      this.#fail(ERROR.enhanceYourCalm, 'fields too large')
    );
  }

  #onBlock(id: number, ends: boolean, buffer: Buffer, start: number, end: number): boolean {
    const { limits } = this.frontend.config;
    const stream = this.#streams.get(id);
    builder.begin(limits.headBytes, limits.fields, stream !== undefined);
    const fault = this.#decoder.decode(buffer, start, end, builder);
    if (fault !== '') return this.#fail(ERROR.compression, fault);
    if (stream !== undefined) return this.#onTrailers(stream, ends);
    if ((id & 1) === 0) return this.#fail(ERROR.protocol, 'a stream of an even number');
    if (id <= this.#lastStream)
      return this.#isLate(id) || this.#fail(ERROR.streamClosed, 'HEADERS on a closed stream');
    this.#lastStream = id;
    if (id > this.#lastServed) return true;
    if (this.#streams.size >= MAX_STREAMS) {
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
    stream.sendWindow = this.#firstWindow;
    stream.priority = readPriority(builder.priority);
    this.#streams.set(id, stream);
    if (this.#mode === OPEN) this.deadline = 0;
    if (isTooLarge) {
      stream.beginRefused(HEAD_TOO_LARGE, ends);
      return this.#mode !== OVER;
    }
    const head = requestScratch;
    const { message } = builder;
    const after = head.parse(message.bytes, 0, message.length, Number.MAX_SAFE_INTEGER);
    // A line end within a value would make lines of its own.
    if (after < 0) stream.beginRefused(badRequest(head.fault, head.status), ends);
    else if (after !== message.length || head.fieldCount !== builder.lines)
      stream.beginRefused(badRequest('invalid byte in a field value'), ends);
    else stream.begin(head, bytes, ends, builder.length, key);
    return this.#mode !== OVER;
  }

  #onTrailers(stream: Http2Stream, ends: boolean): boolean {
    if (stream.heardAll) return this.#resetFor(stream, ERROR.streamClosed);
    // RFC 9113 §8.1
    if (!ends) return this.#resetFor(stream, ERROR.protocol);
    const trailers = builder.trailers((name) => passesTrailer(name, this.service.reserved));
    if (trailers === undefined || !stream.onTrailers(trailers)) return this.#resetFor(stream, ERROR.protocol);
    return true;
  }

  // To the client.

  /** Puts together the fields of an answer, which leave with the next `sendHead`. */
  encode(status: number, answer: HttpAnswer): void {
    block.clear();
    this.#encoder.begin(block);
    writeStatus(block, status);
    answer.fields(ANSWER_FIELDS, true);
  }

  /** @param ends nothing comes behind them. @returns bytes of the block */
  sendHead(id: number, ends: boolean): number {
    writeBlock(this.#out, block, id, ends, this.#mostPayload);
    this.#beDue();
    return block.length;
  }

  /** @param trailers each with its CRLF. @returns bytes of their block */
  sendTrailers(id: number, trailers: string): number {
    block.clear();
    this.#encoder.begin(block);
    writeTrailers(trailers);
    return this.sendHead(id, true);
  }

  /**
   * Sends data of a stream, as much as windows allow, in frames.
   *
   * @param ends it is all there is; without any, an empty frame says so
   * @returns how far it came
   */
  sendData(stream: Http2Stream, buffer: Buffer, start: number, end: number, ends: boolean): number {
    const out = this.#out;
    let at = start;
    do {
      const length = Math.min(end - at, this.#mostPayload, this.#sendWindow, stream.sendWindow);
      if (length <= 0 && at < end) break;
      const isLast = ends && at + length === end;
      writeFrameHeader(out, length, FRAME.data, isLast ? FLAG.endStream : 0, stream.id);
      out.copy(buffer, at, at + length);
      at += length;
      this.#sendWindow -= length;
      stream.sendWindow -= length;
      this.#calm.sent(length);
      if (out.length >= OUT_BYTES) this.#flush();
    } while (at < end && !this.blocked);
    this.#beDue();
    return at;
  }

  /** The client may send so much more. @param id of a stream; 0: all of them together */
  credit(id: number, bytes: number): void {
    if (bytes === 0) return;
    writeNumberFrame(this.#out, FRAME.windowUpdate, id, bytes);
    this.#beDue();
  }

  resetStream(id: number, code: ErrorCode): void {
    if (this.#mode === OVER) return;
    writeNumberFrame(this.#out, FRAME.rstStream, id, code);
    this.#beDue();
    this.#late.add(id);
    if (this.#late.size > MAX_LATE) this.#late.delete(this.#late.values().next().value!);
  }

  /** A stream has something to send and cannot. */
  await(stream: Http2Stream): void {
    if (!this.#waiting.includes(stream)) this.#waiting.push(stream);
  }

  /** A stream is over, and may serve another request. @param isComplete it came to its end */
  closed(stream: Http2Stream, isComplete: boolean): void {
    this.#streams.delete(stream.id);
    const at = this.#waiting.indexOf(stream);
    if (at >= 0) this.#waiting.splice(at, 1);
    const heldAt = this.#held.indexOf(stream);
    if (heldAt >= 0) this.#held.splice(heldAt, 1);
    this.#spare.push(stream);
    if (isComplete) this.#calm.answered();
    if (this.#streams.size === 0) this.#awaitRequest();
  }

  /** Sends what waits, in the order of its urgency. */
  #proceed(): void {
    this.#mayProceed = false;
    while (!this.blocked && this.#mode !== OVER) {
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
      if (!stream.mayGo || (this.#sendWindow <= 0 && stream.hasData)) continue;
      if (best < 0 || stream.priority.urgency < this.#waiting[best]!.priority.urgency) best = at;
    }
    return best;
  }

  #beDue(): void {
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
    const out = this.#out;
    const { length } = out;
    if (length === 0) return;
    this.frontend.count('bytes_sent', length);
    const socket = this.#socket;
    const goesOn =
      socket.destroyed || socket.writableEnded || length > OUT_BYTES / 4
        ? socket.destroyed || socket.writableEnded || send(socket, out.bytes, 0, length)
        : writeSoon(socket, out.bytes, 0, length);
    out.clear();
    if (!goesOn && !this.blocked) this.#block();
  }

  /** What backends send now would only have to be kept. */
  #block(): void {
    this.blocked = true;
    for (const stream of this.#streams.values())
      if (stream.hold() && !this.#held.includes(stream)) this.#held.push(stream);
  }

  onDrain(): void {
    this.blocked = false;
    if (this.#mode === OVER) return;
    this.#proceed();
    this.#letGo();
  }

  /** One after the other: what the first one brings may be as much as the socket takes. */
  #letGo(): void {
    while (!this.blocked) {
      const stream = this.#held.shift();
      if (stream === undefined) return;
      if (!stream.release()) continue;
      this.#beDue();
      return;
    }
  }

  /** Ends it now; the client gets a reset. */
  destroy(): void {
    resetNow(this.#socket);
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

import type net from 'node:net';
import type { Endpoints } from '../../../common/proxy-protocol.ts';
import type { UpstreamBackend } from '../../dispatch/upstream.ts';
import type { ByteSink } from '../../io/byte-sink.ts';
import type { Timed } from '../../io/deadlines.ts';
import { readSoon } from '../../io/direct-io.ts';
import { badRequest, HEAD_TIMEOUT, HEAD_TOO_LARGE, type Refusal } from '../../log/refusal.ts';
import { handshakeMs } from '../../tls/terminator.ts';
import type { ClientStream, UpgradedStream } from '../client-stream.ts';
import { Exchange } from '../exchange.ts';
import { type HttpAnswer, UNKNOWN } from '../model.ts';
import { refusalAnswer } from '../own-answer.ts';
import { CLOSED, CONNECTING, EXCHANGE, HEAD, IDLE, LINGER, type Phase, TUNNEL } from '../phase.ts';
import type { HttpService } from '../service.ts';
import { Backlog } from './backlog.ts';
import { BodyReader, BROKEN } from './body-reader.ts';
import { ClientSocket } from './client-socket.ts';
import { CR, LF } from './grammar.ts';
import { lastAnswerText } from './own-answer.ts';
import { afterEmptyLines, type RequestHead } from './request-head.ts';
import { type Outlet, ResponseWriter } from './response-writer.ts';
import { requestScratch } from './scratch.ts';

/**
 * How long a client may take to close after its last answer, and how much it may still send: more than the
 * socket buffers of both ends hold, because a client that uploads may have filled them before it reads.
 */
const LINGER_MS = 2000;
const LINGER_BYTES = 16 << 20;

/** A connection that has had no request for so long lets go of what large ones have left. */
const REST_MS = 1000;

type Owned = net.Socket & { connection?: HttpConnection };

/**
 * One client connection of an HTTP frontend: reads a request, has it answered, and waits for the next one. All
 * its moves are in callbacks of the client's socket, of the backend's, or of a deadline; no promise and no
 * stream stands between them.
 */
export class HttpConnection extends ClientSocket implements ByteSink, ClientStream, Outlet, Timed {
  deadline = 0;
  listed = -1;
  phase: Phase = IDLE;
  #exchange: Exchange | undefined;
  /** Of the request under way. */
  readonly #body = new BodyReader();
  readonly #answer = new ResponseWriter();
  /** From an upgrade on. */
  #tunnel: UpgradedStream | undefined;
  #backlog: Backlog | undefined;
  #lingered = 0;
  /** Of an empty line before a request its CR has come. */
  #halfLine = false;
  /** Without a request for `REST_MS` at least, or from the beginning. */
  #resting = true;

  // Of the request under way.
  #keepAlive = true;
  #http10 = false;
  requestId = '';

  /** @param endpoints from a PROXY header; undefined: the ends of the socket are those of the client */
  constructor(socket: net.Socket, service: HttpService, endpoints?: Endpoints) {
    super(socket, service, endpoints);
    const { frontend } = service;
    (socket as Owned).connection = this;
    socket.on('end', onEnd);
    socket.on('error', onError);
    socket.on('drain', onDrain);
    socket.once('close', onClose);
    frontend.count('accepted', 1);
    this.deadline = frontend.context.deadlines.in(frontend.config.timeouts.headMs);
    frontend.context.deadlines.add(this);
  }

  /** The backend that works on a request of this connection; undefined: none. */
  get backend(): UpstreamBackend | undefined {
    return this.#tunnel?.backend ?? this.#exchange?.backend;
  }

  get idle(): boolean {
    return this.phase === IDLE;
  }

  get gone(): boolean {
    return this.phase === CLOSED || this.socket.destroyed;
  }

  get ahead(): boolean {
    return this.#backlog !== undefined;
  }

  /** Ends the connection if no request is under way. */
  closeIfIdle(): void {
    if (this.phase === IDLE) this.#linger();
  }

  // From the client.

  onBytes(buffer: Buffer, length: number): void {
    this.frontend.count('bytes_received', length);
    switch (this.phase) {
      case IDLE:
      case HEAD:
        if (this.#backlog === undefined) this.#consume(buffer, 0, length);
        else this.#consumeBacklog(this.#backlog, buffer, length);
        break;
      case EXCHANGE:
      case CONNECTING:
        this.#afterBody(buffer, this.#readBody(buffer, 0, length), length);
        break;
      case TUNNEL:
        this.#tunnel!.onBytes(buffer, length);
        break;
      case LINGER:
        this.#lingered += length;
        if (this.#lingered > LINGER_BYTES) this.socket.destroy();
        break;
    }
  }

  #consumeBacklog(backlog: Backlog, buffer: Buffer, length: number): void {
    backlog.append(buffer, 0, length);
    // Looking again at a head that cannot be complete would make a slow client expensive.
    if (backlog.length <= this.frontend.config.limits.headBytes && !backlog.endsWithin(LF, length)) return;
    this.#backlog = undefined;
    this.#consume(backlog.bytes, 0, backlog.length);
  }

  /** Reads requests from bytes that start one. Ends when they are used up, kept, or the connection closes. */
  #consume(buffer: Buffer, start: number, end: number): void {
    let at = start;
    // A client that sends requests and reads no answers must not fill the memory with them.
    while (at < end && (this.phase === IDLE || this.phase === HEAD) && !this.socket.writableNeedDrain) {
      const { context, config } = this.frontend;
      if (this.phase === IDLE) {
        if (buffer[at]! <= CR || this.#halfLine) at = this.#skipEmptyLines(buffer, at, end);
        if (at === end) break;
        this.phase = HEAD;
        this.deadline = context.deadlines.in(config.timeouts.headMs);
        this.asker.forget(this.log);
        this.log = this.frontend.record(this.log, this.asker.address);
        // The handshake is the first request's.
        this.log?.begin(this.#exchange === undefined ? handshakeMs(this.socket) : 0);
      }
      const head = requestScratch;
      if (this.#halfLine) {
        this.refuse(badRequest('bare carriage return'));
        return;
      }
      const after = head.parse(buffer, at, end, config.limits.fields);
      if (after < 0) {
        this.log?.part(head, buffer, at, end);
        this.refuse(badRequest(head.fault, head.status));
        return;
      }
      if (after === 0 ? end - at > config.limits.headBytes : after - at > config.limits.headBytes) {
        this.log?.part(head, buffer, at, end);
        this.refuse(HEAD_TOO_LARGE);
        return;
      }
      if (after === 0) {
        this.#append(buffer, at, end);
        return;
      }
      this.frontend.count('requests', 1);
      at = this.#begin(head, buffer, at, after, end);
    }
    if (at < end) this.#afterBody(buffer, at, end);
    else if (this.phase === IDLE && this.socket.writableNeedDrain) this.pause();
  }

  /**
   * A request whose head lies from `start` to `after`.
   *
   * @returns offset of the first byte that is not this request's
   */
  #begin(head: RequestHead, buffer: Buffer, start: number, after: number, end: number): number {
    this.#keepAlive = head.keepAlive && !this.frontend.closes;
    this.#http10 = head.http10;
    this.requestId = head.requestId ?? this.frontend.context.nextRequestId();
    this.asker.identify(head, this.log);
    head.scheme = this.asker.scheme;
    this.log?.head(head, this.requestId, after - start);
    if (this.#exchange === undefined) this.#exchange = new Exchange(this);
    else readSoon(this.socket);
    const body = this.#body;
    body.begin(head.body, head.contentLength, this.service.reserved);
    this.#exchange.begin(head);
    if (body.done) return after;
    // It was answered with its body still to come, which nobody will read.
    if (this.phase !== EXCHANGE && this.phase !== CONNECTING) return end;
    return this.#readBody(buffer, after, end);
  }

  /** @returns offset of the first byte after the body of the request under way, or `end` */
  #readBody(buffer: Buffer, start: number, end: number): number {
    const body = this.#body;
    if (body.done) return start;
    const at = body.read(buffer, start, end);
    if (at === BROKEN) {
      this.refuse(badRequest(body.fault));
      return end;
    }
    const trailers = body.done ? body.trailers : '';
    if (body.done) body.drop();
    this.#exchange!.onBody(buffer, body.dataStart, body.dataLength, body.done, trailers);
    return at;
  }

  /**
   * An empty line, and silence behind it, is no request: the connection stays idle.
   *
   * @returns offset of what is of no empty line, or `end`
   */
  #skipEmptyLines(buffer: Buffer, start: number, end: number): number {
    let at = start;
    if (this.#halfLine) {
      if (buffer[at] !== LF) return at;
      this.#halfLine = false;
      at++;
    }
    at = afterEmptyLines(buffer, at, end);
    if (at + 1 !== end || buffer[at] !== CR) return at;
    this.#halfLine = true;
    return end;
  }

  /** Bytes behind a complete request belong to the next one; they wait for their turn. */
  #afterBody(buffer: Buffer, at: number, end: number): void {
    if (at === end) return;
    if (this.phase !== EXCHANGE && this.phase !== CONNECTING && this.phase !== IDLE) return;
    this.#append(buffer, at, end);
    this.pause();
  }

  #append(buffer: Buffer, start: number, end: number): void {
    if (this.#backlog === undefined) this.#backlog = new Backlog(buffer, start, end);
    else this.#backlog.append(buffer, start, end);
  }

  upgrade(tunnel: UpgradedStream, answer: HttpAnswer): void {
    this.#tunnel = tunnel;
    this.phase = TUNNEL;
    readSoon(this.socket);
    this.touch();
    const message = this.#answer.switched(answer);
    this.#countHead(message.length);
    this.sendMessage(message);
    this.resume();
    const backlog = this.#backlog;
    this.#backlog = undefined;
    if (backlog !== undefined) tunnel.onBytes(backlog.bytes, backlog.length);
    if (this.ended) tunnel.onClientEnd();
  }

  onClientDrain(): void {
    if (this.phase === TUNNEL) {
      this.#tunnel!.onClientDrain();
      return;
    }
    this.#exchange?.onClientDrain();
    if (this.phase === EXCHANGE) this.#exchange!.arm();
    else if (this.phase === IDLE) this.#proceed();
  }

  onClientEnd(): void {
    this.ended = true;
    switch (this.phase) {
      case EXCHANGE:
        this.#exchange!.onClientEnd();
        break;
      case CONNECTING:
        break;
      case TUNNEL:
        this.#tunnel!.onClientEnd();
        break;
      case LINGER:
        // It may have ended only its side and still read what is written.
        this.socket.destroySoon();
        break;
      case IDLE:
        // Requests that wait because the client reads slowly are still answered.
        if (!this.ahead) this.#linger();
        break;
      default:
        this.log?.gone();
        this.#linger();
    }
  }

  /** @param failed not an orderly end */
  onClientClose(failed: boolean): void {
    if (this.phase === TUNNEL && !failed) this.log?.end();
    else this.log?.gone();
    this.frontend.context.deadlines.remove(this);
    this.frontend.leave();
    this.asker.leaveSource();
    this.phase = CLOSED;
    this.#backlog = undefined;
    this.#tunnel?.onClientClose(this.ended);
    this.#exchange?.onClientClose();
  }

  // To the client.

  protected awaitDrain(): void {
    this.#tunnel?.holdBackend();
    this.#exchange?.holdBackend();
  }

  inform(answer: HttpAnswer): void {
    // RFC 9110 §15.2: a proxy forwards 1xx, but HTTP/1.0 does not know them.
    if (this.#http10) return;
    const message = this.#answer.interim(answer);
    this.#countHead(message.length);
    this.sendMessage(message);
  }

  start(answer: HttpAnswer, length: number, whole: boolean): void {
    const unframed = this.#http10 && length === UNKNOWN;
    // With a part of the client's body to come, what follows could not be told from a request.
    if (!whole || unframed || this.frontend.closes) this.#keepAlive = false;
    this.#countHead(this.#answer.start(answer, length, this.#http10, this.#keepAlive));
  }

  #countHead(bytes: number): void {
    if (this.log !== undefined) this.log.headsOut += bytes;
  }

  body(buffer: Buffer, start: number, length: number, ended: boolean, trailers: string): void {
    this.#answer.body(this, buffer, start, length, ended, trailers);
  }

  done(): void {
    this.asker.leaveSource();
    this.log?.end();
    // Where requests are being read, there may be more behind this one.
    const isReading = this.phase === HEAD;
    if (!this.#keepAlive || !this.#body.done || (this.ended && !this.ahead && !isReading)) {
      this.#linger();
      return;
    }
    this.#awaitRequest();
    if (isReading) return;
    if (this.socket.writableNeedDrain) this.pause();
    else this.#proceed();
  }

  /** Goes on with what the client sent in the meantime. */
  #proceed(): void {
    const backlog = this.#backlog;
    if (backlog !== undefined) {
      this.#backlog = undefined;
      this.#consume(backlog.bytes, 0, backlog.length);
    }
    switch (this.phase) {
      case IDLE:
      case HEAD:
        if (this.ended) this.onClientEnd();
        else if (!this.socket.writableNeedDrain) this.resume();
        break;
      case EXCHANGE:
        this.#exchange!.awaitMore();
        break;
    }
  }

  // Answers of our own.

  #awaitRequest(): void {
    this.phase = IDLE;
    this.#resting = false;
    const { context, config } = this.frontend;
    this.deadline = context.deadlines.in(Math.min(config.timeouts.keepAliveMs, REST_MS));
  }

  /** @returns false: it has rested for `timeouts.keep_alive` */
  #rest(): boolean {
    const { context, config } = this.frontend;
    const leftMs = config.timeouts.keepAliveMs - REST_MS;
    if (this.#resting || leftMs <= 0) return false;
    this.#resting = true;
    this.#exchange?.rest();
    this.asker.rest();
    this.log?.rest();
    this.deadline = context.deadlines.in(leftMs);
    return true;
  }

  refuse(refusal: Refusal): void {
    const { status, cause, reason } = refusal;
    const counter = status === 400 ? 'refused_400' : status === 408 ? 'refused_408' : 'refused_other';
    this.frontend.count(counter, 1);
    this.log?.fault(cause, status, reason);
    this.#exchange?.drop();
    if (this.phase === EXCHANGE && this.#exchange!.started) {
      this.reset(cause);
      return;
    }
    const answer = lastAnswerText(refusalAnswer(refusal, ''));
    this.#countHead(answer.indexOf('\r\n\r\n') + 4);
    this.writeText(answer);
    this.#linger();
  }

  /** Ends our side and waits for the client's end, so that the answer is not lost in a reset. */
  #linger(): void {
    this.log?.end();
    this.phase = LINGER;
    this.#backlog = undefined;
    const { context, config } = this.frontend;
    // A slow reader may take its time with what is written already; only then the client's end is due.
    this.deadline = context.deadlines.in(config.timeouts.idleMs);
    this.socket.end(() => {
      if (this.phase === LINGER) this.deadline = context.deadlines.in(LINGER_MS);
    });
    if (this.ended) this.socket.destroySoon();
    else this.resume();
  }

  // Time.

  /** Tells the access log what has come of a head that will not be complete. */
  #logBacklog(): void {
    const backlog = this.#backlog;
    if (this.log === undefined || backlog === undefined) return;
    requestScratch.parse(backlog.bytes, 0, backlog.length, this.frontend.config.limits.fields);
    this.log.part(requestScratch, backlog.bytes, 0, backlog.length);
  }

  touch(): void {
    this.deadline = this.frontend.context.deadlines.in(this.frontend.config.timeouts.idleMs);
  }

  onDeadline(): void {
    switch (this.phase) {
      case HEAD:
        this.#logBacklog();
        this.refuse(HEAD_TIMEOUT);
        break;
      case IDLE:
        if (!this.#rest()) this.#linger();
        break;
      case EXCHANGE:
        if (this.socket.writableNeedDrain) {
          this.reset('client_slow');
        } else this.#exchange!.onDeadline();
        break;
      case CONNECTING:
        this.#exchange!.onDeadline();
        break;
      default:
        if (this.phase === TUNNEL) this.log?.fault('idle_timeout');
        this.socket.destroy();
    }
  }
}

function onEnd(this: Owned): void {
  this.connection!.onClientEnd();
}
function onError(this: Owned): void {
  // 'close' follows and does what is to be done; without a listener an error would end the process.
}
function onDrain(this: Owned): void {
  this.connection!.onClientDrain();
}
function onClose(this: Owned, failed: boolean): void {
  this.connection!.onClientClose(failed);
}

import { TLSSocket } from 'node:tls';
import type { PoolConfig } from '../../../common/model.ts';
import type { Backend } from '../../dispatch/backend.ts';
import type { SharedConnection } from '../../dispatch/shared-connections.ts';
import { Upstream, type UpstreamUser } from '../../dispatch/upstream.ts';
import type { WorkerContext } from '../../entry/frontend.ts';
import { COUNTER } from '../../shared/shared.ts';
import { passesTrailer } from '../h1/trailers.ts';
import { NO_BYTES } from '../no-bytes.ts';
import { block } from './answer-fields.ts';
import type { Http2BackendStream } from './backend-stream.ts';
import { BAD_PADDING, BlockReader, MORE, TOO_LONG } from './block-reader.ts';
import { Calm } from './calm.ts';
import { FrameReader, type FrameSink } from './frame-reader.ts';
import { frameFault } from './frame-rules.ts';
import {
  ERROR,
  type ErrorCode,
  errorName,
  FLAG,
  FRAME,
  MAX_STREAM_ID,
  MAX_WINDOW_BYTES,
  PREFACE,
  readUint32,
  SETTING,
  WINDOW_BYTES,
  writeFrameHeader,
  writeGoAway,
  writeSettings,
} from './frames.ts';
import { HpackDecoder } from './hpack/decoder.ts';
import { Http2Link } from './link.ts';
import { writeRequest } from './request-fields.ts';
import { responseBuilder } from './scratch.ts';

/** Requests at a time, where the config does not say. */
const DEFAULT_STREAMS = 32;
/** What all streams together may send before lbd gives more; each has the window of HTTP/2 for itself. */
const CONNECTION_WINDOW_BYTES = 1024 * 1024;
/** How long the last word may take to leave. */
const LINGER_MS = 2000;
/** Of the PING that asks whether a connection still lives. */
const ALIVE = 'tandem-?';

/** The backend has not said that it speaks HTTP/2. */
const MAKING = 0;
const OPEN = 1;
/** Takes no more requests. */
const LEAVING = 2;
const OVER = 3;

/**
 * A connection to a backend that speaks HTTP/2 (RFC 9113), or is asked whether it does: requests of all clients of this
 * worker go over its streams. It is ready once the backend's SETTINGS are there, so that nothing is lost on one that speaks
 * something else, or takes fewer requests.
 */
export class Http2BackendConnection extends Http2Link implements FrameSink, UpstreamUser, SharedConnection {
  readonly backend: Backend;
  readonly #upstream: Upstream;
  readonly #context: WorkerContext;
  #pool: PoolConfig;
  #state = MAKING;
  readonly #reader = new FrameReader(this);
  readonly #decoder = new HpackDecoder();
  readonly #block = new BlockReader();
  readonly #calm: Calm;
  /** Those that wait until it is ready. */
  readonly #waiting: Http2BackendStream[] = [];
  readonly #streams = new Map<number, Http2BackendStream>();
  /** Places that are taken. */
  #users = 0;
  #nextId = 1;
  /** Requests at a time that the backend takes. */
  #mostStreams = Number.MAX_SAFE_INTEGER;
  /** It has refused one, and has not answered any since. */
  #isRefusing = false;
  /** A request got no answer in time, and nothing has come since. */
  #isDoubtful = false;
  /** Whose head is in `responseBuilder`: it is handed on with the first piece of its body, where that comes right behind it. */
  #headOf: Http2BackendStream | undefined;

  constructor(backend: Backend, pool: PoolConfig, context: WorkerContext) {
    const upstream = new Upstream(backend, undefined, context.deadlines, pool.timeouts.connectMs);
    super(upstream.socket);
    upstream.user = this;
    this.backend = backend;
    this.#upstream = upstream;
    this.#context = context;
    this.#pool = pool;
    this.#calm = new Calm(context.deadlines.now);
    backend.shared.add(this);
  }

  get address(): string {
    return this.#upstream.address;
  }

  get idle(): boolean {
    return this.#users === 0 && this.#state === OPEN;
  }

  /** A request can begin on it. @param pool of the request */
  hasRoom(pool: PoolConfig): boolean {
    return (
      this.#state === OPEN && !this.#isRefusing && !this.#isDoubtful && this.#fits(pool) && !this.#isOld()
    );
  }

  /** A request can wait for it. */
  willHaveRoom(pool: PoolConfig): boolean {
    const { shared } = this.backend;
    return this.#state === MAKING && !shared.declined && this.#fits(pool) && this.#users < shared.mostStreams;
  }

  #fits({ connections }: PoolConfig): boolean {
    return this.#users < Math.min(connections.streams ?? DEFAULT_STREAMS, this.#mostStreams);
  }

  #isOld(): boolean {
    const { maxAgeMs } = this.#pool.connections;
    const isOld =
      this.#nextId > MAX_STREAM_ID ||
      (maxAgeMs !== 0 && this.#context.deadlines.now - this.#upstream.openedMs >= maxAgeMs);
    if (isOld) this.retire();
    return isOld;
  }

  // Places.

  /** Takes a place on one that has room. */
  enter(pool: PoolConfig): void {
    this.#pool = pool;
    this.#users++;
    this.#upstream.deadline = 0;
  }

  /** Takes a place, and is told when the connection is ready. */
  wait(stream: Http2BackendStream): void {
    this.#users++;
    this.#waiting.push(stream);
  }

  /** A place is free again. @param answered its answer was complete */
  leave(stream: Http2BackendStream, answered: boolean): void {
    if (this.#state === OVER) return;
    this.#users--;
    if (this.#headOf === stream) this.#headOf = undefined;
    this.#streams.delete(stream.id);
    this.forget(stream);
    const at = this.#waiting.indexOf(stream);
    if (at >= 0) this.#waiting.splice(at, 1);
    if (answered) {
      this.#isRefusing = false;
      this.#calm.answered();
    }
    if (this.#users === 0) this.#rest();
  }

  /** Nobody uses it now. */
  #rest(): void {
    if (this.#state === MAKING) return;
    if (this.#state === LEAVING || this.#isRefusing || !this.backend.mayKeep(this.address) || this.#isOld()) {
      this.#end(ERROR.noError, '');
      return;
    }
    if (this.out.length === 0) this.out.shrink();
    if (!this.#isDoubtful)
      this.#upstream.deadline = this.#context.deadlines.in(this.#pool.timeouts.keepAliveMs);
  }

  retire(): void {
    if (this.#state === OVER) return;
    this.backend.shared.remove(this);
    if (this.#state === OPEN) this.#state = LEAVING;
    if (this.#users === 0) this.#end(ERROR.noError, '');
  }

  // How it begins.

  onUpstreamReady(): void {
    const { socket } = this;
    if (socket instanceof TLSSocket && socket.alpnProtocol !== 'h2') {
      if (this.backend.protocol === 'auto') this.#handOver();
      else this.#refuse('does not choose HTTP/2 by ALPN');
      return;
    }
    this.#upstream.deadline = this.#context.deadlines.in(this.#pool.timeouts.connectMs);
    this.out.copy(PREFACE, 0, PREFACE.length);
    writeSettings(this.out, [[SETTING.enablePush, 0]]);
    this.receiveWindow = CONNECTION_WINDOW_BYTES;
    this.credit(0, CONNECTION_WINDOW_BYTES - WINDOW_BYTES);
  }

  /** It is one of HTTP/1, and so it can serve one of those that wait. */
  #handOver(): void {
    const { shared } = this.backend;
    shared.declined = true;
    const [first, ...others] = this.#over();
    if (first === undefined) this.#upstream.destroy();
    else first.onOther(this.#upstream);
    for (const stream of others) stream.onRefused('backend speaks HTTP/1.1');
  }

  /** The backend cannot be spoken to. */
  #refuse(why: string): void {
    const waiting = this.#over();
    if (this.#upstream.connected) this.backend.failedAt(this.address);
    this.#context.shared.countBackend(this.backend.slot, COUNTER.connect_failures, 1);
    this.#upstream.destroy();
    for (const stream of waiting) stream.onLost(why, false);
  }

  /** The first SETTINGS of the backend are here. */
  #open(): void {
    const { shared } = this.backend;
    shared.declined = false;
    shared.mostStreams = this.#mostStreams;
    if (this.#mostStreams === 0) {
      this.#refuse('takes no stream');
      return;
    }
    this.#state = this.backend.mayKeep(this.address) ? OPEN : LEAVING;
    this.#upstream.deadline = 0;
    let free = Math.min(this.#waiting.length, this.#mostStreams);
    const rest = this.#waiting.splice(free);
    for (; free > 0 && this.#waiting.length > 0; free--) this.#waiting.shift()!.onReady();
    for (const stream of rest) stream.onRefused('backend takes fewer streams at a time');
    if (this.#users === 0) this.#rest();
  }

  // How it ends.

  /** @returns those that used it, or waited for it */
  #over(): Http2BackendStream[] {
    this.#state = OVER;
    this.backend.shared.remove(this);
    this.#block.drop();
    this.#headOf = undefined;
    const streams = [...this.#waiting, ...this.#streams.values()];
    this.#waiting.length = 0;
    this.#streams.clear();
    for (const stream of streams) this.forget(stream);
    return streams;
  }

  /** Says the last word. */
  #end(code: ErrorCode, why: string): void {
    const { connected } = this.#upstream;
    this.#over();
    if (!connected) {
      this.#upstream.destroy();
      return;
    }
    writeGoAway(this.out, 0, code, why);
    this.endTurn();
    this.#upstream.deadline = this.#context.deadlines.in(LINGER_MS);
    this.socket.destroySoon();
  }

  protected fail(code: ErrorCode, why: string): false {
    if (this.#state === OVER) return false;
    if (this.#state === MAKING) {
      this.#refuse(`does not speak HTTP/2: ${why}`);
      return false;
    }
    const streams = [...this.#streams.values()];
    this.#end(code, why);
    for (const stream of streams) stream.onBroken(`invalid HTTP/2: ${why}`);
    return false;
  }

  onUpstreamEnd(): void {
    this.#upstream.destroy();
    this.onUpstreamClose('');
  }

  onUpstreamClose(why: string): void {
    if (this.#state === OVER) return;
    if (this.#state === MAKING) {
      this.#refuse(why === '' ? 'said nothing of HTTP/2' : why);
      return;
    }
    const reason = this.#isDoubtful && why === '' ? 'ETIMEDOUT' : why;
    for (const stream of this.#over()) stream.onLost(reason, true);
  }

  onUpstreamDrain(): void {
    this.onDrain();
  }

  /** A request has got no answer in time: no other one is put there before something comes. */
  doubt(): void {
    if (this.#state === OVER || this.#isDoubtful) return;
    this.#isDoubtful = true;
    writeFrameHeader(this.out, 8, FRAME.ping, 0, 0);
    this.out.text(ALIVE);
    this.beDue();
    this.#upstream.deadline = this.#context.deadlines.in(this.#pool.timeouts.connectMs);
  }

  // To the backend.

  /** Begins a request, whose fields leave with the next `sendHead`. @param head see `writeRequest`. @returns where it ends */
  begin(stream: Http2BackendStream, head: Buffer): number {
    stream.id = this.#nextId;
    stream.sendWindow = this.firstWindow;
    this.#nextId += 2;
    this.#streams.set(stream.id, stream);
    block.clear();
    this.encoder.begin(block);
    return writeRequest(head, this.backend.tls === undefined ? 'http' : 'https');
  }

  resetStream(id: number, code: ErrorCode): void {
    if (this.#state !== OVER) this.sendReset(id, code);
  }

  protected get sending(): Iterable<Http2BackendStream> {
    return this.#streams.values();
  }

  protected get isOver(): boolean {
    return this.#state === OVER;
  }

  protected override onSent(bytes: number, isWhole: boolean): void {
    this.#calm.sent(bytes, isWhole);
  }

  // From the backend.

  onUpstreamBytes(buffer: Buffer, length: number): void {
    if (this.#state === OVER) return;
    if (this.#isDoubtful) {
      this.#isDoubtful = false;
      this.#upstream.deadline =
        this.#users > 0 ? 0 : this.#context.deadlines.in(this.#pool.timeouts.keepAliveMs);
    }
    this.#reader.read(buffer, 0, length);
    if (this.isOver) return;
    this.#flushHead();
    if (this.isOver) return;
    this.creditAll();
    if (this.mayProceed) this.proceed();
  }

  /** What comes behind a head is not its body, or is not here yet. */
  #flushHead(): void {
    this.#headOf?.onHead(NO_BYTES, 0, 0, false);
    this.#headOf = undefined;
  }

  #spendFrame(): boolean {
    return (
      this.#calm.frame(this.#context.deadlines.now) ||
      this.fail(ERROR.enhanceYourCalm, 'too many frames to no end')
    );
  }

  onBadPadding(): false {
    return this.fail(ERROR.protocol, 'padding longer than its frame');
  }

  onFrameHeader(type: number, flags: number, id: number, length: number): boolean {
    if (this.#headOf !== undefined && (type !== FRAME.data || id !== this.#headOf.id)) {
      this.#flushHead();
      if (this.isOver) return false;
    }
    const fault = frameFault(type, flags, id, length);
    if (fault !== undefined) return this.fail(fault.code, fault.why);
    if (this.#state === MAKING && (type !== FRAME.settings || (flags & FLAG.ack) !== 0))
      return this.fail(ERROR.protocol, 'no SETTINGS');
    const { stream } = this.#block;
    if (stream !== 0 ? type !== FRAME.continuation || id !== stream : type === FRAME.continuation)
      return this.fail(ERROR.protocol, 'a block of fields that is interrupted, or goes on without a start');
    // Of streams there are those alone that lbd has begun.
    if (id >= this.#nextId || (id !== 0 && (id & 1) === 0)) {
      if (type === FRAME.priority) return this.#spendFrame();
      return type > FRAME.continuation || this.fail(ERROR.protocol, 'a frame of an idle stream');
    }
    switch (type) {
      case FRAME.data:
        return this.#chargeData(flags, id, length);
      case FRAME.headers:
      case FRAME.continuation:
      case FRAME.rstStream:
        return this.#streams.has(id) || this.#spendFrame();
      default:
        return this.#spendFrame();
    }
  }

  #chargeData(flags: number, id: number, length: number): boolean {
    if (!this.charge(length)) return this.fail(ERROR.flowControl, 'more DATA than the connection may have');
    if (length === 0 && (flags & FLAG.endStream) === 0 && !this.#spendFrame()) return false;
    const stream = this.#streams.get(id);
    // One that is over: the backend may not know yet.
    if (stream === undefined || stream.charge(length)) return true;
    return this.fail(ERROR.flowControl, 'more DATA than its stream may have');
  }

  onData(id: number, buffer: Buffer, start: number, length: number, ended: boolean): boolean {
    const stream = this.#streams.get(id);
    if (stream === undefined) return true;
    if (this.#headOf === stream) {
      this.#headOf = undefined;
      stream.onHead(buffer, start, length, ended);
    } else stream.onData(buffer, start, length, ended);
    return !this.isOver;
  }

  onPayload(type: number, flags: number, id: number, buffer: Buffer, start: number, end: number): boolean {
    switch (type) {
      case FRAME.headers:
        return this.#afterPiece(this.#block.begin(flags, id, buffer, start, end, this.#headBytes(id)), id);
      case FRAME.continuation:
        return this.#afterPiece(this.#block.append(flags, buffer, start, end, this.#headBytes(id)), id);
      case FRAME.rstStream:
        this.#streams.get(id)?.onReset(readUint32(buffer, start));
        return !this.isOver;
      case FRAME.settings:
        return (flags & FLAG.ack) !== 0 || this.#onSettings(buffer, start, end);
      case FRAME.ping:
        if ((flags & FLAG.ack) === 0) this.sendPong(buffer, start, end);
        return true;
      case FRAME.goAway:
        return this.#onGoAway(readUint32(buffer, start) & MAX_STREAM_ID, readUint32(buffer, start + 4));
      case FRAME.windowUpdate:
        return this.#onWindowUpdate(id, readUint32(buffer, start) & MAX_WINDOW_BYTES);
      default:
        return true;
    }
  }

  #onSettings(buffer: Buffer, start: number, end: number): boolean {
    if (!this.onSettings(buffer, start, end)) return false;
    if (this.#state === MAKING) this.#open();
    return !this.isOver;
  }

  protected override onSetting(id: number, value: number): boolean {
    if (id === SETTING.enablePush && value !== 0)
      return this.fail(ERROR.protocol, 'SETTINGS_ENABLE_PUSH of a server');
    if (id === SETTING.maxConcurrentStreams) {
      this.#mostStreams = value;
      if (this.#state !== MAKING) this.backend.shared.mostStreams = Math.max(value, 1);
    }
    return super.onSetting(id, value);
  }

  /** RFC 9113 §6.8: streams above the last one were not seen, and are asked elsewhere; those below go on. */
  #onGoAway(last: number, code: number): boolean {
    this.backend.shared.remove(this);
    this.#state = LEAVING;
    const why = `GOAWAY ${errorName(code)}`;
    for (const stream of [...this.#streams.values()]) if (stream.id > last) stream.onRefused(why);
    if (!this.isOver && this.#users === 0) this.#end(ERROR.noError, '');
    return !this.isOver;
  }

  #onWindowUpdate(id: number, by: number): boolean {
    if (id === 0) return this.onCredit(by);
    const stream = this.#streams.get(id);
    if (stream === undefined) return true;
    stream.sendWindow += by;
    if (by === 0 || stream.sendWindow > MAX_WINDOW_BYTES) {
      this.resetStream(id, by === 0 ? ERROR.protocol : ERROR.flowControl);
      stream.onBroken(`invalid HTTP/2: ${by === 0 ? 'WINDOW_UPDATE by nothing' : 'window too large'}`);
    } else this.mayProceed ||= stream.wants;
    return !this.isOver;
  }

  /** The backend has refused a request that it might take later. */
  refused(): void {
    this.#isRefusing = true;
  }

  // Blocks of fields.

  #headBytes(id: number): number {
    return this.#streams.get(id)?.limits.headBytes ?? WINDOW_BYTES;
  }

  #afterPiece(state: number, id: number): boolean {
    if (state === MORE) return true;
    if (state === BAD_PADDING) return this.onBadPadding();
    if (state === TOO_LONG) return this.fail(ERROR.enhanceYourCalm, 'fields too large');
    const { buffer, start, end, ends } = this.#block;
    const stream = this.#streams.get(id);
    const isTrailers = stream?.answering === true;
    const { headBytes = 0, fields = 0 } = stream?.limits ?? {};
    responseBuilder.begin(headBytes, fields, isTrailers);
    const fault = this.#decoder.decode(buffer, start, end, responseBuilder);
    if (fault !== '') return this.fail(ERROR.compression, fault);
    if (stream === undefined) return true;
    if (isTrailers) stream.onTrailers(ends ? responseBuilder.trailers(passes) : undefined);
    else if (!stream.takesHead(ends)) return !this.isOver;
    else if (ends || responseBuilder.status < 200) {
      if (responseBuilder.status < 200 && !this.#spendFrame()) return false;
      stream.onHead(NO_BYTES, 0, 0, ends);
    } else this.#headOf = stream;
    return !this.isOver;
  }
}

function passes(name: string): boolean {
  return passesTrailer(name, undefined);
}

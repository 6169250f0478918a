import type net from 'node:net';
import { hashText } from '../../common/hash.ts';
import type { Timed } from '../deadlines.ts';
import type { Frontend } from '../frontend.ts';
import type { Pool } from '../pool.ts';
import { type ByteSink, clientAddress } from '../raw-socket.ts';
import { BACKEND_COUNTERS, type BackendCounter } from '../shared.ts';
import { Upstream, type UpstreamUser } from '../upstream.ts';
import { ownAnswer } from './answers.ts';
import { ChunkDecoder } from './chunked.ts';
import { LF } from './grammar.ts';
import { BODY, type RequestHead } from './request-head.ts';

/** Where a client connection is. */
const IDLE = 0;
/** A request has begun, its head is not complete. */
const HEAD = 1;
/** A backend connection is being made; nothing of the request has left yet. */
const CONNECTING = 2;
/** A backend works on the request. */
const EXCHANGE = 3;
/** Upgraded: bytes go both ways unread. */
const TUNNEL = 4;
/** The last answer is out; input is thrown away until the client closes. */
const LINGER = 5;
const CLOSED = 6;

/** Backends tried for one request, the first included. */
const MAX_TRIES = 3;
/** Bodies up to this size are sent as one string with the head: one system call instead of two. */
const JOIN_BYTES = 8192;
/**
 * How long a client may take to close after its last answer, and how much it may still send: more than the
 * socket buffers of both ends hold, because a client that uploads may have filled them before it reads.
 */
const LINGER_MS = 2000;
const LINGER_BYTES = 16 << 20;
/** A request that must not be sent twice uses only a backend connection that worked just now. */
const FRESH_MS = 250;

const COUNTER = Object.fromEntries(BACKEND_COUNTERS.map((name, index) => [name, index])) as Readonly<
  Record<BackendCounter, number>
>;
const STATUS_COUNTER = [0, 0, COUNTER.status_2xx, COUNTER.status_3xx, COUNTER.status_4xx, COUNTER.status_5xx];

type Owned = net.Socket & { connection?: HttpConnection };

/**
 * One client connection of an HTTP frontend: reads a request, picks a backend, relays the exchange, and waits
 * for the next request. All its moves are in callbacks of the client's socket, of the backend's, or of a
 * deadline; no promise and no stream stands between them.
 */
export class HttpConnection implements ByteSink, Timed, UpstreamUser {
  deadline = 0;
  listed = -1;
  readonly #frontend: Frontend;
  readonly #socket: net.Socket;
  readonly #address: string;
  readonly #addressHash: number;
  #state = IDLE;
  /** Bytes that could not be used yet: a part of a head, or the next request. Owned, not shared. */
  #pending: Buffer | undefined;
  #pendingLength = 0;
  /** The client ended its side; it may still read. */
  #clientEnded = false;
  #paused = false;

  // The request under way.
  #pool: Pool | undefined;
  #backend = -1;
  #entered = false;
  #upstream: Upstream | undefined;
  #tried: number[] | undefined;
  #requestHead = '';
  #requestId = '';
  #stickValue: string | undefined;
  #hashKey = 0;
  /** Body bytes that came with the head, kept until the backend connection is there. */
  #held: Buffer | undefined;
  #keepAlive = true;
  #http10 = false;
  #toHead = false;
  #idempotent = false;
  #upgrade = false;
  #needsCookie = false;
  #requestBody: 0 | 1 | 2 = BODY.none;
  #requestLeft = 0;
  #requestChunks: ChunkDecoder | undefined;
  #requestDone = true;
  #bodySent = false;
  #startedMs = 0;

  // Its response.
  #responseStarted = false;
  #responseBody: 0 | 1 | 2 | 3 = BODY.none;
  #responseLeft = 0;
  #responseChunks: ChunkDecoder | undefined;
  #responsePending: Buffer | undefined;
  /** The body goes to the client in chunks. */
  #chunkOut = false;
  #backendKeeps = false;

  constructor(socket: net.Socket, frontend: Frontend) {
    this.#socket = socket;
    this.#frontend = frontend;
    this.#address = clientAddress(socket);
    this.#addressHash = hashText(this.#address);
    (socket as Owned).connection = this;
    socket.on('end', onEnd);
    socket.on('error', onError);
    socket.on('drain', onDrain);
    socket.once('close', onClose);
    frontend.count('connections', 1);
    frontend.count('accepted', 1);
    this.deadline = frontend.context.deadlines.in(frontend.config.timeouts.headMs);
    frontend.context.deadlines.add(this);
  }

  /** Slot of the backend that works on a request of this connection; -1: none. */
  get slot(): number {
    return this.#upstream?.backend.slot ?? -1;
  }

  get idle(): boolean {
    return this.#state === IDLE;
  }

  /** Ends the connection now, whatever it is doing. */
  cut(): void {
    this.#socket.resetAndDestroy();
  }

  /** Address at which the client reached this node; undefined once the connection is gone. */
  get localAddress(): string | undefined {
    return this.#socket.localAddress;
  }

  /** Ends the connection if no request is under way. */
  closeIfIdle(): void {
    if (this.#state === IDLE) this.#linger();
  }

  // From the client.

  onBytes(buffer: Buffer, length: number): void {
    this.#frontend.count('bytes_received', length);
    switch (this.#state) {
      case IDLE:
      case HEAD:
        if (this.#pending === undefined) this.#consume(buffer, 0, length);
        else this.#consumePending(buffer, length);
        break;
      case EXCHANGE:
        if (this.#requestDone) this.#stash(buffer, 0, length);
        else this.#afterBody(buffer, this.#relayRequestBody(buffer, 0, length), length);
        break;
      case TUNNEL:
        this.deadline = this.#frontend.context.deadlines.in(this.#frontend.config.timeouts.idleMs);
        if (!this.#upstream!.socket.write(Buffer.copyBytesFrom(buffer, 0, length))) this.#pauseClient();
        break;
      case CONNECTING:
        this.#keepForLater(buffer, 0, length);
        break;
      case LINGER:
        this.#pendingLength += length;
        if (this.#pendingLength > LINGER_BYTES) this.#socket.destroy();
        break;
    }
  }

  #consumePending(buffer: Buffer, length: number): void {
    this.#append(buffer, 0, length);
    const pending = this.#pending!;
    const limit = this.#frontend.config.limits.headBytes;
    // Looking again at a head that cannot be complete would make a slow client expensive.
    const old = this.#pendingLength - length;
    if (this.#pendingLength <= limit && pending.subarray(old, this.#pendingLength).indexOf(LF) < 0) return;
    const size = this.#pendingLength;
    this.#pending = undefined;
    this.#pendingLength = 0;
    this.#consume(pending, 0, size);
  }

  /** Reads requests from bytes that start one. Ends when they are used up, kept, or the connection closes. */
  #consume(buffer: Buffer, start: number, end: number): void {
    let at = start;
    // A client that sends requests and reads no answers must not fill the memory with them.
    while (at < end && (this.#state === IDLE || this.#state === HEAD) && !this.#socket.writableNeedDrain) {
      const { context, config } = this.#frontend;
      if (this.#state === IDLE) {
        this.#state = HEAD;
        this.deadline = context.deadlines.in(config.timeouts.headMs);
      }
      const head = context.requestHead;
      const after = head.parse(buffer, at, end, config.limits.fields);
      if (after < 0) {
        this.#refuse(head.status, head.fault);
        return;
      }
      if (after === 0 ? end - at > config.limits.headBytes : after - at > config.limits.headBytes) {
        this.#refuse(431, 'head too large');
        return;
      }
      if (after === 0) {
        this.#append(buffer, at, end);
        return;
      }
      at = this.#begin(head, buffer, after, end);
    }
    if (at < end) this.#afterBody(buffer, at, end);
    else if (this.#state === IDLE && this.#socket.writableNeedDrain) this.#pauseClient();
  }

  /** @returns offset of the first byte that is not this request's */
  #begin(head: RequestHead, buffer: Buffer, bodyStart: number, end: number): number {
    const { context } = this.#frontend;
    this.#frontend.count('requests', 1);
    this.#keepAlive = head.keepAlive && !context.stopping && !context.retiring;
    this.#http10 = head.http10;
    this.#toHead = head.method === 'HEAD';
    this.#idempotent = head.idempotent;
    this.#upgrade = head.upgrade;
    this.#requestBody = head.body;
    this.#requestLeft = head.contentLength;
    this.#requestDone = head.body === BODY.none;
    if (head.body === BODY.chunked) this.#requestChunks = new ChunkDecoder();
    this.#bodySent = false;
    this.#responseStarted = false;
    this.#tried = undefined;
    this.#requestId = head.requestId ?? context.nextRequestId();
    const pool = this.#frontend.poolFor(head);
    this.#pool = pool;
    if (pool === undefined) {
      this.#answer(404, 'no route matches');
      return this.#requestDone ? bodyStart : end;
    }
    this.#stickValue = pool.stickValue(head);
    this.#hashKey = pool.hashKey(head);
    const index = pool.choose(this.#address, this.#addressHash, this.#stickValue, this.#hashKey, undefined);
    if (index < 0) {
      this.#answer(503, 'no healthy backend');
      return this.#requestDone ? bodyStart : end;
    }
    const backend = pool.backends[index]!;
    this.#requestHead = head.render(
      this.#address,
      'http',
      this.#requestId,
      `${backend.host}:${backend.port}`,
    );
    this.#needsCookie = !pool.stuck;
    this.#enter(index);
    this.deadline = 0;
    const used = this.#idempotent ? 0 : context.deadlines.now - FRESH_MS;
    const upstream = backend.takeIdle(used);
    if (upstream === undefined) {
      this.#connect();
      this.#pauseClient();
      if (bodyStart < end) this.#keepForLater(buffer, bodyStart, end);
      return end;
    }
    upstream.claim(this);
    this.#upstream = upstream;
    this.#state = EXCHANGE;
    this.#armExchange();
    if (this.#requestDone || bodyStart === end) {
      upstream.socket.write(this.#requestHead, 'latin1');
      return bodyStart;
    }
    return this.#sendHeadAndBody(buffer, bodyStart, end);
  }

  #sendHeadAndBody(buffer: Buffer, start: number, end: number): number {
    if (this.#requestBody === BODY.length && end - start <= JOIN_BYTES) {
      const take = Math.min(this.#requestLeft, end - start);
      this.#requestLeft -= take;
      this.#bodySent = true;
      this.#countBackend(COUNTER.bytes_sent, take);
      this.#upstream!.socket.write(this.#requestHead + buffer.latin1Slice(start, start + take), 'latin1');
      if (this.#requestLeft === 0) this.#requestEnded();
      return start + take;
    }
    this.#upstream!.socket.write(this.#requestHead, 'latin1');
    return this.#relayRequestBody(buffer, start, end);
  }

  #connect(): void {
    const { deadlines } = this.#frontend.context;
    this.#state = CONNECTING;
    this.#upstream = new Upstream(
      this.#pool!.backends[this.#backend]!,
      this,
      deadlines,
      this.#pool!.config.timeouts.connectMs,
    );
    this.#countBackend(COUNTER.connects, 1);
  }

  /** @returns offset of the first byte after the body, or `end` */
  #relayRequestBody(buffer: Buffer, start: number, end: number): number {
    const upstream = this.#upstream!.socket;
    this.#bodySent = true;
    this.#armExchange();
    let flowing = true;
    let at: number;
    if (this.#requestBody === BODY.length) {
      const take = Math.min(this.#requestLeft, end - start);
      this.#requestLeft -= take;
      at = start + take;
      flowing = upstream.write(Buffer.copyBytesFrom(buffer, start, take));
      this.#countBackend(COUNTER.bytes_sent, take);
      if (this.#requestLeft === 0) this.#requestEnded();
    } else {
      const chunks = this.#requestChunks!;
      at = chunks.feed(buffer, start, end);
      if (at < 0) {
        this.#refuse(400, chunks.fault);
        return end;
      }
      if (chunks.dataLength > 0) {
        flowing = upstream.write(asChunk(buffer, chunks.dataStart, chunks.dataLength));
        this.#countBackend(COUNTER.bytes_sent, chunks.dataLength);
      }
      if (chunks.done) {
        upstream.write('0\r\n\r\n', 'latin1');
        this.#requestEnded();
      }
    }
    if (!flowing && !this.#requestDone) {
      this.#pauseClient();
      this.#armExchange();
    }
    return at;
  }

  #requestEnded(): void {
    this.#requestDone = true;
    this.#requestChunks = undefined;
    // How fast a client sends is nothing that its backend could be measured by.
    this.#startedMs = performance.now();
    this.#armExchange();
  }

  /** Bytes behind a complete request belong to the next one; they wait for their turn. */
  #afterBody(buffer: Buffer, at: number, end: number): void {
    if (at < end && (this.#state === EXCHANGE || this.#state === CONNECTING || this.#state === IDLE))
      this.#stash(buffer, at, end);
  }

  /** While the backend connection is made: nothing of the body is lost, and nothing is sent twice. */
  #keepForLater(buffer: Buffer, start: number, end: number): void {
    if (this.#requestDone) {
      this.#append(buffer, start, end);
      return;
    }
    const bytes = Buffer.copyBytesFrom(buffer, start, end - start);
    this.#held = this.#held === undefined ? bytes : Buffer.concat([this.#held, bytes]);
  }

  #stash(buffer: Buffer, start: number, end: number): void {
    this.#append(buffer, start, end);
    this.#pauseClient();
  }

  #append(buffer: Buffer, start: number, end: number): void {
    const length = end - start;
    const old = this.#pending;
    if (old === undefined) {
      this.#pending = Buffer.copyBytesFrom(buffer, start, length);
      this.#pendingLength = length;
      return;
    }
    const total = this.#pendingLength + length;
    if (total > old.length) {
      const grown = Buffer.allocUnsafe(Math.max(total, old.length * 2));
      old.copy(grown, 0, 0, this.#pendingLength);
      this.#pending = grown;
    }
    buffer.copy(this.#pending!, this.#pendingLength, start, end);
    this.#pendingLength = total;
  }

  #pauseClient(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#socket.pause();
  }

  #resumeClient(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#socket.resume();
  }

  onClientDrain(): void {
    this.#upstream?.socket.resume();
    if (this.#state === EXCHANGE) this.#armExchange();
    else if (this.#state === IDLE) this.#proceed();
  }

  onClientEnd(): void {
    this.#clientEnded = true;
    switch (this.#state) {
      case EXCHANGE:
        // A client may end its side after its request and still read the answer; half a request is no request.
        if (!this.#requestDone) this.#socket.destroy();
        break;
      case CONNECTING:
        break;
      case TUNNEL:
        this.#upstream!.socket.end();
        break;
      case LINGER:
        // It may have ended only its side and still read what is written.
        this.#socket.destroySoon();
        break;
      default:
        this.#linger();
    }
  }

  /** @param failed not an orderly end */
  onClientClose(failed: boolean): void {
    const { context, config } = this.#frontend;
    const tunnelEnded = this.#state === TUNNEL && this.#clientEnded && !failed;
    context.deadlines.remove(this);
    this.#frontend.count('connections', -1);
    this.#state = CLOSED;
    this.#pending = this.#responsePending = this.#held = undefined;
    const upstream = this.#upstream;
    this.#upstream = undefined;
    this.#leave();
    if (tunnelEnded) upstream?.finish(config.timeouts.idleMs);
    else upstream?.reset();
  }

  // From the backend.

  onUpstreamReady(): void {
    const upstream = this.#upstream!;
    this.#state = EXCHANGE;
    const held = this.#held;
    this.#held = undefined;
    if (held === undefined) upstream.socket.write(this.#requestHead, 'latin1');
    else this.#afterBody(held, this.#sendHeadAndBody(held, 0, held.length), held.length);
    if (this.#state === EXCHANGE) this.#awaitMore();
  }

  onUpstreamDrain(): void {
    if (this.#state === TUNNEL) this.#resumeClient();
    else if (this.#state === EXCHANGE && !this.#requestDone) this.#awaitMore();
  }

  onUpstreamBytes(buffer: Buffer, length: number): void {
    if (this.#state === TUNNEL) {
      this.deadline = this.#frontend.context.deadlines.in(this.#frontend.config.timeouts.idleMs);
      this.#write(Buffer.copyBytesFrom(buffer, 0, length));
      return;
    }
    if (this.#responseStarted) {
      this.#relayResponseBody(buffer, 0, length, '');
      return;
    }
    const pending = this.#responsePending;
    if (pending === undefined) {
      this.#responseHead(buffer, 0, length);
      return;
    }
    this.#responsePending = undefined;
    const joined = Buffer.concat([pending, buffer.subarray(0, length)]);
    this.#responseHead(joined, 0, joined.length);
  }

  #responseHead(buffer: Buffer, start: number, end: number): void {
    const { context, config } = this.#frontend;
    const head = context.responseHead;
    let at = start;
    for (;;) {
      const after = head.parse(buffer, at, end, config.limits.fields, this.#toHead);
      if (after < 0) {
        this.#failExchange(502, `invalid response: ${head.fault}`);
        return;
      }
      if (after === 0 ? end - at > config.limits.headBytes : after - at > config.limits.headBytes) {
        this.#failExchange(502, 'response head too large');
        return;
      }
      if (after === 0) {
        if (at < end) this.#responsePending = Buffer.copyBytesFrom(buffer, at, end - at);
        return;
      }
      at = after;
      if (head.status >= 200) break;
      if (head.status === 101) {
        this.#startTunnel(buffer, at, end);
        return;
      }
      // RFC 9110 §15.2: a proxy forwards 1xx, but HTTP/1.0 does not know them.
      if (!this.#http10) this.#writeText(head.render('', false));
      if (at === end) return;
    }
    this.#startResponse(buffer, at, end);
  }

  #startResponse(buffer: Buffer, at: number, end: number): void {
    const head = this.#frontend.context.responseHead;
    const pool = this.#pool!;
    this.#responseStarted = true;
    this.#backendKeeps = head.keepAlive;
    this.#responseBody = head.body;
    this.#responseLeft = head.contentLength;
    const shared = this.#frontend.context.shared;
    const slot = this.#upstream!.backend.slot;
    shared.observeLatency(slot, performance.now() - this.#startedMs);
    shared.countBackend(slot, STATUS_COUNTER[(head.status / 100) | 0]!, 1);
    pool.learn(this.#backend, head);
    let extra = this.#needsCookie ? pool.cookieLine(this.#backend) : '';
    const unframed = head.body === BODY.chunked || head.body === BODY.untilClose;
    this.#chunkOut = unframed && !this.#http10;
    if (this.#chunkOut) extra += 'Transfer-Encoding: chunked\r\n';
    if (head.body === BODY.chunked) this.#responseChunks = new ChunkDecoder();
    // The client's body is not all here: what follows on this connection could not be told from a request.
    const { stopping, retiring } = this.#frontend.context;
    if (!this.#requestDone || (unframed && this.#http10) || stopping || retiring) this.#keepAlive = false;
    if (!this.#keepAlive) extra += 'Connection: close\r\n';
    else if (this.#http10) extra += 'Connection: keep-alive\r\n';
    this.#relayResponseBody(buffer, at, end, head.render(extra, false));
  }

  /** @param headText the head of the response, where it has not left yet */
  #relayResponseBody(buffer: Buffer, start: number, end: number, headText: string): void {
    this.#armExchange();
    switch (this.#responseBody) {
      case BODY.none:
        this.#writeText(headText);
        this.#finish(end > start);
        return;
      case BODY.length: {
        const take = Math.min(this.#responseLeft, end - start);
        this.#responseLeft -= take;
        if (take > 0 || headText !== '') this.#send(headText, buffer, start, take);
        if (this.#responseLeft === 0) this.#finish(start + take < end);
        return;
      }
      case BODY.chunked: {
        const chunks = this.#responseChunks!;
        const at = chunks.feed(buffer, start, end);
        if (at < 0) {
          if (headText === '') this.#abort();
          else {
            this.#responseStarted = false;
            this.#failExchange(502, `invalid response: ${chunks.fault}`);
          }
          return;
        }
        if (chunks.dataLength > 0 || headText !== '')
          this.#send(headText, buffer, chunks.dataStart, chunks.dataLength);
        if (chunks.done) {
          if (this.#chunkOut) this.#writeText('0\r\n\r\n');
          this.#finish(at < end);
        }
        return;
      }
      default:
        this.#send(headText, buffer, start, end - start);
    }
  }

  /** Writes body bytes, in a chunk where the client gets chunks, together with the head where it is due. */
  #send(headText: string, buffer: Buffer, start: number, length: number): void {
    this.#countBackend(COUNTER.bytes_received, length);
    if (length <= JOIN_BYTES) {
      let text = headText;
      if (length > 0) {
        const body = buffer.latin1Slice(start, start + length);
        text += this.#chunkOut ? `${length.toString(16)}\r\n${body}\r\n` : body;
      }
      if (text !== '') this.#writeText(text);
      return;
    }
    if (headText !== '') this.#writeText(headText);
    this.#write(
      this.#chunkOut ? asChunk(buffer, start, length) : Buffer.copyBytesFrom(buffer, start, length),
    );
  }

  #write(bytes: Buffer): void {
    this.#frontend.count('bytes_sent', bytes.length);
    if (!this.#socket.write(bytes)) this.#awaitClient();
  }

  #writeText(latin1: string): void {
    this.#frontend.count('bytes_sent', latin1.length);
    if (!this.#socket.write(latin1, 'latin1')) this.#awaitClient();
  }

  /** The client reads more slowly than its backend sends; that is not the backend's time. */
  #awaitClient(): void {
    this.#upstream?.socket.pause();
    if (this.#state === EXCHANGE)
      this.deadline = this.#frontend.context.deadlines.in(this.#frontend.config.timeouts.idleMs);
  }

  #startTunnel(buffer: Buffer, at: number, end: number): void {
    const head = this.#frontend.context.responseHead;
    if (!this.#upgrade) {
      this.#failExchange(502, 'invalid response: 101 that nobody asked for');
      return;
    }
    this.#responseStarted = true;
    this.#state = TUNNEL;
    this.deadline = this.#frontend.context.deadlines.in(this.#frontend.config.timeouts.idleMs);
    const extra = `${this.#needsCookie ? this.#pool!.cookieLine(this.#backend) : ''}Connection: upgrade\r\n`;
    this.#pool!.learn(this.#backend, head);
    this.#writeText(head.render(extra, true));
    if (at < end) this.#write(Buffer.copyBytesFrom(buffer, at, end - at));
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending !== undefined) this.#upstream!.socket.write(pending.subarray(0, this.#pendingLength));
    this.#pendingLength = 0;
    this.#resumeClient();
    if (this.#clientEnded) this.#upstream!.socket.end();
  }

  /** @param leftover the backend sent more than its response: its connection cannot be used again */
  #finish(leftover: boolean): void {
    const upstream = this.#upstream!;
    this.#upstream = undefined;
    this.#leave();
    this.#responseChunks = undefined;
    if (this.#backendKeeps && this.#requestDone && !leftover) {
      if (upstream.socket.isPaused()) upstream.socket.resume();
      upstream.release(this.#pool!.config.timeouts.keepAliveMs);
    } else upstream.destroy();
    this.#nextRequest();
  }

  #nextRequest(): void {
    const more = this.#pending !== undefined;
    if (!this.#keepAlive || !this.#requestDone || (this.#clientEnded && !more)) {
      this.#linger();
      return;
    }
    this.#state = IDLE;
    this.deadline = this.#frontend.context.deadlines.in(this.#frontend.config.timeouts.keepAliveMs);
    if (this.#socket.writableNeedDrain) this.#pauseClient();
    else this.#proceed();
  }

  /** Goes on with what the client sent in the meantime. */
  #proceed(): void {
    const pending = this.#pending;
    if (pending !== undefined) {
      const length = this.#pendingLength;
      this.#pending = undefined;
      this.#pendingLength = 0;
      this.#consume(pending, 0, length);
    }
    switch (this.#state) {
      case IDLE:
      case HEAD:
        if (this.#clientEnded) this.#linger();
        else if (!this.#socket.writableNeedDrain) this.#resumeClient();
        break;
      case EXCHANGE:
        this.#awaitMore();
        break;
    }
  }

  /** Reads on from the client, unless it is ahead of its turn or of its backend. */
  #awaitMore(): void {
    if (this.#pending === undefined && !this.#upstream!.socket.writableNeedDrain) this.#resumeClient();
    this.#armExchange();
  }

  onUpstreamEnd(): void {
    if (this.#state === TUNNEL) {
      this.#socket.end();
      return;
    }
    const upstream = this.#upstream!;
    if (this.#responseStarted && this.#responseBody === BODY.untilClose) {
      if (this.#chunkOut) this.#writeText('0\r\n\r\n');
      this.#finish(true);
      return;
    }
    upstream.destroy();
    this.onUpstreamClose('closed the connection');
  }

  onUpstreamClose(why: string): void {
    const upstream = this.#upstream;
    this.#upstream = undefined;
    if (upstream === undefined) return;
    if (this.#state === TUNNEL) {
      this.#leave();
      if (why === '') this.#socket.end();
      else this.#socket.resetAndDestroy();
      return;
    }
    if (this.#responseStarted) {
      this.#abort();
      return;
    }
    const answered = this.#responsePending !== undefined;
    this.#responsePending = undefined;
    if (!upstream.connected) {
      this.#countBackend(COUNTER.connect_failures, 1);
      this.#tried ??= [];
      this.#tried.push(this.#backend);
      this.#retry(why, why === 'ETIMEDOUT' ? 504 : 502);
    } else if (upstream.reused && this.#idempotent && !this.#bodySent && !answered) {
      // The backend closed an idle connection while the request was on its way: a new one tells how it is.
      this.#retry(why, 502);
    } else this.#fail(502, `backend ${why === '' ? 'closed the connection' : `failed: ${why}`}`);
  }

  /** Sends the request on a new connection, to another backend where the first could not be reached. */
  #retry(why: string, status: number): void {
    const pool = this.#pool!;
    this.#leave();
    const index =
      (this.#tried?.length ?? 0) < MAX_TRIES
        ? pool.choose(this.#address, this.#addressHash, this.#stickValue, this.#hashKey, this.#tried)
        : -1;
    if (index < 0 || this.#clientGone()) {
      this.#fail(status, `no backend could be reached: ${why}`);
      return;
    }
    this.#needsCookie = !pool.stuck;
    this.#enter(index);
    this.#connect();
    this.#pauseClient();
  }

  #clientGone(): boolean {
    return this.#state === CLOSED || this.#socket.destroyed;
  }

  /** The response has begun and cannot be completed: only a reset tells the client so. */
  #abort(): void {
    this.#countBackend(COUNTER.errors, 1);
    this.#leave();
    this.#dropUpstream();
    this.#socket.resetAndDestroy();
  }

  /** The backend is not to be trusted with this connection any more. */
  #failExchange(status: number, cause: string): void {
    this.#dropUpstream();
    this.#fail(status, cause);
  }

  #fail(status: number, cause: string): void {
    this.#countBackend(COUNTER.errors, 1);
    this.#leave();
    this.#held = undefined;
    if (this.#clientGone()) return;
    this.#answer(status, cause);
    if (this.#state !== LINGER) this.#nextRequest();
  }

  #dropUpstream(): void {
    const upstream = this.#upstream;
    this.#upstream = undefined;
    upstream?.destroy();
  }

  // Answers of our own.

  /** Answers a well-framed request; the connection goes on where its body is out of the way. */
  #answer(status: number, cause: string): void {
    if (!this.#requestDone) this.#keepAlive = false;
    if (status === 502) this.#frontend.count('answered_502', 1);
    else if (status === 503) this.#frontend.count('answered_503', 1);
    else if (status === 504) this.#frontend.count('answered_504', 1);
    const keep = this.#keepAlive && !this.#http10;
    this.#keepAlive = keep;
    this.#writeText(ownAnswer(status, cause, this.#requestId, keep, this.#toHead));
    if (!keep) this.#linger();
    else if (this.#state === HEAD) {
      this.#state = IDLE;
      this.deadline = this.#frontend.context.deadlines.in(this.#frontend.config.timeouts.keepAliveMs);
    }
  }

  /** Answers what is not a request that can be relayed, and closes: nobody knows where the next one starts. */
  #refuse(status: number, cause: string): void {
    const counter = status === 400 ? 'refused_400' : status === 408 ? 'refused_408' : 'refused_other';
    this.#frontend.count(counter, 1);
    this.#dropUpstream();
    this.#leave();
    if (this.#responseStarted && this.#state === EXCHANGE) {
      this.#socket.resetAndDestroy();
      return;
    }
    this.#writeText(ownAnswer(status, cause, '', false, false));
    this.#linger();
  }

  /** Ends our side and waits for the client's end, so that the answer is not lost in a reset. */
  #linger(): void {
    this.#state = LINGER;
    this.#pending = undefined;
    this.#pendingLength = 0;
    const { context, config } = this.#frontend;
    // A slow reader may take its time with what is written already; only then the client's end is due.
    this.deadline = context.deadlines.in(config.timeouts.idleMs);
    this.#socket.end(() => {
      if (this.#state === LINGER) this.deadline = context.deadlines.in(LINGER_MS);
    });
    if (this.#clientEnded) this.#socket.destroySoon();
    else this.#resumeClient();
  }

  // Time.

  #armExchange(): void {
    const { deadlines } = this.#frontend.context;
    this.deadline = deadlines.in(
      // A client that is paused waits for its backend, not the other way round.
      this.#requestDone || this.#paused
        ? this.#pool!.config.timeouts.responseMs
        : this.#frontend.config.timeouts.bodyMs,
    );
  }

  onDeadline(): void {
    switch (this.#state) {
      case HEAD:
        this.#refuse(408, 'the request took too long');
        break;
      case IDLE:
        this.#linger();
        break;
      case EXCHANGE:
        if (this.#socket.writableNeedDrain) this.#socket.resetAndDestroy();
        else if (this.#responseStarted) this.#abort();
        else if (!this.#requestDone && !this.#paused) this.#refuse(408, 'the request body took too long');
        else this.#failExchange(504, 'the backend took too long');
        break;
      default:
        this.#socket.destroy();
    }
  }

  // Books.

  #enter(index: number): void {
    this.#backend = index;
    this.#entered = true;
    this.#startedMs = performance.now();
    const slot = this.#pool!.backends[index]!.slot;
    this.#frontend.context.shared.enter(slot);
    this.#frontend.context.shared.countBackend(slot, COUNTER.requests, 1);
  }

  #leave(): void {
    if (!this.#entered) return;
    this.#entered = false;
    this.#frontend.context.shared.leave(this.#pool!.backends[this.#backend]!.slot);
  }

  #countBackend(counter: number, by: number): void {
    this.#frontend.context.shared.countBackend(this.#pool!.backends[this.#backend]!.slot, counter, by);
  }
}

/** A chunk of its own around body bytes. */
function asChunk(buffer: Buffer, start: number, length: number): Buffer {
  const size = `${length.toString(16)}\r\n`;
  const chunk = Buffer.allocUnsafe(size.length + length + 2);
  chunk.latin1Write(size, 0);
  buffer.copy(chunk, size.length, start, start + length);
  chunk[size.length + length] = 13;
  chunk[size.length + length + 1] = 10;
  return chunk;
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

import type { Backend } from '../backend.ts';
import { proxyHeader } from '../proxy-protocol.ts';
import type { QueueUser, Waiter } from '../queue.ts';
import type { Failure } from '../retry.ts';
import { Upstream, type UpstreamUser } from '../upstream.ts';
import { Attempts, COUNTER } from './attempts.ts';
import { JOIN_BYTES } from './chunk.ts';
import type { HttpConnection } from './connection.ts';
import { CONNECTING, EXCHANGE, TUNNEL } from './phase.ts';
import { RequestBody } from './request-body.ts';
import type { RequestHead } from './request-head.ts';
import { BROKEN } from './response-body.ts';
import { ANSWERED, ResponseRelay, SWITCHED } from './response-relay.ts';

const NO_CONNECTION = 'the pool has as many backend connections as it may';
/** A request that must not be sent twice uses only a backend connection that worked just now. */
const FRESH_MS = 250;

/**
 * One request at a time of a client connection, and its answer: picks a backend, sends the request, relays the
 * response, and tries again where that is possible. An instance serves one request after the other.
 */
export class Exchange implements UpstreamUser, QueueUser {
  readonly request = new RequestBody();
  readonly #client: HttpConnection;
  readonly #attempts: Attempts;
  readonly answer: ResponseRelay;
  #upstream: Upstream | undefined;
  /** A connection that told the backend this client's address, so that no other client may use it. */
  #own: Upstream | undefined;
  /** Its place in the queue of the pool. */
  #waiter: Waiter | undefined;
  /** What begins the request on a backend connection: its head, with a small body behind it. */
  #head = '';
  /** The whole body is in `#head`. */
  #whole = false;
  /** When the request's total time is over; 0: it is not limited. */
  #endMs = 0;
  /** Body bytes that came before the backend connection was there. */
  #held: Buffer | undefined;
  #idempotent = false;
  #upgrade = false;

  constructor(client: HttpConnection) {
    this.#client = client;
    this.#attempts = new Attempts(client.frontend.context.shared, client.address, client.addressHash);
    this.answer = new ResponseRelay(client, this.#attempts);
  }

  /** Slot of the backend at work; -1: none. */
  get slot(): number {
    return this.#upstream?.backend.slot ?? -1;
  }

  /**
   * Begins the request whose head was just parsed.
   *
   * @returns offset of the first byte that is not this request's
   */
  begin(head: RequestHead, buffer: Buffer, bodyStart: number, end: number): number {
    const client = this.#client;
    const { context } = client.frontend;
    this.#idempotent = head.idempotent;
    this.#upgrade = head.upgrade;
    this.request.begin(head.body, head.contentLength);
    this.answer.reset();
    this.#whole = false;
    const pool = client.frontend.poolFor(head);
    if (pool === undefined) {
      client.noPool(head);
      return this.request.done ? bodyStart : end;
    }
    client.log?.routed(client.frontend.route, pool.config.name);
    const attempts = this.#attempts;
    const tripped = pool.breaker.refusesRequest();
    const chosen = !tripped && attempts.begin(pool, head);
    if (!chosen && (tripped || !pool.saturated)) {
      client.frontend.count(tripped ? 'refused_breaker' : 'refused_no_backend', 1);
      client.answer(503, tripped ? 'the pool has as many requests as it may' : 'no healthy backend');
      return this.request.done ? bodyStart : end;
    }
    const { backend } = attempts;
    const { reserved } = client.frontend;
    if (reserved !== undefined) head.reserve(reserved);
    this.#head = head.render(
      client.address,
      client.scheme,
      client.requestId,
      `${backend.host}:${backend.port}`,
      client.identity,
    );
    const { totalMs } = pool.config.timeouts;
    this.#endMs = totalMs === 0 ? 0 : context.deadlines.in(totalMs);
    client.deadline = this.#endMs;
    if (!chosen || !attempts.enter()) {
      if (!this.#wait(chosen)) {
        client.frontend.count('refused_queue_full', 1);
        client.answer(503, 'all backends are busy');
        return this.request.done ? bodyStart : end;
      }
      if (bodyStart < end) client.keep(buffer, bodyStart, end);
      return end;
    }
    const upstream = this.#takeIdle();
    if (upstream === undefined) {
      if (!this.#connect()) {
        attempts.leave();
        client.frontend.count('refused_breaker', 1);
        client.answer(503, NO_CONNECTION);
        return this.request.done ? bodyStart : end;
      }
      if (bodyStart < end) client.keep(buffer, bodyStart, end);
      return end;
    }
    upstream.claim(this);
    this.#upstream = upstream;
    client.log?.sent(backend.name, attempts.tries);
    client.phase = EXCHANGE;
    this.arm();
    if (this.request.done || bodyStart === end) {
      upstream.socket.write(this.#head, 'latin1');
      return bodyStart;
    }
    return this.#sendHeadAndBody(buffer, bodyStart, end);
  }

  /** An unspoilt connection to the chosen backend; where it began with the client's address, one of its own. */
  #takeIdle(): Upstream | undefined {
    const { backend, pool } = this.#attempts;
    const usedAfterMs = this.#idempotent ? 0 : this.#client.frontend.context.deadlines.now - FRESH_MS;
    if (pool!.config.sendProxy === undefined) return backend.takeIdle(usedAfterMs);
    const own = this.#own;
    this.#own = undefined;
    if (own?.backend === backend && !own.socket.destroyed && own.idleSinceMs >= usedAfterMs) return own;
    own?.destroy();
    return undefined;
  }

  /**
   * Takes a place in the queue of the pool.
   *
   * @param chosen a backend was chosen, but is full
   * @returns false: there is none
   */
  #wait(chosen: boolean): boolean {
    const { backend, pool } = this.#attempts;
    this.#waiter = pool!.queue?.join(this, chosen && pool!.tied ? backend.slot : -1);
    if (this.#waiter === undefined) return false;
    this.#client.phase = CONNECTING;
    this.#client.log?.queued();
    this.#client.pause();
    return true;
  }

  chooseAgain(): Backend | undefined {
    return this.#attempts.chooseAgain();
  }

  onTurn(): void {
    this.#waiter = undefined;
    this.#attempts.entered();
    const upstream = this.#takeIdle();
    if (upstream === undefined) {
      this.#reconnect();
      return;
    }
    upstream.claim(this);
    this.#upstream = upstream;
    this.#client.log?.sent(upstream.backend.name, this.#attempts.tries);
    this.onUpstreamReady();
  }

  onQueueTimeout(): void {
    this.#waiter = undefined;
    this.#held = undefined;
    this.#client.frontend.count('refused_queue_timeout', 1);
    this.#client.failed(503, 'no backend had room in time');
  }

  #giveUpTurn(): void {
    if (this.#waiter === undefined) return;
    this.#attempts.pool!.queue?.leave(this.#waiter);
    this.#waiter = undefined;
  }

  /** @returns false: the circuit breaker does not allow a connection; nothing was begun */
  #connect(): boolean {
    const client = this.#client;
    const { backend, pool } = this.#attempts;
    const { sendProxy } = pool!.config;
    if (pool!.breaker.refusesConnection()) return false;
    client.phase = CONNECTING;
    this.#upstream = new Upstream(
      backend,
      this,
      client.frontend.context.deadlines,
      pool!.config.timeouts.connectMs,
      sendProxy && proxyHeader(sendProxy, client.endpoints),
    );
    this.#attempts.count(COUNTER.connects, 1);
    client.log?.connecting(backend.name, this.#attempts.tries);
    client.deadline = this.#endMs;
    client.pause();
    return true;
  }

  // The request's way.

  #sendHeadAndBody(buffer: Buffer, start: number, end: number): number {
    const { request } = this;
    const upstream = this.#upstream!.socket;
    if (request.counted && end - start <= JOIN_BYTES) {
      const take = request.take(end - start);
      this.#attempts.count(COUNTER.bytes_sent, take);
      this.#client.log?.received(take);
      const text = this.#head + buffer.latin1Slice(start, start + take);
      upstream.write(text, 'latin1');
      if (request.done) {
        this.#head = text;
        this.#whole = true;
        this.#requestEnded();
      }
      return start + take;
    }
    upstream.write(this.#head, 'latin1');
    return this.relay(buffer, start, end);
  }

  /** @returns offset of the first byte after the body, or `end` */
  relay(buffer: Buffer, start: number, end: number): number {
    const { request } = this;
    this.arm();
    const at = request.relay(this.#upstream!.socket, buffer, start, end);
    if (at < 0) {
      this.#client.refuse(400, request.fault);
      return end;
    }
    this.#attempts.count(COUNTER.bytes_sent, request.moved);
    this.#client.log?.received(request.moved);
    if (request.done) this.#requestEnded();
    else if (!request.flowing) {
      this.#client.pause();
      this.arm();
    }
    return at;
  }

  #requestEnded(): void {
    // How fast a client sends is nothing that its backend could be measured by.
    this.#attempts.startedMs = performance.now();
    this.arm();
  }

  /** While the backend connection is made: nothing of the body is lost, and nothing is sent twice. */
  hold(buffer: Buffer, start: number, end: number): void {
    const bytes = Buffer.copyBytesFrom(buffer, start, end - start);
    this.#held = this.#held === undefined ? bytes : Buffer.concat([this.#held, bytes]);
  }

  onUpstreamReady(): void {
    const client = this.#client;
    client.phase = EXCHANGE;
    client.log?.connected();
    const held = this.#held;
    this.#held = undefined;
    if (held === undefined) this.#upstream!.socket.write(this.#head, 'latin1');
    else client.afterBody(held, this.#sendHeadAndBody(held, 0, held.length), held.length);
    if (client.phase === EXCHANGE) this.awaitMore();
  }

  onUpstreamDrain(): void {
    const client = this.#client;
    if (client.phase === TUNNEL) client.resume();
    else if (client.phase === EXCHANGE && !this.request.done) this.awaitMore();
  }

  /** Reads on from the client, unless it is ahead of its turn or of its backend. */
  awaitMore(): void {
    if (!this.#client.ahead && !this.#upstream!.socket.writableNeedDrain) this.#client.resume();
    this.arm();
  }

  /** The client has read what was written to it. */
  onClientDrain(): void {
    this.#upstream?.socket.resume();
  }

  /** The client reads more slowly than its backend sends. */
  holdBackend(): void {
    this.#upstream?.socket.pause();
  }

  // The response's way.

  onUpstreamBytes(buffer: Buffer, length: number): void {
    const client = this.#client;
    if (client.phase === TUNNEL) {
      client.touch();
      client.write(Buffer.copyBytesFrom(buffer, 0, length));
      return;
    }
    const { answer } = this;
    if (answer.started) {
      this.#relayAnswer(buffer, 0, length, '');
      return;
    }
    switch (answer.read(buffer, length)) {
      case ANSWERED:
        this.#startAnswer();
        break;
      case SWITCHED:
        this.#startTunnel();
        break;
      case BROKEN:
        this.#failHard(502, answer.fault);
        break;
    }
  }

  #startAnswer(): void {
    const { answer } = this;
    const attempts = this.#attempts;
    const { status } = this.#client.frontend.context.responseHead;
    attempts.answered(status);
    if (attempts.pool!.config.retry.statuses.includes(status) && this.#another('status', status)) return;
    const head = answer.start(this.request.done);
    this.#relayAnswer(answer.buffer, answer.at, answer.end, head);
  }

  /** @param head of the answer as text, where it has not left yet */
  #relayAnswer(buffer: Buffer, start: number, end: number, head: string): void {
    const { answer } = this;
    this.arm();
    const at = answer.relay(buffer, start, end, head);
    if (at >= 0) this.#finish(at < end);
    else if (at === BROKEN && answer.started) this.#abort();
    else if (at === BROKEN) this.#failHard(502, answer.fault);
  }

  #startTunnel(): void {
    const client = this.#client;
    const { buffer, at, end } = this.answer;
    const attempts = this.#attempts;
    const head = client.frontend.context.responseHead;
    if (!this.#upgrade) {
      this.#failHard(502, 'invalid response: 101 that nobody asked for');
      return;
    }
    this.answer.started = true;
    client.log?.answered(head.status);
    client.phase = TUNNEL;
    client.touch();
    const cookie = attempts.needsCookie ? attempts.pool!.cookieLine(attempts.index) : '';
    attempts.pool!.learn(attempts.index, head);
    client.writeText(head.render(`${cookie}Connection: upgrade\r\n`, true));
    if (at < end) client.write(Buffer.copyBytesFrom(buffer, at, end - at));
    const early = client.takeBacklog();
    if (early !== undefined) this.#upstream!.socket.write(early);
    client.resume();
    if (client.ended) this.#upstream!.socket.end();
  }

  /** Upgraded: bytes of the client. */
  tunnel(buffer: Buffer, length: number): void {
    this.#client.log?.received(length);
    if (!this.#upstream!.socket.write(Buffer.copyBytesFrom(buffer, 0, length))) this.#client.pause();
  }

  /** Upgraded: the client ended its side. */
  endTunnel(): void {
    this.#upstream!.socket.end();
  }

  /** @param leftover the backend sent more than its response: its connection cannot be used again */
  #finish(leftover: boolean): void {
    const upstream = this.#upstream!;
    this.#upstream = undefined;
    this.#attempts.leave();
    if (this.answer.keeps && this.request.done && !leftover) {
      if (upstream.socket.isPaused()) upstream.socket.resume();
      const { sendProxy, timeouts } = this.#attempts.pool!.config;
      if (sendProxy === undefined) upstream.release(timeouts.keepAliveMs);
      else {
        upstream.park(timeouts.keepAliveMs);
        this.#own = upstream;
      }
    } else upstream.destroy();
    this.#client.nextRequest();
  }

  // What goes wrong.

  onUpstreamEnd(): void {
    const client = this.#client;
    if (client.phase === TUNNEL) {
      client.endTunnel();
      return;
    }
    const upstream = this.#upstream!;
    if (this.answer.started && this.answer.untilClose) {
      this.answer.finish();
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
    if (this.#client.phase === TUNNEL) {
      this.#attempts.leave();
      if (why === '') this.#client.endTunnel();
      else this.#client.cut();
      return;
    }
    if (this.answer.started) {
      this.#abort();
      return;
    }
    if (!upstream.connected) {
      this.#attempts.count(COUNTER.connect_failures, 1);
      const status = why === 'ETIMEDOUT' ? 504 : 502;
      this.#failTry('connect', status, `no backend could be reached: ${why}`);
    } else if (upstream.reused && this.#idempotent && this.#replayable)
      // The backend closed an idle connection while the request was on its way: a new one tells how it is.
      this.#restart(why);
    else {
      const cause = `backend ${why === '' ? 'closed the connection' : `failed: ${why}`}`;
      this.#failTry('reset', 502, cause);
    }
  }

  /** All of the request that has left is still here, and nothing of an answer. */
  get #replayable(): boolean {
    return !this.answer.begun && (this.#whole || !this.request.sent);
  }

  #restart(why: string): void {
    if (this.#client.gone || !this.#attempts.restart())
      this.#fail(502, `no backend could be reached: ${why}`);
    else this.#reconnect();
  }

  /** The backend did not answer: another one gets the request, or the client is told. */
  #failTry(failure: Failure, status: number, cause: string): void {
    this.#attempts.failed();
    if (this.#another(failure, 0)) return;
    this.#dropUpstream();
    this.#fail(status, cause);
  }

  /** @param answer status that is the failure; else 0 */
  #another(failure: Failure, answer: number): boolean {
    if (this.#client.gone) return false;
    if (!this.#attempts.another(failure, answer, this.#idempotent, this.#replayable)) return false;
    this.#dropUpstream();
    this.answer.reset();
    this.#reconnect();
    return true;
  }

  #reconnect(): void {
    if (this.#connect()) return;
    this.#attempts.leave();
    this.#held = undefined;
    this.#client.frontend.count('refused_breaker', 1);
    this.#client.failed(503, NO_CONNECTION);
  }

  /** The response has begun and cannot be completed: only a reset tells the client so. */
  #abort(): void {
    this.#attempts.count(COUNTER.errors, 1);
    this.drop();
    this.#client.log?.fault('response_cut');
    this.#client.cut();
  }

  /** The backend is not to be trusted with this connection any more. */
  #failHard(status: number, cause: string): void {
    this.#attempts.failed();
    this.#dropUpstream();
    this.#fail(status, cause);
  }

  #fail(status: number, cause: string): void {
    this.#attempts.count(COUNTER.errors, 1);
    this.#attempts.leave();
    this.#held = undefined;
    this.#client.failed(status, cause);
  }

  #dropUpstream(): void {
    const upstream = this.#upstream;
    this.#upstream = undefined;
    upstream?.destroy();
  }

  /** The request is over without a response of the backend. */
  drop(): void {
    this.#giveUpTurn();
    this.#dropUpstream();
    this.#attempts.leave();
  }

  /**
   * The client is gone.
   *
   * @param orderly it ended its side of a tunnel before: what it said still goes to the backend
   */
  onClientClose(orderly: boolean): void {
    const upstream = this.#upstream;
    this.#upstream = undefined;
    this.#held = undefined;
    this.#giveUpTurn();
    this.#own?.destroy();
    this.#own = undefined;
    this.answer.reset();
    this.#attempts.leave();
    if (orderly) upstream?.finish(this.#client.frontend.config.timeouts.idleMs);
    else upstream?.reset();
  }

  // Time.

  arm(): void {
    const client = this.#client;
    const { responseMs, idleMs } = this.#attempts.pool!.config.timeouts;
    // A client that is paused waits for its backend, not the other way round.
    if (this.request.done || client.paused) this.limit(this.answer.started ? idleMs : responseMs);
    else this.limit(client.frontend.config.timeouts.bodyMs);
  }

  /** Within the total time. */
  limit(ms: number): void {
    const deadline = this.#client.frontend.context.deadlines.in(ms);
    this.#client.deadline = this.#endMs === 0 ? deadline : Math.min(deadline, this.#endMs);
  }

  onDeadline(): void {
    const client = this.#client;
    const over = this.#endMs !== 0 && client.frontend.context.deadlines.now >= this.#endMs;
    if (this.answer.started) this.#abort();
    else if (this.#waiter !== undefined) {
      this.#giveUpTurn();
      this.#held = undefined;
      client.failed(504, 'the request took too long');
    } else if (over) {
      this.#dropUpstream();
      this.#fail(504, 'the request took too long');
    } else if (!this.request.done && !client.paused) client.refuse(408, 'the request body took too long');
    else this.#failTry('timeout', 504, 'the backend took too long');
  }
}

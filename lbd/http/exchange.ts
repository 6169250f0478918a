import { Attempts } from '../dispatch/attempts.ts';
import type { Backend } from '../dispatch/backend.ts';
import type { QueueUser } from '../dispatch/queue.ts';
import type { Failure } from '../dispatch/retry.ts';
import type { Upstream, UpstreamBackend, UpstreamUser } from '../dispatch/upstream.ts';
import { Pace } from '../io/pace.ts';
import { turnNow } from '../io/turn-clock.ts';
import {
  BACKEND_TIMEOUT,
  BODY_TIMEOUT,
  backendClosed,
  badRequest,
  badResponse,
  LOOP,
  NO_BACKEND,
  QUEUE_FULL,
  QUEUE_TIMEOUT,
  type Refusal,
  TOO_MANY_CONNECTIONS,
  TOO_MANY_OF_CLIENT,
  TOO_MANY_REQUESTS,
  TOTAL_TIMEOUT,
  unreachable,
} from '../log/refusal.ts';
import { COUNTER } from '../shared/shared.ts';
import { Checkout } from './checkout.ts';
import type { ClientStream } from './client-stream.ts';
import type { Message } from './h1/message.ts';
import type { RequestHead } from './h1/request-head.ts';
import { BROKEN } from './h1/response-body.ts';
import { responseScratch } from './h1/scratch.ts';
import { CONNECTING, EXCHANGE } from './phase.ts';
import { RequestRelay } from './request-relay.ts';
import { ANSWERED, ResponseRelay, SWITCHED } from './response-relay.ts';
import { Tunnel } from './tunnel.ts';

/**
 * A client that has ended its side may still read, or be gone: that shows only when something is sent to it. Where its
 * answer has begun and pauses for longer than this, it is taken for gone, so that its backend does not work for nobody.
 */
const HALF_CLOSED_MS = 5_000;

/**
 * One request at a time of a client connection, and its answer: picks a backend, sends the request, relays the
 * response, and tries again where that is possible. An instance serves one request after the other.
 */
export class Exchange implements UpstreamUser, QueueUser {
  readonly request: RequestRelay;
  readonly answer: ResponseRelay;
  readonly #client: ClientStream;
  readonly #attempts: Attempts;
  readonly #checkout: Checkout;
  #upstream: Upstream | undefined;
  /** When the request's total time is over; 0: it is not limited. */
  #endMs = 0;
  #idempotent = false;
  #upgrade = false;
  /** How fast the client sends its body, and how fast it reads answers; made when it does not do so at once. */
  #sending: Pace | undefined;
  #reading: Pace | undefined;

  constructor(client: ClientStream) {
    this.#client = client;
    this.#attempts = new Attempts(client.frontend.context.shared, client);
    this.#checkout = new Checkout(client, this.#attempts);
    this.request = new RequestRelay(client, this.#attempts);
    this.answer = new ResponseRelay(client, this.#attempts);
  }

  /** No request will come for a while: lets go of what large ones have left. */
  rest(): void {
    this.request.rest();
    this.answer.reset();
    this.#attempts.rest();
  }

  /** The backend at work; undefined: none. */
  get backend(): UpstreamBackend | undefined {
    return this.#upstream?.backend;
  }

  /**
   * Begins the request whose head was just parsed.
   *
   * @returns offset of the first byte that is not this request's
   */
  begin(head: RequestHead, buffer: Buffer, bodyStart: number, end: number): number {
    const client = this.#client;
    const { context, reserved } = client.frontend;
    const attempts = this.#attempts;
    const { request } = this;
    this.#idempotent = head.idempotent;
    this.#upgrade = head.upgrade;
    request.begin(head.body, head.contentLength);
    this.answer.reset();
    this.#startPaces();
    if (head.looped && head.passedBy(client.frontend.loopId)) return this.#refuse(LOOP, bodyStart, end);
    head.from(client, reserved);
    if (!client.enterSource()) return this.#refuse(TOO_MANY_OF_CLIENT, bodyStart, end);
    const pool = client.frontend.poolFor(head);
    if (pool === undefined) {
      client.noPool(head);
      return request.done ? bodyStart : end;
    }
    client.log?.routed(client.frontend.route, pool.config.name);
    if (pool.breaker.refusesRequest()) return this.#refuse(TOO_MANY_REQUESTS, bodyStart, end);
    const chosen = attempts.begin(pool, head);
    if (!chosen && !pool.saturated) return this.#refuse(NO_BACKEND, bodyStart, end);
    const { backend } = attempts;
    head.render(request.head, client, client.requestId, backend.authority, pool.ownCookie);
    const { totalMs } = pool.config.timeouts;
    this.#endMs = totalMs === 0 ? 0 : context.deadlines.in(totalMs);
    if (!chosen || !attempts.enter()) {
      if (!this.#checkout.wait(this, chosen)) return this.#refuse(QUEUE_FULL, bodyStart, end);
      client.log?.queued();
      return this.#holdOn(buffer, bodyStart, end);
    }
    const upstream = this.#checkout.takeIdle(this, this.#idempotent);
    if (upstream === undefined) {
      if (this.#connect()) return this.#holdOn(buffer, bodyStart, end);
      attempts.leave();
      return this.#refuse(TOO_MANY_CONNECTIONS, bodyStart, end);
    }
    this.#upstream = upstream;
    client.log?.sent(backend.name, attempts.tries);
    client.phase = EXCHANGE;
    this.arm();
    if (!request.done && bodyStart < end)
      return this.#sent(request.send(upstream.socket, buffer, bodyStart, end), end);
    request.sendHead(upstream.socket);
    return bodyStart;
  }

  /** Nothing was begun. @returns as `begin` */
  #refuse(refusal: Refusal, bodyStart: number, end: number): number {
    this.#client.answer(refusal);
    return this.request.done ? bodyStart : end;
  }

  /** What came before there is a backend connection is kept. @returns `end` */
  #holdOn(buffer: Buffer, start: number, end: number): number {
    this.#awaitConnection();
    if (start < end) this.#client.keep(buffer, start, end);
    return end;
  }

  /** Nothing is read from the client meanwhile, and only the total time runs. */
  #awaitConnection(): void {
    const client = this.#client;
    client.phase = CONNECTING;
    client.deadline = this.#endMs;
    client.pause();
  }

  chooseAgain(): Backend | undefined {
    return this.#attempts.chooseAgain();
  }

  onTurn(): void {
    this.#checkout.waited();
    this.#attempts.entered();
    const upstream = this.#checkout.takeIdle(this, this.#idempotent);
    if (upstream === undefined) {
      this.#reconnect();
      return;
    }
    this.#upstream = upstream;
    this.#client.log?.sent(upstream.backend.name, this.#attempts.tries);
    this.onUpstreamReady();
  }

  onQueueTimeout(): void {
    this.#checkout.waited();
    this.#tell(QUEUE_TIMEOUT);
  }

  /** @returns false: the circuit breaker does not allow a connection; nothing was begun */
  #connect(): boolean {
    const upstream = this.#checkout.connect(this);
    if (upstream === undefined) return false;
    this.#upstream = upstream;
    this.#client.log?.connecting(upstream.backend.name, this.#attempts.tries);
    return true;
  }

  // The request's way.

  /** @returns offset of the first byte after the body, or `end` */
  relay(buffer: Buffer, start: number, end: number): number {
    return this.#sent(this.request.relay(this.#upstream!.socket, buffer, start, end), end);
  }

  /** @param at where the body came to, see `RequestRelay.relay`. @returns as `relay` */
  #sent(at: number, end: number): number {
    const { request } = this;
    if (at < 0) {
      this.#client.refuse(badRequest(request.fault));
      return end;
    }
    if (request.done) {
      // How fast a client sends is nothing that its backend could be measured by.
      this.#attempts.startedMs = turnNow();
    } else {
      this.#sending?.moved(request.moved, this.#client.frontend.context.deadlines.countedMs);
      if (!request.flowing) this.#client.pause();
    }
    this.arm();
    return at;
  }

  #startPaces(): void {
    if (this.request.done && this.#reading === undefined) return;
    const { timeouts, limits } = this.#client.frontend.config;
    this.#reading?.begin(timeouts.idleMs, limits.minRate);
    if (this.request.done) return;
    this.#sending ??= new Pace();
    this.#sending.begin(timeouts.bodyMs, limits.minRate);
  }

  onUpstreamReady(): void {
    const client = this.#client;
    const { request } = this;
    const { socket } = this.#upstream!;
    client.phase = EXCHANGE;
    client.log?.connected();
    const held = request.takeHeld();
    if (held === undefined) request.sendHead(socket);
    else
      client.afterBody(
        held,
        this.#sent(request.send(socket, held, 0, held.length), held.length),
        held.length,
      );
    if (client.phase !== EXCHANGE) return;
    this.awaitMore();
    // Of a paused client the end comes nevertheless, where TLS tells it together with the last bytes.
    if (client.ended) this.onClientEnd();
  }

  onUpstreamDrain(): void {
    if (this.#client.phase === EXCHANGE && !this.request.done) this.awaitMore();
  }

  /** Reads on from the client, unless it is ahead of its turn or of its backend. */
  awaitMore(): void {
    if (!this.#client.ahead && !this.#upstream!.socket.writableNeedDrain) this.#client.resume();
    this.arm();
  }

  /**
   * The client ended its side. It may do so after its request and still read the answer, and also within it, where an
   * answer has begun (RFC 9112 §9.6); else half a request is no request.
   */
  onClientEnd(): void {
    if (this.answer.started) this.arm();
    else if (!this.request.done) this.#client.leave();
  }

  /** The client has read what was written to it. */
  onClientDrain(): void {
    this.#reading?.rest(this.#client.frontend.context.deadlines.countedMs);
    this.#upstream?.socket.resume();
  }

  /** The client reads more slowly than its backend sends; that is not the backend's time. */
  holdBackend(): void {
    this.#upstream?.socket.pause();
    if (this.#client.phase !== EXCHANGE) return;
    const { context, config } = this.#client.frontend;
    const { timeouts, limits } = config;
    if (this.#reading === undefined) {
      this.#reading = new Pace();
      this.#reading.begin(timeouts.idleMs, limits.minRate);
    }
    this.limit(Math.min(timeouts.idleMs, this.#reading.run(context.deadlines.countedMs)));
  }

  // The response's way.

  onUpstreamBytes(buffer: Buffer, length: number): void {
    const { answer } = this;
    if (answer.started) {
      this.#relayAnswer(buffer, 0, length, undefined);
      return;
    }
    // A piece of the body may be held back as well, behind a head that has long left.
    if (this.request.replayable && this.#upstream!.unasked) {
      this.#dropUpstream();
      this.#restart('sent more than its response');
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
        this.#failHard(badResponse(answer.fault));
        break;
    }
  }

  #startAnswer(): void {
    const { answer } = this;
    const attempts = this.#attempts;
    const { status } = responseScratch;
    attempts.answered(status);
    if (attempts.pool!.config.retry.statuses.includes(status) && this.#another('status', status)) return;
    const head = answer.start(this.request.done);
    this.#relayAnswer(answer.buffer, answer.at, answer.end, head);
  }

  /** @param head of the answer, where it has not left yet */
  #relayAnswer(buffer: Buffer, start: number, end: number, head: Message | undefined): void {
    const { answer } = this;
    this.arm();
    this.#reading?.moved(end - start, this.#client.frontend.context.deadlines.countedMs);
    const at = answer.relay(buffer, start, end, head);
    if (at >= 0) this.#finish(at < end);
    else if (at === BROKEN && answer.started) this.#abort();
    else if (at === BROKEN) this.#failHard(badResponse(answer.fault));
  }

  #startTunnel(): void {
    const { answer } = this;
    const agreed = responseScratch.upgrade;
    if (!this.#upgrade || !agreed) {
      const fault = this.#upgrade ? '101 without Upgrade' : '101 that nobody asked for';
      this.#failHard(badResponse(`invalid response: ${fault}`));
      return;
    }
    const upstream = this.#upstream!;
    this.#upstream = undefined;
    const tunnel = new Tunnel(this.#client, upstream, this.#attempts);
    this.#client.upgraded(tunnel, answer.upgrade());
    if (answer.at < answer.end)
      tunnel.onUpstreamBytes(answer.buffer.subarray(answer.at, answer.end), answer.end - answer.at);
  }

  /** @param leftover the backend sent more than its response: its connection cannot be used again */
  #finish(leftover: boolean): void {
    const { keeps, doubtful } = this.answer;
    const upstream = this.#upstream!;
    this.#upstream = undefined;
    this.#attempts.leave();
    if (leftover && doubtful) upstream.backend.distrust();
    // What waits to be written is of a request that the backend did not read before it answered.
    if (keeps && !leftover && upstream.socket.writableLength === 0)
      this.#checkout.giveBack(upstream, doubtful);
    else upstream.destroy();
    this.#client.nextRequest();
  }

  // What goes wrong.

  onUpstreamEnd(): void {
    const upstream = this.#upstream!;
    if (this.answer.started && this.answer.untilClose) {
      this.answer.finish();
      this.#finish(true);
      return;
    }
    upstream.destroy();
    this.onUpstreamClose('');
  }

  onUpstreamClose(why: string): void {
    const upstream = this.#upstream!;
    this.#upstream = undefined;
    if (this.answer.started) this.#abort();
    else if (!upstream.connected) {
      this.#attempts.count(COUNTER.connect_failures, 1);
      this.#failTry('connect', unreachable(why === '' ? 'closed the connection' : why));
    } else if (upstream.reused && this.#idempotent && this.#replayable)
      // The backend closed an idle connection while the request was on its way: a new one tells how it is.
      this.#restart(why);
    else this.#failTry('reset', backendClosed(why));
  }

  /** All of the request that has left is still here, and nothing of an answer. */
  get #replayable(): boolean {
    return !this.answer.begun && this.request.replayable;
  }

  #restart(why: string): void {
    if (this.#client.gone || !this.#attempts.restart()) this.#fail(backendClosed(why));
    else this.#reconnect();
  }

  /** The backend did not answer: another one gets the request, or the client is told. */
  #failTry(failure: Failure, refusal: Refusal): void {
    this.#attempts.failed();
    if (this.#another(failure, 0)) return;
    this.#dropUpstream();
    this.#fail(refusal);
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
    if (this.#connect()) this.#awaitConnection();
    else {
      this.#attempts.leave();
      this.#tell(TOO_MANY_CONNECTIONS);
    }
  }

  /** The response has begun and cannot be completed: only a reset tells the client so. */
  #abort(): void {
    this.#attempts.count(COUNTER.errors, 1);
    this.drop();
    this.#client.log?.fault('response_cut');
    this.#client.cut();
  }

  /** The backend is not to be trusted with this connection any more. */
  #failHard(refusal: Refusal): void {
    this.#attempts.failed();
    this.#dropUpstream();
    this.#fail(refusal);
  }

  #fail(refusal: Refusal): void {
    this.#attempts.count(COUNTER.errors, 1);
    this.#attempts.leave();
    this.#tell(refusal);
  }

  #tell(refusal: Refusal): void {
    this.request.takeHeld();
    this.#client.failed(refusal);
  }

  #dropUpstream(): void {
    const upstream = this.#upstream;
    this.#upstream = undefined;
    upstream?.destroy();
  }

  /** The request is over without a response of the backend. */
  drop(): void {
    this.#checkout.giveUpTurn();
    this.#dropUpstream();
    this.#attempts.leave();
  }

  /** The client is gone. */
  onClientClose(): void {
    const upstream = this.#upstream;
    this.#upstream = undefined;
    this.request.takeHeld();
    this.#checkout.close();
    this.answer.reset();
    this.#attempts.leave();
    upstream?.reset();
  }

  // Time.

  arm(): void {
    const client = this.#client;
    const { responseMs, idleMs } = this.#attempts.pool!.config.timeouts;
    if (client.ended && this.answer.started) {
      this.limit(Math.min(idleMs, HALF_CLOSED_MS));
      return;
    }
    if (this.request.done) {
      this.limit(this.answer.started ? idleMs : responseMs);
      return;
    }
    const { context, config } = client.frontend;
    const { countedMs } = context.deadlines;
    // A client that is paused waits for its backend, not the other way round.
    if (client.paused) {
      this.#sending!.rest(countedMs);
      this.limit(this.answer.started ? idleMs : responseMs);
    } else this.limit(Math.min(config.timeouts.bodyMs, this.#sending!.run(countedMs)));
  }

  /** Within the total time. */
  limit(ms: number): void {
    const deadline = this.#client.frontend.context.deadlines.in(ms);
    this.#client.deadline = this.#endMs === 0 ? deadline : Math.min(deadline, this.#endMs);
  }

  onDeadline(): void {
    const client = this.#client;
    const over = this.#endMs !== 0 && client.frontend.context.deadlines.now >= this.#endMs;
    if (this.answer.started && client.ended && !over) {
      client.log?.gone();
      client.cut();
    } else if (this.answer.started) this.#abort();
    else if (this.#checkout.waiting) {
      this.#checkout.giveUpTurn();
      this.#tell(TOTAL_TIMEOUT);
    } else if (over) {
      this.#dropUpstream();
      this.#fail(TOTAL_TIMEOUT);
    } else if (!this.request.done && !client.paused) client.refuse(BODY_TIMEOUT);
    else this.#failTry('timeout', BACKEND_TIMEOUT);
  }
}

import { Attempts } from '../dispatch/attempts.ts';
import type { Backend } from '../dispatch/backend.ts';
import type { QueueUser } from '../dispatch/queue.ts';
import type { Failure } from '../dispatch/retry.ts';
import type { Upstream, UpstreamBackend } from '../dispatch/upstream.ts';
import { turnNow } from '../io/turn-clock.ts';
import {
  BACKEND_TIMEOUT,
  BODY_TIMEOUT,
  backendClosed,
  badResponse,
  NO_BACKEND,
  NO_UPGRADE,
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
import type { BackendStream, BackendUser } from './backend-stream.ts';
import { BodyChain } from './body-chain.ts';
import { Checkout } from './checkout.ts';
import type { ClientStream } from './client-stream.ts';
import { dateBlock } from './date.ts';
import { FIELD, FieldName } from './field-names.ts';
import { type BodySink, type HttpAnswer, type HttpRequest, UNKNOWN } from './model.ts';
import { NO_BYTES } from './no-bytes.ts';
import { type OwnAnswer, refusalAnswer } from './own-answer.ts';
import { ownHead } from './own-head.ts';
import { Patience } from './patience.ts';
import { CONNECTING, EXCHANGE } from './phase.ts';
import type { BodySource, PolicySet } from './policy/policy.ts';
import { RequestTransit } from './request-transit.ts';
import type { PoolTarget } from './target.ts';
import { Tunnel } from './tunnel.ts';

/** A request that its backend has not looked at is sent there again, but not for ever. */
const MAX_STALE = 3;

const CONTENT_LENGTH = new FieldName('Content-Length');

/**
 * One request at a time of a client stream, and its answer: finds where it leads, picks a backend, sends the request,
 * relays the answer, and tries again where that is possible. Knows no codec. An instance serves one request after the other.
 */
export class Exchange implements BackendUser, BodySink, BodySource, QueueUser {
  /** The head of the answer has left for the client: it can only be completed or cut off. */
  started = false;
  readonly #client: ClientStream;
  readonly #request = new RequestTransit();
  readonly #attempts: Attempts;
  readonly #checkout: Checkout;
  readonly #patience: Patience;
  /** undefined: no pool has the request. */
  #target: PoolTarget | undefined;
  #backend: BackendStream | undefined;
  /** What policies have put between the body of the answer and the client; undefined: nothing. */
  #chain: BodyChain | undefined;
  /** A policy has asked for no more of the body for now. */
  #isHeld = false;
  /** The answer has left in full. */
  #sentAll = false;
  #idempotent = false;
  #upgrade = false;
  /** So often it was sent to who did not look at it. */
  #stale = 0;

  constructor(client: ClientStream) {
    this.#client = client;
    this.#attempts = new Attempts(client.frontend.context.shared, client.asker);
    this.#checkout = new Checkout(client, this.#attempts, this);
    this.#patience = new Patience(client);
  }

  /** No request will come for a while: lets go of what large ones have left. */
  rest(): void {
    this.#request.rest();
    this.#checkout.rest();
    this.#attempts.rest();
  }

  /** The backend at work; undefined: none. */
  get backend(): UpstreamBackend | undefined {
    return this.#backend?.backend;
  }

  /** All of the request has come. */
  get done(): boolean {
    return this.#request.done;
  }

  get replayable(): boolean {
    return this.#request.replayable && this.#backend?.begun !== true;
  }

  /**
   * Begins the request whose head is here. Where it has a body, `onBody` follows within the same call: with its first
   * piece, or with none.
   */
  begin(request: HttpRequest): void {
    const transit = this.#request;
    this.#idempotent = request.idempotent;
    this.#upgrade = request.upgrade;
    this.started = this.#sentAll = false;
    this.#target = undefined;
    this.#stale = 0;
    transit.begin(request.length, request.method === 'HEAD');
    this.#patience.beginPaces(transit.done);
    const answer = this.#lead(request) ?? this.#dispatch(request);
    if (answer !== undefined) this.#say(answer);
  }

  /** Finds where the request leads. @returns an answer, where no backend is to be asked */
  #lead(request: HttpRequest): OwnAnswer | undefined {
    const client = this.#client;
    const { service } = client;
    const first = askAll(service.entry, request, client);
    if (first !== undefined) return first;
    if (!client.asker.enterSource()) return this.#own(TOO_MANY_OF_CLIENT);
    const target = service.targetFor(request);
    if (target.pool === undefined) return target.answer(request, client);
    this.#target = target;
    const { pool, policies } = target;
    client.log?.routed(target.route, pool.config.name);
    return (
      askAll(policies, request, client) ??
      (request.upgrade && pool.config.protocol === 'h2' ? this.#own(NO_UPGRADE) : undefined) ??
      (pool.breaker.refusesRequest() ? this.#own(TOO_MANY_REQUESTS) : undefined)
    );
  }

  /** Picks a backend of the target's pool. @returns an answer, where there is none for this request */
  #dispatch(request: HttpRequest): OwnAnswer | undefined {
    const client = this.#client;
    const attempts = this.#attempts;
    const transit = this.#request;
    const target = this.#target!;
    const { pool } = target;
    const chosen = attempts.begin(pool, request);
    if (!chosen && !pool.saturated) return this.#own(NO_BACKEND);
    for (const policy of target.policies.onSend) policy.onSend(request, client, attempts);
    request.render(transit.head, attempts.backend.authority);
    this.#patience.begin(target);
    if (!chosen || !attempts.enter()) {
      if (!this.#checkout.wait(this, chosen)) return this.#own(QUEUE_FULL);
      client.log?.queued();
      this.#awaitConnection();
      return undefined;
    }
    const backend = this.#checkout.takeIdle(this.#idempotent, this.#upgrade);
    if (backend === undefined) {
      if (this.#connect()) {
        this.#awaitConnection();
        return undefined;
      }
      attempts.leave();
      return this.#own(TOO_MANY_CONNECTIONS);
    }
    this.#backend = backend;
    client.log?.sent(attempts.backend.name, attempts.tries);
    client.phase = EXCHANGE;
    backend.begin(transit);
    if (transit.done) {
      backend.body(NO_BYTES, 0, 0, true, '');
      this.arm();
    }
    return undefined;
  }

  #own(refusal: Refusal): OwnAnswer {
    return refusalAnswer(refusal, this.#client.requestId);
  }

  #say(answer: OwnAnswer): void {
    const client = this.#client;
    const { status, cause, reason, counter } = answer;
    if (counter !== undefined) client.frontend.count(counter, 1);
    if (status === 502) client.frontend.count('answered_502', 1);
    else if (status === 503) client.frontend.count('answered_503', 1);
    else if (status === 504) client.frontend.count('answered_504', 1);
    if (cause === undefined) client.log?.answered(status);
    else client.log?.fault(cause, status, reason);
    const transit = this.#request;
    const head = ownHead.begin(answer, transit.toHead);
    const { body } = head;
    this.started = true;
    const policies = this.#target?.policies ?? client.service.rest;
    for (const policy of policies.onAnswer) policy.onAnswer(head, client, undefined);
    this.#start(head, policies);
    (this.#chain ?? this).body(body, 0, body.length, true, '');
    if (this.#sentAll) return;
    // A policy still works on it.
    client.phase = EXCHANGE;
    this.#patience.beginOwn();
    this.arm();
  }

  /** Begins an answer for the client, whose head is as it should be but for what is of this hop. */
  #start(answer: HttpAnswer, policies: PolicySet): void {
    // RFC 9110 §6.6.1: who has a clock says when an answer came that does not say so itself.
    if (!answer.has(FIELD.date)) answer.edits.addBlock(dateBlock());
    const { length } = answer;
    const isWrapped = length !== 0 && policies.wrapBody.length > 0 && this.#wrap(answer, policies);
    this.#client.start(answer, isWrapped ? UNKNOWN : length, this.#request.done);
  }

  /** Nothing is read from the client meanwhile, and only the total time runs. */
  #awaitConnection(): void {
    this.#client.phase = CONNECTING;
    this.#patience.wait();
    this.#client.pause();
  }

  chooseAgain(): Backend | undefined {
    return this.#attempts.chooseAgain();
  }

  onTurn(): void {
    this.#checkout.waited();
    this.#attempts.entered();
    const backend = this.#checkout.takeIdle(this.#idempotent, this.#upgrade);
    if (backend === undefined) {
      this.#reconnect();
      return;
    }
    this.#client.log?.sent(backend.backend.name, this.#attempts.tries);
    this.onBackendReady(backend);
  }

  onQueueTimeout(): void {
    this.#checkout.waited();
    this.#tell(QUEUE_TIMEOUT);
  }

  /** @returns false: the circuit breaker does not allow a connection; nothing was begun */
  #connect(): boolean {
    const backend = this.#checkout.connect(this.#upgrade);
    if (backend === undefined) return false;
    this.#backend = backend;
    this.#client.log?.connecting(backend.backend.name, this.#attempts.tries);
    return true;
  }

  // The request's way.

  /** A piece of the body of the request is here; parameters as of `BodySink.body`. */
  onBody(buffer: Buffer, start: number, length: number, ended: boolean, trailers: string): void {
    const transit = this.#request;
    transit.done = ended;
    this.#client.log?.received(length);
    if (this.#client.phase !== EXCHANGE) transit.hold(buffer, start, length, trailers);
    else this.#forward(buffer, start, length, trailers);
  }

  #forward(buffer: Buffer, start: number, length: number, trailers: string): void {
    const transit = this.#request;
    const backend = this.#backend;
    // It has answered, and what a policy makes of its answer is still on its way: nobody wants the rest.
    if (backend === undefined) return;
    if (length > 0 || (transit.done && transit.length !== 0)) transit.sent = true;
    backend.body(buffer, start, length, transit.done, trailers);
    this.#attempts.count(COUNTER.bytes_sent, length);
    // How fast a client sends is nothing that its backend could be measured by.
    if (transit.done) this.#attempts.startedMs = turnNow();
    else {
      this.#patience.sent(length);
      if (backend.full) this.#client.pause();
    }
    this.arm();
  }

  onBackendReady(stream: BackendStream): void {
    const client = this.#client;
    const transit = this.#request;
    this.#backend = stream;
    transit.rewind();
    client.phase = EXCHANGE;
    client.log?.connected();
    stream.begin(transit);
    const held = transit.takeHeld();
    if (transit.whole || transit.length === 0) stream.body(NO_BYTES, 0, 0, true, '');
    else this.#forward(held, 0, held.length, transit.takeTrailers());
    this.awaitMore();
    // Of a paused client the end comes nevertheless, where TLS tells it together with the last bytes.
    if (client.ended) this.onClientEnd();
  }

  onBackendDrain(): void {
    if (this.#client.phase === EXCHANGE && !this.#request.done) this.awaitMore();
  }

  /** Reads on from the client, unless it is ahead of its turn or of its backend. */
  awaitMore(): void {
    if (!this.#client.ahead && this.#backend?.full !== true) this.#client.resume();
    this.arm();
  }

  /**
   * The client ended its side. It may do so after its request and still read the answer, and also within it, where an
   * answer has begun (RFC 9112 §9.6); else half a request is no request.
   */
  onClientEnd(): void {
    if (this.started) this.arm();
    else if (!this.#request.done) this.#client.leave();
  }

  /** The client has read so much of what was written to it, and more waits. */
  onClientRead(bytes: number): void {
    this.#patience.received(bytes);
    this.#patience.awaitReader();
  }

  /** The client has read what was written to it. */
  onClientDrain(): void {
    this.#patience.drained();
    if (!this.#isHeld) this.#backend?.resume();
  }

  /** The client reads more slowly than its backend sends. */
  holdBackend(): void {
    this.#backend?.pause();
    if (this.#client.phase === EXCHANGE) this.#patience.awaitReader();
  }

  // The answer's way.

  onInterim(answer: HttpAnswer): void {
    this.#client.inform(answer);
  }

  onAnswer(answer: HttpAnswer, fault: string): boolean {
    const { status } = answer;
    this.#attempts.answered(status);
    if (this.#target!.retry.statuses.includes(status) && this.#another('status', status)) return false;
    if (fault !== '') {
      this.onBackendBroken(fault);
      return false;
    }
    this.started = true;
    this.#edit(answer);
    this.#start(answer, this.#target!.policies);
    return true;
  }

  #edit(answer: HttpAnswer): void {
    const client = this.#client;
    const attempts = this.#attempts;
    client.log?.answered(answer.status);
    attempts.pool!.learn(attempts.index, answer);
    for (const policy of this.#target!.policies.onAnswer) policy.onAnswer(answer, client, attempts);
  }

  #wrap(answer: HttpAnswer, policies: PolicySet): boolean {
    const chain = new BodyChain(this);
    if (!chain.wrap(policies, answer, this)) return false;
    this.#chain = chain;
    answer.edits.remove(CONTENT_LENGTH);
    return true;
  }

  /** What wraps a body cannot work on more of it. */
  pause(): void {
    this.#isHeld = true;
    this.#backend?.pause();
  }

  resume(): void {
    this.#isHeld = false;
    this.#backend?.resume();
  }

  onAnswerBody(buffer: Buffer, start: number, length: number, ended: boolean, trailers: string): void {
    this.arm();
    this.#patience.received(length);
    this.#attempts.count(COUNTER.bytes_received, length);
    (this.#chain ?? this).body(buffer, start, length, ended, trailers);
    if (!ended) return;
    const backend = this.#backend!;
    this.#backend = undefined;
    this.#attempts.leave();
    backend.settle();
    if (this.#sentAll) this.#finish();
  }

  /** The answer as it leaves. */
  body(buffer: Buffer, start: number, length: number, ended: boolean, trailers: string): void {
    this.#client.body(buffer, start, length, ended, trailers);
    if (!ended) return;
    this.#sentAll = true;
    if (this.#backend === undefined) this.#finish();
  }

  #finish(): void {
    this.#unwrap();
    this.#client.done();
  }

  #unwrap(): void {
    if (this.#chain === undefined) return;
    this.#chain.drop();
    this.#chain = undefined;
    this.#isHeld = false;
  }

  onSwitched(answer: HttpAnswer, upstream: Upstream, buffer: Buffer, start: number, end: number): void {
    const names = answer.has(FIELD.upgrade);
    if (!this.#upgrade || !names) {
      const fault = this.#upgrade ? '101 without Upgrade' : '101 that nobody asked for';
      this.#backend = undefined;
      upstream.destroy();
      this.#failHard(badResponse(`invalid response: ${fault}`));
      return;
    }
    this.#backend = undefined;
    this.started = true;
    this.#edit(answer);
    const tunnel = new Tunnel(this.#client, upstream, this.#attempts);
    this.#client.upgrade(tunnel, answer);
    if (start < end) tunnel.onUpstreamBytes(buffer.subarray(start, end), end - start);
  }

  // What goes wrong.

  onBackendClose(why: string, connected: boolean, reused: boolean): void {
    const { replayable } = this;
    this.#backend = undefined;
    if (this.started) this.#abort();
    else if (!connected) {
      this.#attempts.unreachable(why);
      this.#failTry('connect', unreachable(why === '' ? 'closed the connection' : why), replayable);
    } else if (reused && this.#idempotent && replayable)
      // The backend closed an idle connection while the request was on its way: a new one tells how it is.
      this.#restart(why);
    else {
      this.#attempts.failed();
      this.#failTry('reset', backendClosed(why), replayable);
    }
  }

  onBackendStale(why: string): void {
    this.#backend = undefined;
    if (++this.#stale <= MAX_STALE) this.#restart(why);
    else this.#failTry('connect', backendClosed(why), true);
  }

  #restart(why: string): void {
    if (this.#client.gone || !this.#attempts.restart()) this.#fail(backendClosed(why));
    else this.#reconnect();
  }

  /** The backend did not answer: another one gets the request, or the client is told. */
  #failTry(failure: Failure, refusal: Refusal, replayable: boolean): void {
    if (this.#another(failure, 0, replayable)) return;
    this.#dropBackend();
    this.#fail(refusal);
  }

  /** @param answer status that is the failure; else 0 */
  #another(failure: Failure, answer: number, replayable = this.replayable): boolean {
    if (this.#client.gone) return false;
    if (!this.#attempts.another(failure, answer, this.#idempotent, replayable)) return false;
    this.#dropBackend();
    this.#reconnect();
    return true;
  }

  #reconnect(): void {
    const shared = this.#checkout.takeShared(this.#upgrade);
    if (shared !== undefined) {
      this.#client.log?.sent(shared.backend.name, this.#attempts.tries);
      this.onBackendReady(shared);
    } else if (this.#connect()) this.#awaitConnection();
    else {
      this.#attempts.leave();
      this.#tell(TOO_MANY_CONNECTIONS);
    }
  }

  onBackendBroken(fault: string): void {
    if (this.started) this.#abort();
    else this.#failHard(badResponse(fault));
  }

  /** The answer has begun and cannot be completed: only a reset tells the client so. */
  #abort(): void {
    this.#attempts.count(COUNTER.errors, 1);
    this.drop();
    this.#client.reset('response_cut');
  }

  /** The backend is not to be trusted with this connection any more. */
  #failHard(refusal: Refusal): void {
    this.#attempts.failed();
    this.#dropBackend();
    this.#fail(refusal);
  }

  #fail(refusal: Refusal): void {
    this.#attempts.count(COUNTER.errors, 1);
    this.#attempts.leave();
    this.#tell(refusal);
  }

  #tell(refusal: Refusal): void {
    this.#request.takeHeld();
    if (!this.#client.gone) this.#say(this.#own(refusal));
  }

  #dropBackend(): void {
    const backend = this.#backend;
    this.#backend = undefined;
    backend?.destroy();
  }

  /** The request is over without a response of the backend. */
  drop(): void {
    this.#unwrap();
    this.#checkout.giveUpTurn();
    this.#dropBackend();
    this.#attempts.leave();
  }

  /** The client is gone. */
  onClientClose(): void {
    const backend = this.#backend;
    this.#backend = undefined;
    this.#request.takeHeld();
    this.#unwrap();
    this.#checkout.close();
    this.#attempts.leave();
    backend?.reset('client_gone');
  }

  // Time.

  arm(): void {
    this.#patience.arm(this.#request.done, this.started);
  }

  onDeadline(): void {
    const client = this.#client;
    const { over } = this.#patience;
    if (this.started && client.ended && !over) client.reset('client_gone');
    else if (this.started) this.#abort();
    else if (this.#checkout.waiting) {
      this.#checkout.giveUpTurn();
      this.#tell(TOTAL_TIMEOUT);
    } else if (over) {
      this.#dropBackend();
      this.#fail(TOTAL_TIMEOUT);
    } else if (!this.#request.done && !client.paused) client.refuse(BODY_TIMEOUT);
    else {
      this.#attempts.failed();
      this.#failTry('timeout', BACKEND_TIMEOUT, this.replayable);
    }
  }
}

/** @returns the answer of the first policy that has one */
function askAll({ onRequest }: PolicySet, request: HttpRequest, client: ClientStream): OwnAnswer | undefined {
  for (const policy of onRequest) {
    const answer = policy.onRequest(request, client);
    if (answer !== undefined) return answer;
  }
  return undefined;
}

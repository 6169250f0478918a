import { type Endpoints, proxyHeader } from '../../common/proxy-protocol.ts';
import type { Attempts } from '../dispatch/attempts.ts';
import type { QueueUser, Waiter } from '../dispatch/queue.ts';
import { Upstream } from '../dispatch/upstream.ts';
import { COUNTER } from '../shared/shared.ts';
import type { BackendStream, BackendUser, UpstreamKeeper, UpstreamStream } from './backend-stream.ts';
import type { ClientStream } from './client-stream.ts';

/** A request that must not be sent twice uses only a backend connection that worked just now. */
const FRESH_MS = 250;

/**
 * How one client connection comes by connections to the backends that its requests are tried at: an idle one, a new
 * one, or a place in the queue for either; and where they go afterwards.
 */
export class Checkout implements UpstreamKeeper {
  readonly #client: ClientStream;
  readonly #attempts: Attempts;
  readonly #stream: UpstreamStream;
  /** A connection that told the backend this client's address, so that no other client may use it. */
  #own: Upstream | undefined;
  /** The address that was told last: behind a trusted proxy each request may be another client's. */
  #told = '';
  /** Its place in the queue of the pool. */
  #waiter: Waiter | undefined;

  /** @param user of the streams */
  constructor(client: ClientStream, attempts: Attempts, user: BackendUser) {
    this.#client = client;
    this.#attempts = attempts;
    this.#stream = client.service.newStream(user, client.frontend, this);
  }

  /** No request will come for a while. */
  rest(): void {
    this.#stream.rest();
  }

  /**
   * An unspoilt connection to the chosen backend; where it began with the client's address, one of its own.
   *
   * @param idempotent the request may be sent again, should the backend be closing it just now
   */
  takeIdle(idempotent: boolean): BackendStream | undefined {
    const { backend, pool } = this.#attempts;
    const usedAfterMs = idempotent ? 0 : this.#client.frontend.context.deadlines.now - FRESH_MS;
    const upstream =
      pool!.config.sendProxy === undefined ? backend.takeIdle(usedAfterMs) : this.#takeOwn(usedAfterMs);
    if (upstream === undefined) return undefined;
    upstream.claim(this.#stream);
    return this.#stream.over(upstream);
  }

  #takeOwn(usedAfterMs: number): Upstream | undefined {
    const own = this.#own;
    this.#own = undefined;
    const { backend } = this.#attempts;
    const leadsThere = own?.backend === backend && backend.has(own.address);
    const isOfClient = this.#told === this.#client.asker.address;
    if (leadsThere && isOfClient && own.usable && own.idleSinceMs >= usedAfterMs) return own;
    own?.discard();
    return undefined;
  }

  /** Begins a new connection to the chosen backend. @returns undefined: the circuit breaker does not allow it */
  connect(): BackendStream | undefined {
    const client = this.#client;
    const { backend, pool } = this.#attempts;
    const { sendProxy, timeouts } = pool!.config;
    if (pool!.breaker.refusesConnection()) return undefined;
    const upstream = new Upstream(
      backend,
      this.#stream,
      client.frontend.context.deadlines,
      timeouts.connectMs,
      sendProxy && proxyHeader(sendProxy, this.#endpointsToTell()),
    );
    this.#attempts.count(COUNTER.connects, 1);
    return this.#stream.over(upstream);
  }

  #endpointsToTell(): Endpoints {
    const { endpoints, asker } = this.#client;
    this.#told = asker.address;
    // The port of a client behind a proxy is not known.
    return asker.address === endpoints.address
      ? endpoints
      : { ...endpoints, address: asker.address, port: 0 };
  }

  giveBack(upstream: Upstream, doubtful: boolean): void {
    if (upstream.socket.isPaused()) upstream.socket.resume();
    const { sendProxy, timeouts, connections } = this.#attempts.pool!.config;
    let keepMs = timeouts.keepAliveMs;
    if (connections.maxAgeMs !== 0) {
      const ageMs = this.#client.frontend.context.deadlines.now - upstream.openedMs;
      keepMs = Math.min(keepMs, connections.maxAgeMs - ageMs);
    }
    if (keepMs <= 0) upstream.destroy();
    else if (sendProxy === undefined) {
      if (doubtful) upstream.releaseLater(keepMs);
      else upstream.release(keepMs);
    } else if (doubtful) upstream.discard();
    else {
      upstream.park(keepMs);
      this.#own = upstream;
    }
  }

  /**
   * Takes a place in the queue of the pool.
   *
   * @param chosen a backend was chosen, but is full
   * @returns false: there is none
   */
  wait(user: QueueUser, chosen: boolean): boolean {
    const { backend, pool } = this.#attempts;
    this.#waiter = pool!.queue?.join(user, chosen && pool!.tied ? backend.slot : -1);
    return this.#waiter !== undefined;
  }

  get waiting(): boolean {
    return this.#waiter !== undefined;
  }

  /** The queue has called, and knows nothing of it any more. */
  waited(): void {
    this.#waiter = undefined;
  }

  giveUpTurn(): void {
    if (this.#waiter === undefined) return;
    this.#attempts.pool!.queue?.leave(this.#waiter);
    this.#waiter = undefined;
  }

  /** The client is gone. */
  close(): void {
    this.giveUpTurn();
    this.#own?.destroy();
    this.#own = undefined;
  }
}

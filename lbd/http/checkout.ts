import { type Endpoints, proxyHeader } from '../../common/proxy-protocol.ts';
import type { Attempts } from '../dispatch/attempts.ts';
import type { QueueUser, Waiter } from '../dispatch/queue.ts';
import { Upstream } from '../dispatch/upstream.ts';
import { COUNTER } from '../shared/shared.ts';
import type {
  BackendStream,
  BackendUser,
  MultiplexedStream,
  UpstreamKeeper,
  UpstreamStream,
} from './backend-stream.ts';
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
  readonly #user: BackendUser;
  /** Made for the first request that may go by HTTP/2. */
  #multiplexed: MultiplexedStream | undefined;
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
    this.#user = user;
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
   * @param upgrade it needs a connection of its own, by HTTP/1.1
   */
  takeIdle(idempotent: boolean, upgrade: boolean): BackendStream | undefined {
    const { backend, pool } = this.#attempts;
    const shared = this.takeShared(upgrade);
    if (shared !== undefined || (backend.protocol === 'h2' && !upgrade)) return shared;
    const usedAfterMs = idempotent ? 0 : this.#client.frontend.context.deadlines.now - FRESH_MS;
    const upstream =
      pool!.config.sendProxy === undefined ? backend.takeIdle(usedAfterMs) : this.#takeOwn(usedAfterMs);
    if (upstream === undefined) return undefined;
    upstream.claim(this.#stream);
    return this.#stream.over(upstream);
  }

  /**
   * A place on a connection to the chosen backend that requests share. Its age does not matter: a backend of HTTP/2 tells
   * which requests it has not seen, when it closes one.
   *
   * @param upgrade as of `takeIdle`
   */
  takeShared(upgrade: boolean): BackendStream | undefined {
    const { backend, pool } = this.#attempts;
    if (backend.protocol === 'http/1.1' || upgrade) return undefined;
    const stream = this.#shared();
    return stream.take(backend, pool!.config) ? stream : undefined;
  }

  #shared(): MultiplexedStream {
    const { service, frontend } = this.#client;
    this.#multiplexed ??= service.newMultiplexed!(this.#user, frontend, this);
    return this.#multiplexed;
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

  /**
   * Begins a new connection to the chosen backend, or waits for one that others wait for as well.
   *
   * @param upgrade as of `takeIdle`
   * @returns undefined: the circuit breaker does not allow it
   */
  connect(upgrade: boolean): BackendStream | undefined {
    const client = this.#client;
    const { backend, pool } = this.#attempts;
    const { sendProxy, timeouts } = pool!.config;
    if (backend.protocol !== 'http/1.1' && !upgrade) return this.#connectShared();
    if (pool!.breaker.refusesConnection()) return undefined;
    const upstream = new Upstream(
      backend,
      this.#stream,
      client.frontend.context.deadlines,
      timeouts.connectMs,
      sendProxy && proxyHeader(sendProxy, this.#endpointsToTell()),
      backend.http1Tls ?? backend.tls,
    );
    this.#attempts.count(COUNTER.connects, 1);
    return this.#stream.over(upstream);
  }

  #connectShared(): BackendStream | undefined {
    const { backend, pool } = this.#attempts;
    const stream = this.#shared();
    if (stream.join(backend, pool!.config)) return stream;
    if (pool!.breaker.refusesConnection()) return undefined;
    stream.connect(backend, pool!.config);
    this.#attempts.count(COUNTER.connects, 1);
    return stream;
  }

  over(upstream: Upstream): BackendStream {
    upstream.user = this.#stream;
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

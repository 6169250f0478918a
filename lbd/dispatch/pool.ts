import { hashText, poolId } from '../../common/hash.ts';
import type { PoolConfig } from '../../common/model.ts';
import type { AnswerFacts, RequestFacts } from '../route/facts.ts';
import { cookieValue } from '../route/router.ts';
import type { SessionTable } from '../session/table.ts';
import { PoolLoads } from '../shared/pool-load.ts';
import { GATE_CLOSED, type SharedState, UNLIMITED } from '../shared/shared.ts';
import { FULL_SHARE } from '../shared/vitals.ts';
import type { Backend } from './backend.ts';
import { createBalancer } from './balancer/index.ts';
import type { Balancer, PoolView } from './balancer/types.ts';
import { PoolBreaker } from './pool-breaker.ts';
import type { PoolQueue } from './queue.ts';
import { stickCookie } from './stick-cookie.ts';

/**
 * A pool as a worker sees it: first what the client is stuck to, then the algorithm. The session table and the
 * shared memory are read in place; nothing here waits.
 */
export class Pool implements PoolView {
  readonly config: PoolConfig;
  readonly backends: readonly Backend[];
  readonly load: PoolLoads;
  readonly breaker: PoolBreaker;
  readonly #shared: SharedState;
  readonly #sessions: SessionTable;
  readonly #balancer: Balancer;
  readonly #id: number;
  readonly #indexOfId: ReadonlyMap<number, number>;
  readonly #indexOfName: ReadonlyMap<string, number>;
  readonly #cookies: readonly string[];
  readonly #secureCookies: readonly string[];
  /** Name of the cookie that is between lbd and its clients alone; empty: there is none. */
  readonly ownCookie: string;
  readonly #hashesSource: boolean;
  #tried: readonly number[] | undefined;
  readonly #limited: boolean;
  /** The host of a backend is a name, which may have no address yet. */
  readonly #byName: boolean;
  /** Of this pick, 0 to FULL_SHARE - 1: a backend in slow start takes part where its share is above it; -1: all do. */
  #luck = -1;
  /** Whether the last `choose` followed a stick rather than the algorithm. */
  stuck = false;
  /** Where a backend has `max_connections`; outlives this pool at a reload. */
  queue: PoolQueue | undefined;

  /** @param seed differs between workers, so that they do not all begin with the same backend */
  constructor(
    config: PoolConfig,
    backends: readonly Backend[],
    shared: SharedState,
    sessions: SessionTable,
    seed: number,
  ) {
    this.config = config;
    this.backends = backends;
    this.load = new PoolLoads(
      shared,
      backends.map(({ slot }) => slot),
    );
    this.breaker = new PoolBreaker(config.limits, this.load, backends, shared);
    this.#shared = shared;
    this.#sessions = sessions;
    this.#id = poolId(config.name);
    this.#indexOfId = new Map(backends.map((backend, index) => [backend.id, index]));
    this.#indexOfName = new Map(backends.map((backend, index) => [backend.name, index]));
    const stick = config.stick;
    const cookies = (isSecure: boolean) =>
      stick?.type === 'insert' ? backends.map(({ name }) => stickCookie(stick, name, isSecure)) : [];
    this.#cookies = cookies(false);
    this.#secureCookies = cookies(true);
    this.ownCookie = stick?.type === 'insert' && stick.attributes?.forward !== true ? stick.cookie : '';
    this.#limited = backends.some((backend) => backend.maxConnections !== UNLIMITED);
    this.#byName = backends.some(({ addressKey, reachable }) => addressKey !== undefined || !reachable);
    this.#hashesSource =
      config.algorithm === 'ip-hash' ||
      (config.algorithm === 'consistent-hash' && config.hash.key.from === 'source');
    this.#balancer = createBalancer(config.algorithm, this, { loadFactor: config.hash.loadFactor, seed });
  }

  get size(): number {
    return this.backends.length;
  }

  get generation(): number {
    return this.#shared.generation;
  }

  name(index: number): string {
    return this.backends[index]!.name;
  }

  available(index: number): boolean {
    return (
      this.#shared.eligible(this.backends[index]!.slot) &&
      !(this.#byName && !this.backends[index]!.reachable) &&
      !(this.#limited && this.#full(index)) &&
      (this.#luck < 0 || this.#luck < this.#shared.vitals.share(this.backends[index]!.slot)) &&
      (this.#tried === undefined || !this.#tried.includes(index))
    );
  }

  /** Whether the client of the last `choose` belongs to the backend that it found: it did, or does from now on. */
  get tied(): boolean {
    return this.stuck || this.config.stick?.type === 'source';
  }

  /** It has as many requests or connections as it may. */
  #full(index: number): boolean {
    const { slot, maxConnections } = this.backends[index]!;
    return maxConnections !== UNLIMITED && this.#shared.active(slot) >= maxConnections;
  }

  /** Where `choose` found no backend: whether one would take the client if it were not full. */
  get saturated(): boolean {
    return (
      this.#limited &&
      this.backends.some(({ slot }, index) => this.#shared.eligible(slot) && this.#full(index))
    );
  }

  /**
   * Counts a request or connection as in flight at the backend that `choose` picked. Pair `true` with one `leave`.
   *
   * @returns false: the backend is full, or somebody else waits for it; see `queue`
   */
  enter(index: number): boolean {
    const backend = this.backends[index]!;
    if (this.queue !== undefined) return this.queue.enter(backend, this.stuck);
    this.#shared.enter(backend.slot);
    return true;
  }

  /** A request or connection is no longer in flight; somebody who waits may go. */
  leave(slot: number): void {
    this.#shared.leave(slot);
    this.queue?.onLeft(slot);
  }

  weight(index: number): number {
    return this.#shared.weight(this.backends[index]!.slot);
  }

  active(index: number): number {
    return this.#shared.active(this.backends[index]!.slot);
  }

  latencyMs(index: number): number {
    return this.#shared.latencyMs(this.backends[index]!.slot);
  }

  /** The request's cookie that the stick rule looks at; undefined where it has none. */
  stickValue(request: RequestFacts): string | undefined {
    const stick = this.config.stick;
    return stick === undefined || stick.type === 'source' ? undefined : cookieOf(request, stick.cookie);
  }

  /** What the algorithm hashes, as an unsigned 32-bit number; 0 where it hashes nothing of the request. */
  hashKey(request: RequestFacts): number {
    if (this.config.algorithm !== 'consistent-hash') return 0;
    const key = this.config.hash.key;
    switch (key.from) {
      case 'path':
        return hashText(request.path);
      case 'header':
        return hashText(request.header(key.name) ?? '');
      case 'cookie':
        return hashText(cookieOf(request, key.name) ?? '');
      default:
        return 0;
    }
  }

  /**
   * Picks the backend of a new request or connection, and remembers it where the stick rule says so.
   *
   * @param address of the client
   * @param addressHash `hashText(address)`
   * @param stickValue from `stickValue`; undefined in `mode: tcp`
   * @param hashKey from `hashKey`; 0 in `mode: tcp`
   * @param tried indexes that failed for this request already
   * @returns index, or -1 where no backend takes it
   */
  choose(
    address: string,
    addressHash: number,
    stickValue: string | undefined,
    hashKey: number,
    tried: readonly number[] | undefined,
  ): number {
    const sticks = this.config.stick !== undefined;
    const stuckTo = sticks ? this.#stuckTo(address, stickValue, tried) : -1;
    this.stuck = stuckTo >= 0;
    if (this.stuck) return stuckTo;
    this.#tried = tried;
    const key = this.#hashesSource ? addressHash : hashKey;
    if (this.config.slowStartMs > 0) this.#luck = Math.floor(Math.random() * FULL_SHARE);
    let picked = this.#balancer.pick(key);
    if (this.#luck >= 0) {
      this.#luck = -1;
      // A backend in slow start is better than none.
      if (picked < 0) picked = this.#balancer.pick(key);
    }
    // `available` is asked between two choices as well, and what failed for this request is nothing to others.
    this.#tried = undefined;
    // The entry moves here too: the backend that it named is gone or has just failed.
    if (picked >= 0 && sticks) this.#stick(picked, address, stickValue);
    return picked;
  }

  /**
   * What `choose` would return now, and by which rule in words. Touches no session and moves no turn.
   *
   * @param address of the client; undefined: not known
   */
  peek(
    address: string | undefined,
    stickValue: string | undefined,
    hashKey: number,
  ): { index: number; by: string } {
    const { stick, algorithm } = this.config;
    if (address === undefined && (stick?.type === 'source' || this.#hashesSource))
      return { index: -1, by: 'it depends on the address of the client' };
    const named = stick === undefined ? -1 : this.#named(address ?? '', stickValue, false);
    const rule = stick?.type === 'source' ? `session of ${address}` : `cookie ${stick?.cookie}`;
    if (named >= 0 && this.#followed(named)) return { index: named, by: rule };
    const index = this.#balancer.peek(this.#hashesSource ? hashText(address!) : hashKey);
    // What slow start draws for each request nobody can foresee.
    const starting = this.config.slowStartMs > 0 && this.backends.some(({ slot }) => this.#starting(slot));
    const how = starting ? `${algorithm} (those in slow start get a part of their share)` : algorithm;
    if (stick === undefined) return { index, by: how };
    const missed = named < 0 ? `no ${rule}` : `${rule} names ${this.name(named)}, which takes no clients`;
    return { index, by: `${how}: ${missed}` };
  }

  #stuckTo(address: string, value: string | undefined, tried: readonly number[] | undefined): number {
    const index = this.#named(address, value, true);
    if (index < 0 || !this.#followed(index)) return -1;
    return tried?.includes(index) ? -1 : index;
  }

  /** Index of the backend that the stick rule names, whatever its state; -1: none. @param touch prolongs a session */
  #named(address: string, value: string | undefined, touch: boolean): number {
    const stick = this.config.stick!;
    if (stick.type === 'source') {
      const former = this.#formerly(address, stick.prefix6, touch ? stick.expireMs : undefined);
      if (former >= 0) return former;
      this.#sessions.keyOfSource(this.#id, address, stick.prefix6);
    } else if (value === undefined) return -1;
    else if (stick.type === 'insert') return this.#indexOfName.get(value) ?? -1;
    else this.#sessions.keyOfCookie(this.#id, value);
    const id = touch ? this.#sessions.lookup(stick.expireMs) : this.#sessions.peek();
    return this.#indexOfId.get(id) ?? -1;
  }

  /**
   * Releases that kept whole IPv6 addresses left sessions of them, in a table that outlives an upgrade of both nodes. Such
   * a client stays where it was, until its session ends or moves.
   *
   * @param expireMs prolongs the session; undefined: it does not
   */
  #formerly(address: string, prefix6: number, expireMs: number | undefined): number {
    if (prefix6 === 128 || !address.includes(':')) return -1;
    this.#sessions.keyOfSource(this.#id, address);
    const id = expireMs === undefined ? this.#sessions.peek() : this.#sessions.lookup(expireMs);
    return this.#indexOfId.get(id) ?? -1;
  }

  #starting(slot: number): boolean {
    return this.#shared.vitals.share(slot) < FULL_SHARE;
  }

  /** Whether clients that are stuck to a backend are sent there. */
  #followed(index: number): boolean {
    const backend = this.backends[index]!;
    return this.#shared.gate(backend.slot) !== GATE_CLOSED && backend.reachable;
  }

  #stick(index: number, address: string, value: string | undefined): void {
    const stick = this.config.stick!;
    if (stick.type === 'source') {
      if (this.#formerly(address, stick.prefix6, undefined) >= 0) this.#sessions.remove();
      this.#sessions.keyOfSource(this.#id, address, stick.prefix6);
      this.#sessions.store(this.backends[index]!.id, stick.expireMs);
    } else if (stick.type === 'learn' && value !== undefined) {
      // Only a session that is known moves; a cookie that a client made up is not worth an entry.
      this.#sessions.keyOfCookie(this.#id, value);
      if (this.#sessions.lookup(stick.expireMs) !== 0)
        this.#sessions.store(this.backends[index]!.id, stick.expireMs);
    }
  }

  /**
   * Value of the `Set-Cookie` for a client that was not stuck yet; empty where the pool inserts no cookie.
   *
   * @param scheme what the client spoke
   */
  cookieText(index: number, scheme: 'http' | 'https'): string {
    return (scheme === 'https' ? this.#secureCookies : this.#cookies)[index] ?? '';
  }

  /** Remembers the session cookie that a response sets, where the pool learns one. */
  learn(index: number, answer: AnswerFacts): void {
    const stick = this.config.stick;
    if (stick?.type !== 'learn') return;
    const value = answer.cookie(stick.cookie);
    if (value === undefined || value === '') return;
    this.#sessions.keyOfCookie(this.#id, value);
    this.#sessions.store(this.backends[index]!.id, stick.expireMs);
  }
}

function cookieOf(request: RequestFacts, name: string): string | undefined {
  const header = request.header('cookie');
  return header === undefined ? undefined : cookieValue(header, name);
}

import { hashText, poolId } from '../common/hash.ts';
import type { PoolConfig } from '../common/model.ts';
import type { Backend } from './backend.ts';
import { createBalancer } from './balancer/index.ts';
import type { Balancer, PoolView } from './balancer/types.ts';
import type { RequestHead } from './http/request-head.ts';
import type { ResponseHead } from './http/response-head.ts';
import { cookieValue } from './router.ts';
import type { SessionTable } from './session/table.ts';
import { GATE_CLOSED, type SharedState } from './shared.ts';

/**
 * A pool as a worker sees it: first what the client is stuck to, then the algorithm. The session table and the
 * shared memory are read in place; nothing here waits.
 */
export class Pool implements PoolView {
  readonly config: PoolConfig;
  readonly backends: readonly Backend[];
  readonly #shared: SharedState;
  readonly #sessions: SessionTable;
  readonly #balancer: Balancer;
  readonly #id: number;
  readonly #indexOfId: ReadonlyMap<number, number>;
  readonly #indexOfName: ReadonlyMap<string, number>;
  readonly #cookieLines: readonly string[];
  readonly #hashesSource: boolean;
  #tried: readonly number[] | undefined;
  /** Whether the last `choose` followed a stick rather than the algorithm. */
  stuck = false;

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
    this.#shared = shared;
    this.#sessions = sessions;
    this.#id = poolId(config.name);
    this.#indexOfId = new Map(backends.map((backend, index) => [backend.id, index]));
    this.#indexOfName = new Map(backends.map((backend, index) => [backend.name, index]));
    const stick = config.stick;
    this.#cookieLines =
      stick?.type === 'insert'
        ? backends.map(
            (backend) => `Set-Cookie: ${stick.cookie}=${backend.name}; Path=/; HttpOnly; SameSite=Lax\r\n`,
          )
        : [];
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
      (this.#tried === undefined || !this.#tried.includes(index))
    );
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
  stickValue(head: RequestHead): string | undefined {
    const stick = this.config.stick;
    return stick === undefined || stick.type === 'source' ? undefined : cookieOf(head, stick.cookie);
  }

  /** What the algorithm hashes, as an unsigned 32-bit number; 0 where it hashes nothing of the request. */
  hashKey(head: RequestHead): number {
    if (this.config.algorithm !== 'consistent-hash') return 0;
    const key = this.config.hash.key;
    switch (key.from) {
      case 'path':
        return hashText(head.path);
      case 'header':
        return hashText(head.header(key.name) ?? '');
      case 'cookie':
        return hashText(cookieOf(head, key.name) ?? '');
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
    const picked = this.#balancer.pick(this.#hashesSource ? addressHash : hashKey);
    // `available` is asked between two choices as well, and what failed for this request is nothing to others.
    this.#tried = undefined;
    // The entry moves here too: the backend that it named is gone or has just failed.
    if (picked >= 0 && sticks) this.#stick(picked, address, stickValue);
    return picked;
  }

  #stuckTo(address: string, value: string | undefined, tried: readonly number[] | undefined): number {
    const stick = this.config.stick!;
    let index: number | undefined;
    if (stick.type === 'source') {
      this.#sessions.keyOfSource(this.#id, address);
      index = this.#indexOfId.get(this.#sessions.lookup(stick.expireMs));
    } else if (value === undefined) return -1;
    else if (stick.type === 'insert') index = this.#indexOfName.get(value);
    else {
      this.#sessions.keyOfCookie(this.#id, value);
      index = this.#indexOfId.get(this.#sessions.lookup(stick.expireMs));
    }
    if (index === undefined || this.#shared.gate(this.backends[index]!.slot) === GATE_CLOSED) return -1;
    return tried?.includes(index) ? -1 : index;
  }

  #stick(index: number, address: string, value: string | undefined): void {
    const stick = this.config.stick!;
    if (stick.type === 'source') {
      this.#sessions.keyOfSource(this.#id, address);
      this.#sessions.store(this.backends[index]!.id, stick.expireMs);
    } else if (stick.type === 'learn' && value !== undefined) {
      // Only a session that is known moves; a cookie that a client made up is not worth an entry.
      this.#sessions.keyOfCookie(this.#id, value);
      if (this.#sessions.lookup(stick.expireMs) !== 0)
        this.#sessions.store(this.backends[index]!.id, stick.expireMs);
    }
  }

  /** The Set-Cookie line for a client that was not stuck yet; empty where the pool inserts no cookie. */
  cookieLine(index: number): string {
    return this.#cookieLines[index] ?? '';
  }

  /** Remembers the session cookie that a response sets, where the pool learns one. */
  learn(index: number, response: ResponseHead): void {
    const stick = this.config.stick;
    if (stick?.type !== 'learn') return;
    const value = response.cookie(stick.cookie);
    if (value === undefined || value === '') return;
    this.#sessions.keyOfCookie(this.#id, value);
    this.#sessions.store(this.backends[index]!.id, stick.expireMs);
  }
}

function cookieOf(head: RequestHead, name: string): string | undefined {
  const header = head.header('cookie');
  return header === undefined ? undefined : cookieValue(header, name);
}

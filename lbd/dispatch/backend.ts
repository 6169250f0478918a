import { isIP } from 'node:net';
import { formatEndpoint } from '../../common/address.ts';
import { backendId } from '../../common/hash.ts';
import type { BackendConfig } from '../../common/model.ts';
import type { PoolProtocol } from '../../common/protocols.ts';
import { addressKey } from '../shared/plan.ts';
import { GATE_CLOSED, type SharedState, UNLIMITED } from '../shared/shared.ts';
import { CONNECTIONS, PENDING } from '../shared/vitals.ts';
import type { BackendTls } from '../tls/backend-tls.ts';
import { AddressTurn } from './address-turn.ts';
import { SharedConnections } from './shared-connections.ts';
import type { Upstream, UpstreamBackend } from './upstream.ts';

/**
 * Connections of a worker that wait for what may come behind an answer; one more is closed. Whoever asks with HEAD all the
 * time costs a backend so many idle connections, and what is above some 30 requests a second a new connection each. A
 * backend that has kept to the rules so far saves nothing: what is behind its next answer may be another client's to choose.
 */
const MAX_WATCHED = 16;
/** Idle connections that a worker keeps to one backend; more are closed when their request is over. */
const MAX_IDLE = 1024;

/** One server of a pool, as a worker sees it: its row in the shared memory and its idle connections. */
export class Backend implements UpstreamBackend {
  readonly name: string;
  readonly port: number;
  /** Host and port, as in a Host field. */
  readonly authority: string;
  readonly slot: number;
  /** Identity in the session table. */
  readonly id: number;
  /** Requests or connections that it may have in flight; `UNLIMITED`: any number. A reload may change it. */
  maxConnections = UNLIMITED;
  /** How long what is open to it may go on once it is in no config any more. */
  drainTimeoutMs = 0;
  readonly tls: BackendTls | undefined;
  /** With `tls`: for a connection that has to speak HTTP/1.1. undefined: as `tls`. */
  readonly http1Tls: BackendTls | undefined;
  readonly protocol: PoolProtocol;
  /** Those that carry several requests at a time. */
  readonly shared = new SharedConnections();
  /** Of its addresses, where its host is a name; see `addressKey`. undefined: its host is its address. */
  readonly addressKey: string | undefined;
  readonly #addresses: AddressTurn;
  readonly #state: SharedState;
  readonly #idle: Upstream[] = [];
  readonly #watched: Upstream[] = [];
  #retired = false;

  constructor(
    pool: string,
    config: BackendConfig,
    slot: number,
    shared: SharedState,
    tls?: BackendTls,
    protocol: PoolProtocol = 'http/1.1',
    http1Tls?: BackendTls,
  ) {
    this.name = config.name;
    const { host, port } = config.address;
    const isName = isIP(host) === 0;
    this.port = port;
    this.authority = formatEndpoint(config.address);
    this.addressKey = isName ? addressKey(pool, config) : undefined;
    this.#addresses = new AddressTurn(isName ? [] : [host]);
    this.slot = slot;
    this.id = backendId(pool, config.name);
    this.#state = shared;
    this.tls = tls;
    this.protocol = protocol;
    this.http1Tls = http1Tls;
  }

  /** Its name has an address: always true of a host that is one. */
  get reachable(): boolean {
    return this.#addresses.all.length > 0;
  }

  /** Its host is at these IP addresses from now on. Idle connections to others are closed, busy ones when they are idle. */
  setAddresses(addresses: readonly string[]): void {
    if (!this.#addresses.replace(addresses)) return;
    for (const upstream of this.#idle.filter(({ address }) => !this.has(address))) upstream.destroy();
    this.shared.retire(({ address }) => !this.has(address));
  }

  /** Whether its host is still at this address. */
  has(address: string): boolean {
    return this.#addresses.all.includes(address);
  }

  nextAddress(): string {
    return this.#addresses.next();
  }

  failedAt(address: string): void {
    this.#addresses.failed(address);
  }

  /** What to put among those that were tried: `index`, or -1 where another of its addresses may still take the client. */
  triedAs(index: number): number {
    return this.#addresses.hasAlternative ? -1 : index;
  }

  connecting(): void {
    this.#state.vitals.begin(PENDING, this.slot);
    this.#state.vitals.begin(CONNECTIONS, this.slot);
  }

  connected(): void {
    this.#state.vitals.end(PENDING, this.slot);
  }

  disconnected(had: boolean): void {
    if (!had) this.#state.vitals.end(PENDING, this.slot);
    this.#state.vitals.end(CONNECTIONS, this.slot);
  }

  get idleCount(): number {
    return this.#idle.length;
  }

  /**
   * The idle connection used last, because it is the least likely to have been closed by the backend.
   *
   * @param usedAfterMs only one that was used after this coarse time
   */
  takeIdle(usedAfterMs: number): Upstream | undefined {
    if (this.#addresses.all.length > 1) return this.#takeInTurn(usedAfterMs);
    const last = this.#idle.at(-1);
    if (last === undefined || last.idleSinceMs < usedAfterMs) return undefined;
    return this.#idle.pop();
  }

  /** Clients that go over connections which are there already are spread over all addresses as well. */
  #takeInTurn(usedAfterMs: number): Upstream | undefined {
    const address = this.#addresses.peek();
    const at = this.#idle.findLastIndex((upstream) => upstream.address === address);
    if (at < 0 || this.#idle[at]!.idleSinceMs < usedAfterMs) return undefined;
    this.#addresses.next();
    return this.#idle.splice(at, 1)[0];
  }

  /** The address that a connection should lead to whose turn it is; undefined: any will do. */
  get wantedAddress(): string | undefined {
    return this.#addresses.all.length > 1 ? this.#addresses.peek() : undefined;
  }

  /** A request goes over a connection that was there already. */
  tookShared(): void {
    if (this.#addresses.all.length > 1) this.#addresses.next();
  }

  /** Whether a connection to this address may be kept while nobody uses it. */
  mayKeep(address: string): boolean {
    return !this.#retired && this.#state.gate(this.slot) !== GATE_CLOSED && this.has(address);
  }

  keepIdle(upstream: Upstream): boolean {
    if (this.#idle.length >= MAX_IDLE || !this.mayKeep(upstream.address)) return false;
    this.#idle.push(upstream);
    return true;
  }

  dropIdle(upstream: Upstream): void {
    const at = this.#idle.lastIndexOf(upstream);
    if (at >= 0) this.#idle.splice(at, 1);
  }

  /**
   * A connection may have more to come behind its last answer: nobody gets it before that has had its time.
   *
   * @returns false: too many wait already, and the caller closes it; else `watchEnded` has to follow
   */
  watch(upstream: Upstream): boolean {
    if (this.#watched.length >= MAX_WATCHED) return false;
    this.#watched.push(upstream);
    return true;
  }

  watchEnded(upstream: Upstream): void {
    this.#watched.splice(this.#watched.indexOf(upstream), 1);
  }

  /** Closes the idle connection that was not used for the longest time. @returns false: there is none */
  dropOldest(): boolean {
    const oldest = this.#idle[0] ?? this.#watched[0];
    if (oldest === undefined) return this.shared.dropIdle();
    oldest.destroy();
    return true;
  }

  /** Closes the idle connections, and from now on each one whose request is over. */
  retire(): void {
    this.#retired = true;
    for (const upstream of this.#idle.splice(0)) upstream.destroy();
    this.shared.retire();
  }
}

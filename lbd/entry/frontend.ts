import type { FrontendConfig } from '../../common/model.ts';
import type { Pool } from '../dispatch/pool.ts';
import type { Deadlines } from '../io/deadlines.ts';
import type { AccessLogs } from '../log/access-logs.ts';
import type { AccessRecord } from '../log/access-record.ts';
import type { Cause } from '../log/cause.ts';
import { hostMatches } from '../route/router.ts';
import { FRONTEND_COUNTERS, type FrontendCounter, type SharedState } from '../shared/shared.ts';
import type { Terminator } from '../tls/terminator.ts';
import { LineRate } from './line-rate.ts';
import { NetworkSet } from './network-set.ts';

const COUNTER = Object.fromEntries(FRONTEND_COUNTERS.map((name, index) => [name, index])) as Readonly<
  Record<FrontendCounter, number>
>;

/** What all connections of a worker share. */
export interface WorkerContext {
  readonly shared: SharedState;
  readonly deadlines: Deadlines;
  /** How frontends of this lbd call themselves, with their name behind it: unlike that of any other load balancer; the nodes of a pair share it. */
  readonly loopId: string;
  /** A request id that no other worker, node or start of lbd gives out. */
  nextRequestId(): string;
  /** Undefined: there are none, as in a test. */
  readonly accessLogs?: AccessLogs;
  /** Counts and logs that a client has as many connections or requests as one may; undefined as in a test. */
  readonly refuseSource?: (frontend: Frontend, address: string) => void;
  /** Set when the worker stops: no connection is kept alive any more. */
  stopping: boolean;
  /** Set while this node gives up the active role: a connection is closed after its next answer. */
  retiring: boolean;
}

/**
 * A frontend as a worker sees it. Config and pools are replaced at a reload; connections hold the frontend, so
 * that their next request already sees the new ones.
 */
export class Frontend {
  readonly name: string;
  readonly row: number;
  readonly context: WorkerContext;
  config: FrontendConfig;
  readonly #proxies = new NetworkSet();
  readonly #trusted = new NetworkSet();
  /** By index of the route. */
  routePools: readonly Pool[];
  pool: Pool | undefined;
  /** No config has it any more. */
  gone = false;
  /** Takes the TLS off; undefined where there is none. */
  terminator: Terminator | undefined;
  readonly #floods = new LineRate();

  constructor(
    row: number,
    context: WorkerContext,
    config: FrontendConfig,
    routePools: readonly Pool[],
    pool: Pool | undefined,
  ) {
    this.name = config.name;
    this.row = row;
    this.context = context;
    this.config = config;
    this.routePools = routePools;
    this.pool = pool;
  }

  /** No connection is kept alive any more: each one ends with its next answer. */
  get closes(): boolean {
    return this.gone || this.context.stopping || this.context.retiring;
  }

  count(counter: FrontendCounter, by: number): void {
    this.context.shared.countFrontend(this.row, COUNTER[counter], by);
  }

  /** Lets one more client in, if that is not over the limit of all workers. Pair `true` with one `leave`. */
  enter(): boolean {
    return this.context.shared.claim(this.row, this.config.maxConnections);
  }

  /** A client that was let in is gone. */
  leave(): void {
    this.context.shared.release(this.row);
  }

  /** Whether a peer begins its connections with a PROXY header. */
  fromProxy(address: string): boolean {
    return this.#proxies.has(this.config.acceptProxy, address);
  }

  /** Whether a peer is believed who its clients are. */
  trusts(address: string): boolean {
    const { trustedProxies } = this.config;
    return trustedProxies !== undefined && this.#trusted.has(trustedProxies, address);
  }

  /** Pool of a connection whose ClientHello names this server; empty: it names none. */
  poolForName(serverName: string): Pool | undefined {
    if (serverName === '') return this.pool;
    const name = serverName.endsWith('.') ? serverName.slice(0, -1) : serverName;
    const route = this.config.routes.findIndex(({ match }) => hostMatches(match.sni ?? [], name));
    return route < 0 ? this.pool : this.routePools[route];
  }

  /** What the access log will say about the next request of a connection; undefined where there is no log. */
  record(known: AccessRecord | undefined, client: string): AccessRecord | undefined {
    const { accessLog, mode } = this.config;
    if (accessLog === undefined) return undefined;
    return this.context.accessLogs?.record(known, accessLog, this.name, client, mode === 'http');
  }

  /** A line of the access log about a client that was turned away before it could ask for anything. */
  logRefusal(client: string, cause: Cause, status: number): void {
    const record = this.record(undefined, client);
    record?.begin();
    record?.fault(cause, status);
    record?.end();
  }

  /**
   * As `logRefusal`, but at most so many a second: what anybody can cause for nothing, or in the name of others, must
   * not fill a disk. All of it is counted.
   *
   * @param tlsMs what a handshake took
   * @param reason what the cause leaves open
   */
  logFlood(client: string, cause: Cause, tlsMs = 0, reason = ''): void {
    if (this.config.accessLog === undefined || !this.#floods.allows(this.context.deadlines.now)) return;
    const record = this.record(undefined, client);
    record?.begin(tlsMs);
    record?.fault(cause, 0, reason);
    record?.end();
  }
}

import type { FrontendConfig } from '../common/model.ts';
import type { Deadlines } from './deadlines.ts';
import type { RequestHead } from './http/request-head.ts';
import type { ResponseHead } from './http/response-head.ts';
import type { Pool } from './pool.ts';
import type { Router } from './router.ts';
import { FRONTEND_COUNTERS, type FrontendCounter, type SharedState } from './shared.ts';

const COUNTER = Object.fromEntries(FRONTEND_COUNTERS.map((name, index) => [name, index])) as Readonly<
  Record<FrontendCounter, number>
>;

/** What all connections of a worker share. */
export interface WorkerContext {
  readonly shared: SharedState;
  readonly deadlines: Deadlines;
  /** Scratch: a head is parsed and used within one read callback. */
  readonly requestHead: RequestHead;
  readonly responseHead: ResponseHead;
  /** A request id that no other worker, node or start of lbd gives out. */
  nextRequestId(): string;
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
  router: Router;
  /** By index of the route. */
  routePools: readonly Pool[];
  pool: Pool | undefined;

  constructor(
    row: number,
    context: WorkerContext,
    config: FrontendConfig,
    router: Router,
    routePools: readonly Pool[],
    pool: Pool | undefined,
  ) {
    this.name = config.name;
    this.row = row;
    this.context = context;
    this.config = config;
    this.router = router;
    this.routePools = routePools;
    this.pool = pool;
  }

  count(counter: FrontendCounter, by: number): void {
    this.context.shared.countFrontend(this.row, COUNTER[counter], by);
  }

  /** Whether one more client connection is over the limit; counted over all workers. */
  full(): boolean {
    return this.context.shared.frontendCounter(this.row, 'connections') >= this.config.maxConnections;
  }

  /** Pool of a request. */
  poolFor(head: RequestHead): Pool | undefined {
    if (this.routePools.length === 0) return this.pool;
    const route = this.router.route(head);
    return route < 0 ? this.pool : this.routePools[route];
  }
}

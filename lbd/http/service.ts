import type { Frontend } from '../entry/frontend.ts';
import { NO_ROUTE } from '../log/refusal.ts';
import { compileRoutes, type Router } from '../route/router.ts';
import type { NewBackendStream, NewMultiplexedStream } from './backend-stream.ts';
import { adds } from './forwarded-fields.ts';
import type { HttpRequest } from './model.ts';
import { ForwardedPolicy } from './policy/forwarded.ts';
import { HstsPolicy } from './policy/hsts.ts';
import { IdentityPolicy } from './policy/identity.ts';
import { LoopEndPolicy, LoopMarkPolicy } from './policy/loop.ts';
import { type Policy, PolicySet } from './policy/policy.ts';
import { RequestIdPolicy } from './policy/request-id.ts';
import { answerTarget, poolTarget, redirectTarget, type Target } from './target.ts';

/**
 * What a frontend of `mode: http` does with requests: its routes, where each of them leads, and its policies. Made anew in
 * place when a plan is applied; connections hold it, so that their next request sees the new ones.
 */
export class HttpService {
  readonly frontend: Frontend;
  readonly newStream: NewBackendStream;
  readonly newMultiplexed: NewMultiplexedStream | undefined;
  /** What meets every request before it has a route: what routes look at is what its backend would get. */
  entry: PolicySet = new PolicySet([]);
  /** Fields that tell backends who a client is, and that no client may send; undefined: none. */
  reserved: ReadonlySet<string> | undefined;
  /** What meets every answer that is not of a pool. */
  rest: PolicySet = new PolicySet([]);
  router: Router;
  /** By index of the route. */
  #targets: readonly Target[] = [];
  #rest: Target;

  /**
   * @param reserved see `reservedFields`
   * @param newMultiplexed for pools whose `protocol` is not HTTP/1.1
   */
  constructor(
    frontend: Frontend,
    newStream: NewBackendStream,
    reserved: ReadonlySet<string> | undefined,
    newMultiplexed?: NewMultiplexedStream,
  ) {
    this.frontend = frontend;
    this.newStream = newStream;
    this.newMultiplexed = newMultiplexed;
    this.router = compileRoutes([], undefined);
    this.#rest = answerTarget(NO_ROUTE);
    this.compile(reserved);
  }

  /** The frontend has another config, or other pools. */
  compile(reserved: ReadonlySet<string> | undefined): void {
    const { config, context, routePools, pool } = this.frontend;
    const loopId = `${context.loopId}.${config.name}`;
    this.reserved = reserved;
    this.entry = new PolicySet([
      new LoopEndPolicy(loopId),
      new ForwardedPolicy(config),
      ...(reserved === undefined ? [] : [new IdentityPolicy(reserved)]),
    ]);
    const shared: Policy[] = [
      ...(adds(config, 'X-Request-Id') ? [new RequestIdPolicy()] : []),
      ...(adds(config, 'CDN-Loop') ? [new LoopMarkPolicy(loopId, config)] : []),
      ...(config.hsts === undefined ? [] : [new HstsPolicy(config.hsts)]),
    ];
    this.rest = new PolicySet(shared);
    this.router = compileRoutes(config.routes, config.pool);
    this.#targets = routePools.map((it, route) => poolTarget(route, it, shared));
    if (pool !== undefined) this.#rest = poolTarget(-1, pool, shared);
    else
      this.#rest = config.redirect === undefined ? answerTarget(NO_ROUTE) : redirectTarget(config.redirect);
  }

  targetFor(request: HttpRequest): Target {
    const route = this.#targets.length === 0 ? -1 : this.router.route(request);
    return route < 0 ? this.#rest : this.#targets[route]!;
  }
}

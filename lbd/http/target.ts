import type { PoolConfig } from '../../common/model.ts';
import type { RedirectConfig } from '../../common/tls-config.ts';
import type { Pool } from '../dispatch/pool.ts';
import { NO_HOST, type Refusal } from '../log/refusal.ts';
import type { HttpRequest } from './model.ts';
import { type OwnAnswer, redirectAnswer, refusalAnswer } from './own-answer.ts';
import { type Policy, type PolicyClient, PolicySet } from './policy/policy.ts';
import { StickCookiePolicy } from './policy/stick-cookie.ts';
import { httpsLocation } from './redirect.ts';

/** Where a route leads, compiled when a plan is applied: to a pool, or to an answer of lbd's own. */
export type Target = PoolTarget | AnswerTarget;

export interface PoolTarget {
  /** Index in the config; -1: no route, but the frontend's own pool. */
  readonly route: number;
  readonly pool: Pool;
  readonly policies: PolicySet;
  readonly timeouts: PoolConfig['timeouts'];
  readonly retry: PoolConfig['retry'];
}

export interface AnswerTarget {
  readonly pool: undefined;
  answer(request: HttpRequest, client: PolicyClient): OwnAnswer;
}

/** @param shared policies of the frontend for whatever goes to a backend */
export function poolTarget(route: number, pool: Pool, shared: readonly Policy[]): PoolTarget {
  const { stick, timeouts, retry } = pool.config;
  const policies = stick?.type === 'insert' ? [new StickCookiePolicy(pool), ...shared] : shared;
  return { route, pool, policies: new PolicySet(policies), timeouts, retry };
}

export function answerTarget(refusal: Refusal): AnswerTarget {
  return { pool: undefined, answer: (_request, { requestId }) => refusalAnswer(refusal, requestId) };
}

export function redirectTarget(redirect: RedirectConfig): AnswerTarget {
  return {
    pool: undefined,
    answer: (request, { requestId }) => {
      const location = httpsLocation(request, redirect);
      return location === undefined
        ? refusalAnswer(NO_HOST, requestId)
        : redirectAnswer(redirect.status, location, requestId);
    },
  };
}

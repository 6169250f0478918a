import type { ExplainQuery } from '../../common/control.ts';
import type { Pool } from '../dispatch/pool.ts';
import type { Frontend } from '../entry/frontend.ts';
import { Asker } from '../http/asker.ts';
import { RequestHead } from '../http/h1/request-head.ts';
import { MAX_FIELDS } from '../http/h1/scratch.ts';
import type { OwnAnswer } from '../http/own-answer.ts';
import type { PolicyClient, PolicySet } from '../http/policy/policy.ts';
import type { HttpService } from '../http/service.ts';
import { hostMatches } from '../route/router.ts';
import { brokenBy } from '../shared/circuit.ts';
import { UNLIMITED } from '../shared/shared.ts';
import type { WorkerExplanation } from '../shared/worker-explanation.ts';

/**
 * What would become of a request that a frontend gets now. Runs the parser, the router and the pool that serve, and
 * changes nothing: no session begins or lives longer, no turn is taken, nothing is counted.
 */
export function explain(
  frontend: Frontend,
  service: HttpService | undefined,
  query: ExplainQuery,
): WorkerExplanation {
  const nothing = { frontend: frontend.name, mode: frontend.config.mode, answer: undefined, routes: [] };
  if (service === undefined || frontend.config.mode !== 'http') return explainBytes(frontend, nothing, query);
  const { limits } = frontend.config;
  const bytes = Buffer.from(headOf(query), 'latin1');
  const head = new RequestHead(MAX_FIELDS);
  const size = head.parse(bytes, 0, bytes.length, limits.fields);
  if (size < 0) return refused(nothing, head.status, head.fault);
  if (bytes.length > limits.headBytes) return refused(nothing, 431, 'head too large');
  const scheme = frontend.terminator === undefined ? 'http' : 'https';
  const asker = new Asker(frontend, { address: query.source ?? '', scheme, identity: undefined });
  asker.identify(head, undefined);
  head.scheme = asker.scheme;
  const client = { asker, requestId: '' };
  const first = explained(service.entry, head, client);
  if (first !== undefined) return refused(nothing, first.status, causeOf(first));
  const routes = service.router.explain(head).map((verdict) => ({
    ...verdict,
    pool: service.router.pool(verdict.route),
  }));
  const target = service.targetFor(head);
  if (target.pool === undefined) {
    const answer = target.answer(head, client);
    return { ...refused(nothing, answer.status, causeOf(answer)), routes };
  }
  const { pool } = target;
  const own = explained(target.policies, head, client);
  const broken = brokenBy(pool.config.limits, pool.load, ['requests']);
  const full = broken && {
    status: 503,
    cause: `the pool has its limits.requests ${pool.config.limits.requests}`,
  };
  const answer = own === undefined ? full : { status: own.status, cause: causeOf(own) };
  return { ...nothing, routes, ...inPool(pool, head, { source: asker.address || undefined }), answer };
}

/** The answer that a policy would give. */
function explained({ onRequest }: PolicySet, head: RequestHead, client: PolicyClient): OwnAnswer | undefined {
  for (const policy of onRequest) {
    const answer =
      policy.explain === undefined ? policy.onRequest(head, client) : policy.explain(head, client);
    if (answer !== undefined) return answer;
  }
  return undefined;
}

/** Why lbd answers itself, in words, or where the client is sent to. */
function causeOf({ status, fields, body }: OwnAnswer): string {
  const location = fields.find(({ name }) => name.lower === 'location')?.value;
  return location === undefined
    ? body
        .trim()
        .replace(`${status} `, '')
        .replace(/^[^:]*: /, '')
    : `redirect to ${location}`;
}

/** A connection that is relayed unread. With `tls: passthrough` the host of the query is the name in the ClientHello. */
function explainBytes(frontend: Frontend, nothing: Answered, query: ExplainQuery): WorkerExplanation {
  const { tls, routes } = frontend.config;
  if (tls?.mode !== 'passthrough') return { ...nothing, ...inPool(frontend.pool, undefined, query) };
  const host = query.headers.find(([name]) => name.toLowerCase() === 'host')?.[1] ?? '';
  const name = host.replace(/:\d*$/, '').toLowerCase();
  const tried: WorkerExplanation['routes'][number][] = [];
  for (const [route, { match, pool }] of routes.entries()) {
    const names = match.sni ?? [];
    const matched = name !== '' && hostMatches(names, name);
    const failed = matched ? '' : `server name ${JSON.stringify(name)} is not ${names.join(', ')}`;
    tried.push({ route, pool, matched, failed });
    if (matched) break;
  }
  return { ...nothing, routes: tried, ...inPool(frontend.poolForName(name), undefined, query) };
}

type Answered = Pick<WorkerExplanation, 'frontend' | 'mode' | 'answer' | 'routes'>;

function refused(nothing: Answered, status: number, cause: string): WorkerExplanation {
  return { ...nothing, answer: { status, cause }, ...inPool(undefined, undefined, undefined) };
}

/** @param head undefined: bytes that nobody reads, as in `mode: tcp` */
function inPool(
  pool: Pool | undefined,
  head: RequestHead | undefined,
  query: Pick<ExplainQuery, 'source'> | undefined,
): Pick<WorkerExplanation, 'pool' | 'algorithm' | 'candidates' | 'pick'> {
  if (pool === undefined) return { pool: undefined, algorithm: undefined, candidates: [], pick: undefined };
  const { index, by } = pool.peek(
    query?.source,
    head && pool.stickValue(head),
    head === undefined ? 0 : pool.hashKey(head),
  );
  return {
    pool: pool.config.name,
    algorithm: pool.config.algorithm,
    candidates: pool.backends.map(({ name }, at) => ({
      backend: name,
      available: pool.available(at),
      weight: pool.weight(at),
      active: pool.active(at),
      latency_ms: Math.round(pool.latencyMs(at) * 1000) / 1000,
      full: fullText(pool, at),
    })),
    pick: { backend: index < 0 ? undefined : pool.name(index), by },
  };
}

function fullText(pool: Pool, at: number): string {
  const { maxConnections } = pool.backends[at]!;
  if (maxConnections === UNLIMITED || pool.active(at) < maxConnections) return '';
  return `it has its max_connections ${maxConnections}`;
}

function headOf({ method, target, headers }: ExplainQuery): string {
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

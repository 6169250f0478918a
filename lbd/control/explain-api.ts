import type { ExplainQuery, Explanation } from '../../common/control.ts';
import { ControlError, type ControlRoute } from '../../common/control-server.ts';
import type { Config, FrontendConfig } from '../../common/model.ts';
import { noSuch } from '../../common/suggest.ts';
import type { WorkerExplanation } from '../shared/worker-explanation.ts';
import type { Backends } from './care/backends.ts';
import type { Supervisor } from './supervisor.ts';

export interface ExplainApi {
  config(): Config;
  /** Asks the workers. */
  readonly ask: Supervisor['explain'];
  readonly status: Backends['status'];
  /** Undefined for mode http. */
  engine?(frontend: string): Explanation['engine'];
  /** Why its TLS serves nothing, one line each. */
  unserved(frontend: string): readonly string[];
}

/** `POST /v1/explain`: an `ExplainQuery`, with `frontend` (a name) or `port` where the config has several. */
export function explainRoute(api: ExplainApi): ControlRoute {
  return {
    method: 'POST',
    path: '/v1/explain',
    handle: async ({ body }): Promise<Explanation> => {
      const asked = fieldsOf(body);
      const query = queryOf(asked);
      const frontend = frontendOf(api.config().frontends, asked);
      const answers = await api.ask(frontend.name, query);
      if (answers.length === 0) throw new ControlError(503, 'no worker answered');
      const engine = api.engine?.(frontend.name);
      const unserved = api.unserved(frontend.name);
      const explanation = { ...merge(answers, api.status), engine, unserved };
      // The kernel's turn is not the workers'.
      const isTheirs = engine?.engine !== 'kernel' && unserved.length === 0;
      return isTheirs ? explanation : { ...explanation, picks: [] };
    },
  };
}

/** One answer of all workers, which differ only where each takes turns of its own. */
export function merge(
  answers: readonly { readonly worker: number; readonly explanation: WorkerExplanation }[],
  status: (id: string) => Pick<Explanation['candidates'][number], 'state' | 'why'>,
): Explanation {
  const { pick: _pick, candidates, ...rest } = answers[0]!.explanation;
  return {
    ...rest,
    candidates: candidates.map(({ full, ...candidate }) => {
      const { state, why } = status(`${rest.pool}/${candidate.backend}`);
      return { ...candidate, state, why: full === '' ? why : full };
    }),
    picks: answers.flatMap(({ worker, explanation: { pick } }) =>
      pick === undefined ? [] : [{ worker, ...pick }],
    ),
  };
}

function fieldsOf(body: unknown): Readonly<Record<string, unknown>> {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new ControlError(400, 'expected a JSON object with "method", "target" and "headers"');
  return body as Record<string, unknown>;
}

function queryOf({ method, target, headers, source }: Readonly<Record<string, unknown>>): ExplainQuery {
  if (!isLine(method)) throw new ControlError(400, 'method: expected a text without line breaks');
  if (!isLine(target)) throw new ControlError(400, 'target: expected a text without line breaks');
  if (!Array.isArray(headers) || !headers.every(isField))
    throw new ControlError(400, 'headers: expected a list of [name, value] without line breaks');
  if (source !== undefined && !isLine(source)) throw new ControlError(400, 'source: expected an IP address');
  return { method, target, headers, source };
}

function isLine(value: unknown): value is string {
  return typeof value === 'string' && !/[\r\n]/.test(value);
}

function isField(value: unknown): value is [string, string] {
  return Array.isArray(value) && value.length === 2 && value.every(isLine);
}

/** The frontend by name, else the one that listens on the port; for a path alone the only one of mode http. */
function frontendOf(
  frontends: readonly FrontendConfig[],
  { frontend: name, port }: Readonly<Record<string, unknown>>,
): FrontendConfig {
  const names = frontends.map((it) => it.name);
  if (name !== undefined) {
    const named = frontends.find((it) => it.name === name);
    if (named !== undefined) return named;
    throw new ControlError(404, noSuch('frontend', String(name), names));
  }
  const [found, ...others] = frontends.filter(
    port === undefined
      ? ({ mode }) => mode === 'http'
      : ({ mode, bind }) => mode !== 'udp' && bind.some((address) => address.port === port),
  );
  if (found !== undefined && others.length === 0) return found;
  const [none, several] =
    port === undefined
      ? ['no frontend has mode http', 'a path alone']
      : [`no frontend takes port ${port}`, `port ${port}`];
  const why = found === undefined ? none : `${several} does not tell which frontend`;
  throw new ControlError(404, `${why}; name one of ${names.join(', ')}`);
}

import type { ExplainedPick, Explanation } from '../../common/control.ts';
import { printableAll } from '../../common/printable.ts';
import { latencyText, paint, table } from './format.ts';

/** Body of `POST /v1/explain`. */
export interface ExplainRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Port of the URL, which tells the frontend where there are several. */
  readonly port: number | undefined;
}

/**
 * A request as a client would send it. The target stays as it was typed: dot segments and escapes decide about routes.
 *
 * @param url `http://HOST[:PORT]/PATH`, or a path where the headers have a Host
 * @param headers `NAME: VALUE` each
 * @returns undefined for what is no URL or no header
 */
export function explainRequest(
  method: string,
  url: string,
  headers: readonly string[],
): ExplainRequest | undefined {
  const [, scheme, authority = '', rest = ''] = /^(?:(https?):\/\/([^/?#]+))?([^#]*)/i.exec(url) ?? [];
  const fields = headers.map((line) => /^([^:]+):[ \t]*(.*)$/.exec(line));
  if ((scheme === undefined && rest === '') || fields.includes(null)) return undefined;
  const lines = fields.map((field): [string, string] => [field![1]!, field![2]!]);
  const hasHost = lines.some(([name]) => name.toLowerCase() === 'host');
  const target = rest.startsWith('/') || rest === '*' || scheme === undefined ? rest : `/${rest}`;
  const written = /:(\d+)$/.exec(authority)?.[1];
  const usual = scheme?.toLowerCase() === 'https' ? 443 : 80;
  return {
    method,
    target,
    headers: scheme === undefined || hasHost ? lines : [['Host', authority], ...lines],
    port: written !== undefined ? Number(written) : scheme === undefined ? undefined : usual,
  };
}

/** For people: the routes tried, the candidates, the pick. */
export function explanationText(explanation: Explanation): string {
  const shown = printableAll(explanation);
  const { frontend, mode, engine, unserved = [], routes, pool, algorithm, candidates, answer } = shown;
  const lines = [fact('frontend', `${frontend} · ${mode}`)];
  if (engine !== undefined) lines.push(fact('engine', `${engine.engine} · ${engine.why}`));
  for (const why of unserved) lines.push(fact('tls', paint('yellow', why)));
  for (const { route, pool, matched, failed } of routes) {
    const verdict = matched ? paint('green', 'matches') : failed;
    lines.push(fact(`route ${route}`, `${pool === undefined ? '' : `→ ${pool} · `}${verdict}`));
  }
  const unmatched = routes.length > 0 && !routes.some((route) => route.matched);
  if (pool !== undefined)
    lines.push(fact('pool', `${pool} · ${algorithm}${unmatched ? ' · no route matches' : ''}`));
  if (candidates.length > 0)
    lines.push(
      table(
        ['BACKEND', 'STATE', 'TAKES', 'WEIGHT', 'ACTIVE', 'LATENCY', 'WHY'],
        candidates.map((it) => [
          it.backend,
          it.state,
          it.available ? 'yes' : paint('yellow', 'no'),
          `${it.weight}`,
          `${it.active}`,
          latencyText(it.latency_ms),
          it.why,
        ]),
      ),
    );
  if (answer !== undefined) lines.push(fact('answer', `${answer.status} of lbd itself: ${answer.cause}`));
  else lines.push(...pickLines(shown.picks));
  return lines.join('\n');
}

/** One line where all workers agree. */
function pickLines(picks: readonly ExplainedPick[]): string[] {
  const verdict = ({ backend, by }: ExplainedPick) => `${paint('bold', backend ?? 'nobody')} · ${by}`;
  const [first] = picks;
  if (first === undefined) return [];
  if (picks.every((pick) => verdict(pick) === verdict(first))) return [fact('pick', verdict(first))];
  return picks.map((pick) => fact('pick', `${verdict(pick)} · in worker ${pick.worker}`));
}

function fact(name: string, value: string): string {
  return `${paint('dim', name.padEnd(9))} ${value}`;
}

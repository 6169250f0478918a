import type { ConfigProblem } from './errors.ts';
import { problem, show } from './problems.ts';
import type { Path, Source } from './source.ts';
import { didYouMean } from './suggest.ts';

type Mapping = Readonly<Record<string, unknown>>;

/**
 * Checks that every name points somewhere. Works on the raw values and skips what has the wrong kind, so that
 * a typo in one place does not hide a dangling name in another.
 */
export function checkReferences(source: Source): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const root = asMapping(source.value);
  const pools = Object.keys(asMapping(root.pools));
  const nodes = Object.keys(asMapping(asMapping(root.cluster).nodes));

  const expectOneOf = (
    path: Path,
    name: unknown,
    what: string,
    known: readonly string[],
    at: 'key' | 'value',
  ) => {
    if (typeof name !== 'string' || known.includes(name)) return;
    const hint = didYouMean(name, known) || listOf(known);
    problems.push(problem(source, path, `there is no ${what} ${show(name)}${hint}`, at));
  };

  for (const [name, raw] of Object.entries(asMapping(root.frontends))) {
    const frontend = asMapping(raw);
    expectOneOf(['frontends', name, 'pool'], frontend.pool, 'pool', pools, 'value');
    const routes = Array.isArray(frontend.routes) ? frontend.routes : [];
    for (const [i, route] of routes.entries())
      expectOneOf(['frontends', name, 'routes', i, 'pool'], asMapping(route).pool, 'pool', pools, 'value');
  }
  if (root.cluster !== undefined)
    for (const path of priorityPaths(asMapping(root.ha)))
      expectOneOf(path, path.at(-1), 'node', nodes, 'key');
  return problems;
}

/** Where the names of nodes are keys. */
function priorityPaths(ha: Mapping): string[][] {
  const names = (at: Mapping) => Object.keys(asMapping(at.priority));
  return [
    ...names(ha).map((node) => ['ha', 'priority', node]),
    ...Object.entries(asMapping(ha.groups)).flatMap(([group, at]) =>
      names(asMapping(at)).map((node) => ['ha', 'groups', group, 'priority', node]),
    ),
  ];
}

function asMapping(value: unknown): Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Mapping) : {};
}

function listOf(known: readonly string[]): string {
  if (known.length === 0) return ', none is defined';
  return `, there ${known.length === 1 ? 'is' : 'are'} ${known.slice(0, 16).join(', ')}`;
}

import { canonicalIp } from '../../common/address.ts';
import type { MatchConfig, NamedMatch, RouteConfig, TextMatch } from '../../common/model.ts';
import type { RequestFacts } from './facts.ts';
import { LinearRegex } from './linear-regex.ts';
import { matchedPath, plainPath } from './route-path.ts';

/** What `explain` says about one route. */
export interface RouteVerdict {
  /** Index in the config. */
  readonly route: number;
  readonly matched: boolean;
  /** The first condition that does not hold, in words; empty when matched. Never quotes a field or cookie. */
  readonly failed: string;
}

interface Condition {
  holds(facts: RequestFacts, host: string, path: string): boolean;
  /** Why it does not hold. */
  explain(facts: RequestFacts, host: string, path: string): string;
}

interface Route {
  readonly index: number;
  /** Code of the character behind the first slash of all paths that match; -1: not one alone. */
  readonly second: number;
  readonly conditions: readonly Condition[];
}

/**
 * Routes of one frontend, compiled once. First match wins. Paths are matched in a normal form, see
 * `matchedPath`; hosts without the root's dot at their end.
 */
export class Router {
  readonly #routes: readonly Route[];
  readonly #pools: readonly string[];
  readonly #fallback: string | undefined;
  /** Some route does; else it costs nothing. */
  readonly #asksHost: boolean;
  /** Candidates for hosts that some route names in full. */
  readonly #byHost: ReadonlyMap<string, readonly Route[]>;
  /** Candidates for all other hosts. */
  readonly #others: readonly Route[];

  constructor(configs: readonly RouteConfig[], fallback: string | undefined) {
    this.#routes = configs.map(({ match }, index) => ({
      index,
      second: secondOf(match),
      conditions: conditionsOf(match),
    }));
    this.#pools = configs.map(({ pool }) => pool);
    this.#fallback = fallback;
    this.#asksHost = configs.some(({ match }) => match.hosts.length > 0);
    const exact = new Set(configs.flatMap(({ match }) => match.hosts).filter((host) => !isWildcard(host)));
    const candidates = (host: string) =>
      this.#routes.filter(({ index }) => hostMatches(configs[index]!.match.hosts, host));
    this.#byHost = new Map([...exact].map((host) => [host, candidates(host)]));
    this.#others = this.#routes.filter(({ index }) => {
      const { hosts } = configs[index]!.match;
      return hosts.length === 0 || hosts.some(isWildcard);
    });
  }

  /** @returns index of the first route that matches; -1: none, so the frontend's own pool */
  route(facts: RequestFacts): number {
    if (this.#routes.length === 0) return -1;
    const host = this.#asksHost ? plainHost(facts.host) : '';
    const path = facts.plainPath === true ? facts.path : matchedPath(facts.path);
    const found = path.length > 1 ? path.charCodeAt(1) : -1;
    for (const { index, second, conditions } of this.#byHost.get(host) ?? this.#others)
      if ((second < 0 || second === found) && allHold(conditions, facts, host, path)) return index;
    return -1;
  }

  /** Name of the pool for what `route` returned; undefined: no route matches and there is no fallback. */
  pool(route: number): string | undefined {
    return route < 0 ? this.#fallback : this.#pools[route];
  }

  /** Each route up to the one that matches, and why it does or does not. */
  explain(facts: RequestFacts): RouteVerdict[] {
    const host = plainHost(facts.host);
    const path = matchedPath(facts.path);
    const verdicts: RouteVerdict[] = [];
    for (const { index, conditions } of this.#routes) {
      const failing = conditions.find((condition) => !condition.holds(facts, host, path));
      const failed = failing?.explain(facts, host, path) ?? '';
      verdicts.push({ route: index, matched: failing === undefined, failed });
      if (failing === undefined) break;
    }
    return verdicts;
  }
}

/**
 * @param routes in the order of the config
 * @param fallback the frontend's own pool
 */
export function compileRoutes(routes: readonly RouteConfig[], fallback: string | undefined): Router {
  return new Router(routes, fallback);
}

/**
 * Value of a cookie in a Cookie field, as the client sent it, quotes included (RFC 6265 §5.4). The first one
 * counts, which is the one with the most specific path. Pairs without `=` are skipped.
 *
 * @param name case-sensitive
 */
export function cookieValue(header: string, name: string): string | undefined {
  if (name.length === 0) return undefined;
  for (let at = header.indexOf(name); at >= 0; at = header.indexOf(name, at + name.length)) {
    let before = at - 1;
    while (before >= 0 && isBlank(header.charCodeAt(before))) before--;
    if (before >= 0 && header.charCodeAt(before) !== 59) continue;
    let start = at + name.length;
    while (isBlank(header.charCodeAt(start))) start++;
    if (header.charCodeAt(start) !== 61) continue;
    start++;
    let end = header.indexOf(';', start);
    if (end < 0) end = header.length;
    while (start < end && isBlank(header.charCodeAt(start))) start++;
    while (end > start && isBlank(header.charCodeAt(end - 1))) end--;
    return header.slice(start, end);
  }
  return undefined;
}

/**
 * A Cookie field without the cookies of one name, the others as they came; empty where none is left.
 *
 * @param name as of `cookieValue`
 */
export function withoutCookie(header: string, name: string): string {
  let others = '';
  let kept = 0;
  for (let at = header.indexOf(name); at >= 0; at = header.indexOf(name, at)) {
    const start = header.lastIndexOf(';', at) + 1;
    let end = header.indexOf(';', at);
    if (end < 0) end = header.length;
    const equals = header.indexOf('=', start);
    at = end;
    if (equals < 0 || equals >= end || unpadded(header.slice(start, equals)) !== name) continue;
    others += header.slice(kept, start);
    kept = end + 1;
  }
  if (kept === 0) return header;
  others += header.slice(kept);
  // Of the last pair that goes, what parted it from the one before it goes as well.
  return unpadded(kept > header.length && others.endsWith(';') ? others.slice(0, -1) : others);
}

/** Without the blanks of HTTP around it: `trim` takes bytes of UTF-8 for some of its own (0xA0). */
function unpadded(text: string): string {
  let [start, end] = [0, text.length];
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

/**
 * First value of a query parameter, decoded as a form (`+` is a space); what is not valid percent-encoded
 * UTF-8 is compared as it came. HAProxy and Envoy take the first one, too.
 */
export function queryValue(query: string, name: string): string | undefined {
  for (let start = 0; start < query.length; ) {
    let end = query.indexOf('&', start);
    if (end < 0) end = query.length;
    let equals = start;
    while (equals < end && query.charCodeAt(equals) !== 61) equals++;
    if (formDecoded(query.slice(start, equals)) === name) return formDecoded(query.slice(equals + 1, end));
    start = end + 1;
  }
  return undefined;
}

function formDecoded(text: string): string {
  if (!text.includes('%') && !text.includes('+')) return text;
  const spaced = text.replaceAll('+', ' ');
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced;
  }
}

/** So that most of many routes are told apart without a look at their conditions. */
function secondOf({ path }: MatchConfig): number {
  const match = path && normalised(path);
  const text =
    match === undefined ? '' : 'exact' in match ? match.exact : 'prefix' in match ? match.prefix : '';
  return text.length > 1 && text[0] === '/' ? text.charCodeAt(1) : -1;
}

/** Cheap conditions first. */
function conditionsOf(match: MatchConfig): Condition[] {
  const conditions: Condition[] = [];
  const { hosts, methods, path } = match;
  if (methods.length > 0)
    conditions.push({
      holds: (facts) => methods.includes(facts.method),
      explain: (facts) => `method ${facts.method} is not ${methods.join(', ')}`,
    });
  if (hosts.length > 0)
    conditions.push({
      holds: (_, host) => hostMatches(hosts, host),
      explain: (_, host) => `host ${JSON.stringify(host)} is not ${hosts.join(', ')}`,
    });
  if (path !== undefined) {
    const normal = normalised(path);
    const holds = textTest(normal);
    const wanted = inWords(normal);
    conditions.push({
      holds: (_facts, _host, found) => holds(found),
      explain: (_facts, _host, found) => `path ${JSON.stringify(found)} ${wanted}`,
    });
  }
  for (const named of match.headers)
    conditions.push(namedCondition('header', named, (facts) => facts.header(named.name)));
  for (const named of match.cookies) {
    conditions.push(
      namedCondition('cookie', named, (facts) => {
        const header = facts.header('cookie');
        return header === undefined ? undefined : cookieValue(header, named.name);
      }),
    );
  }
  for (const named of match.query)
    conditions.push(namedCondition('query parameter', named, (facts) => queryValue(facts.query, named.name)));
  return conditions;
}

function namedCondition(
  kind: string,
  named: NamedMatch,
  valueIn: (facts: RequestFacts) => string | undefined,
): Condition {
  const test = textTest(named.value);
  const wanted = inWords(named.value);
  return {
    holds: (facts) => {
      const value = valueIn(facts);
      return value !== undefined && test(value);
    },
    explain: (facts) => `${kind} ${named.name} ${valueIn(facts) === undefined ? 'is absent' : wanted}`,
  };
}

function textTest(match: TextMatch): (text: string) => boolean {
  if ('exact' in match) return (text) => text === match.exact;
  if ('prefix' in match) return (text) => text.startsWith(match.prefix);
  if ('regex' in match) {
    const regex = new LinearRegex(match.regex.source);
    return (text) => regex.test(text);
  }
  return () => true;
}

/** What the text is not. */
function inWords(match: TextMatch): string {
  if ('exact' in match) return `is not ${JSON.stringify(match.exact)}`;
  if ('prefix' in match) return `does not start with ${JSON.stringify(match.prefix)}`;
  if ('regex' in match) return `does not match ${match.regex}`;
  return 'is absent';
}

function normalised(match: TextMatch): TextMatch {
  if ('exact' in match) return { exact: plainPath(match.exact) };
  if ('prefix' in match) return { prefix: plainPath(match.prefix) };
  return match;
}

function allHold(conditions: readonly Condition[], facts: RequestFacts, host: string, path: string): boolean {
  for (const condition of conditions) if (!condition.holds(facts, host, path)) return false;
  return true;
}

function isWildcard(host: string): boolean {
  return host.startsWith('*.');
}

/**
 * Whether a name is among those wanted; `*.example.org` is every name below `example.org`.
 *
 * @param hosts lower case; empty: any
 * @param host lower case, without the root's dot
 */
export function hostMatches(hosts: readonly string[], host: string): boolean {
  if (hosts.length === 0) return true;
  for (const wanted of hosts)
    if (isWildcard(wanted) ? host.length >= wanted.length && host.endsWith(wanted.slice(1)) : host === wanted)
      return true;
  return false;
}

/** A host in the spelling of the config. */
function plainHost(host: string): string {
  if (host.startsWith('[')) return `[${canonicalIp(host.slice(1, -1)) ?? ''}]`;
  return host.endsWith('.') ? host.slice(0, -1) : host;
}

function isBlank(code: number): boolean {
  return code === 32 || code === 9;
}

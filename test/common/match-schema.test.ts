import t from 'tap';
import { parseConfig } from '../../common/config.ts';
import type { RequestFacts } from '../../lbd/route/facts.ts';
import { compileRoutes } from '../../lbd/route/router.ts';
import { problemsIn } from './config-helper.ts';

const withMatch = (match: string) =>
  `frontends: { web: { bind: "*:80", routes: [{ match: { ${match} }, pool: web }] } }\npools: { web: { backends: { s1: { address: "10.0.0.1:80" } } } }\n`;

/** Whether the only route matches what a client asks for. */
function matches(match: string, path: string, host = 'h'): boolean {
  const [frontend] = parseConfig(withMatch(match), '/f', { cpus: 1 }).frontends;
  const facts: RequestFacts = { method: 'GET', host, path, query: '', header: () => undefined };
  return compileRoutes(frontend!.routes, undefined).route(facts) === 0;
}

t.test('a path that no request can have is refused, with a hint', async (t) => {
  for (const [path, hint] of [
    [
      '"/api/*"',
      /^1:\d+ frontends\.web\.routes\.0\.match\.path: found "\/api\/\*", expected .*without "\*".*"\/api\/"/,
    ],
    ['{ prefix: "/a*b" }', /path\.prefix: found "\/a\*b", expected .*without "\*"/],
    ['"/a?b"', /path: found "\/a\?b", expected .*without "\?".*`query`/],
    ['{ exact: "/a?b" }', /path\.exact: found "\/a\?b", expected .*without "\?"/],
    ['"/a#b"', /path: found "\/a#b", expected .*without "#"/],
    ['{ exact: "/a#" }', /path\.exact: found "\/a#", expected .*without "#"/],
    ['"/a\\tb"', /path: found "\/a\\tb", expected .*control/],
  ] as const) {
    const problems = problemsIn(withMatch(`path: ${path}`));
    t.equal(problems.length, 1, path);
    t.match(problems[0], hint, path);
  }
});

t.test('a path in plain letters matches what clients send for it', async (t) => {
  t.ok(matches('path: /ö', '/%C3%B6/x'));
  t.ok(matches('path: /ö', '/%c3%b6'), 'in lower case, too');
  t.ok(matches('path: "/a b"', '/a%20b'));
  t.ok(matches('path: { exact: "/日本" }', '/%E6%97%A5%E6%9C%AC'));
  t.ok(matches('path: { exact: "/a*b" }', '/a*b'), 'an exact path may have a star');
  t.ok(matches('path: /%41', '/A'), 'and what is encoded already stays so');
  t.notOk(matches('path: /ö', '/o'));
});

t.test('the host of a route', async (t) => {
  t.ok(matches('host: "::1"', '/', '[::1]'));
  t.ok(matches('host: "[::1]"', '/', '[::1]'));
  t.ok(matches('host: "2001:DB8::0:1"', '/', '[2001:db8:0:0::1]'), 'however it is written');
  t.ok(matches('host: my_app.example.com', '/', 'my_app.example.com'));
  t.ok(matches('host: "*.my_app.example.com"', '/', 'a.my_app.example.com'));
  t.ok(matches('host: example.com.', '/', 'example.com'), "with the root's dot");
  t.ok(matches('host: 192.0.2.1', '/', '192.0.2.1'));
  t.notOk(matches('host: "::1"', '/', '[::2]'));
  t.match(problemsIn(withMatch('host: "example.com:80"'))[0], /expected a host name without a port/);
  t.match(problemsIn(withMatch('host: "[www]"'))[0], /expected a host name without a port/);
});

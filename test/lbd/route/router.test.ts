import t from 'tap';
import type { MatchConfig, RouteConfig } from '../../../common/model.ts';
import type { RequestFacts } from '../../../lbd/route/facts.ts';
import { compileRoutes, cookieValue, queryValue } from '../../../lbd/route/router.ts';

function route(match: Partial<MatchConfig>, pool = 'p'): RouteConfig {
  const any: MatchConfig = { hosts: [], path: undefined, methods: [], headers: [], cookies: [], query: [] };
  return { match: { ...any, ...match }, pool };
}

/** `GET shop.example/path?query`, with fields. */
function request(line: string, fields: Readonly<Record<string, string>> = {}): RequestFacts {
  const [, method, host, path, query] = /^(\S+) ([^/*]*)([^?]*)\??(.*)$/.exec(line)!;
  return { method: method!, host: host!, path: path!, query: query!, header: (name) => fields[name] };
}

const MATCHES: readonly [
  name: string,
  match: Partial<MatchConfig>,
  line: string,
  fields: Record<string, string>,
  ok: boolean,
][] = [
  ['any', {}, 'GET h/', {}, true],
  ['host', { hosts: ['a.org', 'b.org'] }, 'GET b.org/', {}, true],
  ['other host', { hosts: ['a.org'] }, 'GET b.org/', {}, false],
  ['no host', { hosts: ['a.org'] }, 'GET /', {}, false],
  ['root dot', { hosts: ['a.org'] }, 'GET a.org./', {}, true],
  ['wildcard', { hosts: ['*.a.org'] }, 'GET x.a.org/', {}, true],
  ['wildcard, two labels', { hosts: ['*.a.org'] }, 'GET y.x.a.org/', {}, true],
  ['wildcard needs a label', { hosts: ['*.a.org'] }, 'GET a.org/', {}, false],
  ['wildcard, bare dot', { hosts: ['*.a.org'] }, 'GET .a.org/', {}, false],
  ['wildcard ends at a label', { hosts: ['*.a.org'] }, 'GET xa.org/', {}, false],
  ['method', { methods: ['POST', 'PUT'] }, 'PUT h/', {}, true],
  ['other method', { methods: ['POST'] }, 'GET h/', {}, false],
  ['method is case-sensitive', { methods: ['GET'] }, 'get h/', {}, false],
  ['prefix', { path: { prefix: '/api/' } }, 'GET h/api/x', {}, true],
  ['not the prefix', { path: { prefix: '/api/' } }, 'GET h/api', {}, false],
  ['exact', { path: { exact: '/a' } }, 'GET h/a', {}, true],
  ['not exact', { path: { exact: '/a' } }, 'GET h/a/', {}, false],
  ['regex', { path: { regex: /\.(png|jpe?g)$/ } }, 'GET h/x/y.jpeg', {}, true],
  ['not the regex', { path: { regex: /^\/v\d+\// } }, 'GET h/vx/', {}, false],
  ['query is no part of the path', { path: { exact: '/a' } }, 'GET h/a?b', {}, true],
  ['OPTIONS *', { path: { prefix: '/' } }, 'OPTIONS *', {}, false],
  ['header', { headers: [{ name: 'x-v', value: { exact: '2' } }] }, 'GET h/', { 'x-v': '2' }, true],
  ['header differs', { headers: [{ name: 'x-v', value: { exact: '2' } }] }, 'GET h/', { 'x-v': '3' }, false],
  ['header absent', { headers: [{ name: 'x-v', value: { prefix: '' } }] }, 'GET h/', {}, false],
  ['header present', { headers: [{ name: 'x-v', value: { present: true } }] }, 'GET h/', { 'x-v': '' }, true],
  [
    'cookie',
    { cookies: [{ name: 'beta', value: { exact: '1' } }] },
    'GET h/',
    { cookie: 'a=2; beta=1' },
    true,
  ],
  [
    'cookie absent',
    { cookies: [{ name: 'beta', value: { present: true } }] },
    'GET h/',
    { cookie: 'xbeta=1' },
    false,
  ],
  ['no cookies', { cookies: [{ name: 'beta', value: { present: true } }] }, 'GET h/', {}, false],
  ['query', { query: [{ name: 'v', value: { exact: 'a b' } }] }, 'GET h/?x&v=a%20b', {}, true],
  ['query plus', { query: [{ name: 'v', value: { exact: 'a b' } }] }, 'GET h/?v=a+b', {}, true],
  ['query name encoded', { query: [{ name: 'v', value: { exact: '1' } }] }, 'GET h/?%76=1', {}, true],
  ['query without value', { query: [{ name: 'v', value: { present: true } }] }, 'GET h/?v', {}, true],
  ['query absent', { query: [{ name: 'v', value: { present: true } }] }, 'GET h/?vv=1&x=v', {}, false],
  ['query broken escape', { query: [{ name: 'v', value: { exact: '%zz' } }] }, 'GET h/?v=%zz', {}, true],
  ['first of two', { query: [{ name: 'v', value: { exact: '2' } }] }, 'GET h/?v=1&v=2', {}, false],
  ['all must hold', { methods: ['GET'], path: { prefix: '/a' } }, 'GET h/b', {}, false],
];

for (const [name, match, line, fields, ok] of MATCHES)
  t.test(name, (t) => {
    const router = compileRoutes([route(match)], undefined);
    t.equal(router.route(request(line, fields)), ok ? 0 : -1);
    const [verdict] = router.explain(request(line, fields));
    t.equal(verdict?.matched, ok);
    t.equal(verdict?.failed === '', ok);
    t.end();
  });

t.test('first match wins, whichever kind of host it names', (t) => {
  const router = compileRoutes(
    [
      route({ hosts: ['*.a.org'], path: { prefix: '/w' } }, 'wild'),
      route({ hosts: ['x.a.org'], path: { prefix: '/' } }, 'exact'),
      route({ path: { prefix: '/any' } }, 'any'),
    ],
    'web',
  );
  const pool = (line: string) => router.pool(router.route(request(line)));
  t.equal(pool('GET x.a.org/w'), 'wild');
  t.equal(pool('GET x.a.org/v'), 'exact');
  t.equal(pool('GET y.a.org/w'), 'wild');
  t.equal(pool('GET y.a.org/any'), 'any');
  t.equal(pool('GET x.a.org/any'), 'exact');
  t.equal(pool('GET y.a.org/v'), 'web');
  t.equal(compileRoutes([], undefined).pool(-1), undefined);
  t.end();
});

t.test('one request does not kill a worker by a regular expression', (t) => {
  const regex = /^\/([a-z]+|[a-z-]+)*$/;
  const named = [{ name: 'x', value: { regex } }];
  const text = `/${'a'.repeat(15_000)}!`;
  for (const [match, line, fields] of [
    [{ path: { regex } }, `GET h${text}`, {}],
    [{ headers: named }, 'GET h/', { x: text }],
    [{ cookies: named }, 'GET h/', { cookie: `x=${text}` }],
    [{ query: named }, `GET h/?x=${text}`, {}],
  ] as const)
    t.equal(compileRoutes([route(match)], undefined).route(request(line, fields)), -1);
  t.end();
});

t.test('a path in disguise meets the rule all the same', (t) => {
  const router = compileRoutes([route({ path: { prefix: '/admin' } })], undefined);
  for (const path of ['/public/../admin', '/%61dmin', '//admin', '/x/%2e%2e/admin'])
    t.equal(router.route(request(`GET h${path}`)), 0, path);
  t.equal(router.route(request('GET h/admin/../public')), -1);
  t.end();
});

t.test('a prefix in the config may begin with a dot', (t) => {
  const router = compileRoutes([route({ path: { prefix: '/.' } })], undefined);
  t.equal(router.route(request('GET h/.git/config')), 0);
  t.equal(router.route(request('GET h/x')), -1);
  t.end();
});

for (const [header, name, expected] of [
  ['a=1', 'a', '1'],
  ['a=1; b=2', 'b', '2'],
  ['a=1;b=2', 'b', '2'],
  ['a=1 ;\tb = 2 ; c=3', 'b', '2'],
  ['ab=1; b=2', 'b', '2'],
  ['a=b=2; c', 'b', undefined],
  ['a=b; b=', 'b', ''],
  ['b; b=2', 'b', '2'],
  ['b', 'b', undefined],
  ['bb=1; b=2', 'b', '2'],
  ['b=1; b=2', 'b', '1'],
  ['B=1', 'b', undefined],
  ['b="x y"', 'b', '"x y"'],
  ['x={"k":1, "b":2}; b=3', 'b', '3'],
  ['', 'b', undefined],
  ['a=1', '', undefined],
] as const)
  t.test(`cookie ${name} in ${JSON.stringify(header)}`, (t) => {
    t.equal(cookieValue(header, name), expected);
    t.end();
  });

t.test('query parameters', (t) => {
  t.equal(queryValue('', 'a'), undefined);
  t.equal(queryValue('&&a=1', 'a'), '1');
  t.equal(queryValue('a=b=c', 'a'), 'b=c');
  t.equal(queryValue('b&a=1', 'a'), '1');
  t.equal(queryValue('%=1&a=%C3%A9', 'a'), 'é');
  t.end();
});

t.test('explain says which condition fails first, and shows no secret', (t) => {
  const router = compileRoutes(
    [
      route({ methods: ['POST'] }),
      route({ hosts: ['a.org'] }),
      route({ path: { prefix: '/api/' } }),
      route({ path: { regex: /^\/v1/ } }),
      route({ headers: [{ name: 'x-v', value: { exact: '2' } }] }),
      route({ cookies: [{ name: 'sid', value: { prefix: 'A' } }] }),
      route({ query: [{ name: 'q', value: { present: true } }] }),
      route({ path: { exact: '/admin' } }),
      route({}),
    ],
    undefined,
  );
  const verdicts = router.explain(request('GET b.org/x/../admin', { cookie: 'sid=secret' }));
  t.strictSame(
    verdicts.map(({ failed }) => failed),
    [
      'method GET is not POST',
      'host "b.org" is not a.org',
      'path "/admin" does not start with "/api/"',
      'path "/admin" does not match /^\\/v1/',
      'header x-v is absent',
      'cookie sid does not start with "A"',
      'query parameter q is absent',
      '',
    ],
  );
  t.strictSame(verdicts.at(-1), { route: 7, matched: true, failed: '' });
  t.end();
});

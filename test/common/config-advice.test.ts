import t from 'tap';
import { parseConfig } from '../../common/config.ts';
import { adviceOf } from '../../common/config-advice.ts';

function advice(cookie: string, frontend = ''): string[] {
  const text = `frontends: { web: { bind: ["*:80"], pool: web${frontend} } }
pools: { web: { stick: { cookie: { name: S, ${cookie} } }, backends: { s1: { address: "10.0.0.1:80" } } } }
`;
  return adviceOf(parseConfig(text, '/f')).map(({ path, message }) => `${path.join('.')}: ${message}`);
}

t.test('a cookie that browsers drop, as it is set over plain HTTP', async (t) => {
  const dropped =
    /^pools\.web\.stick\.cookie\.same_site: browsers drop .* frontend "web" sets it over plain HTTP/;
  t.match(advice('same_site: none'), [dropped]);
  t.match(advice('same_site: none, secure: auto'), [dropped]);
  t.same(advice('same_site: none, secure: true'), []);
  t.same(advice('same_site: none', ', tls: { certificates: [{ cert: a.crt, key: a.key }] }'), []);
  t.same(advice('same_site: none', ', trusted_proxies: [10.0.0.0/8]'), [], 'who may tell of HTTPS');
  t.same(advice('same_site: lax'), []);
  const route = ', routes: [{ match: { path: /a }, pool: web }]';
  t.equal(advice('same_site: none', route).length, 1);
});

t.test('a weight that the algorithm of its pool ignores', async (t) => {
  const of = (pool: string) =>
    adviceOf(
      parseConfig(
        `frontends: { web: { bind: ["*:80"], pool: web } }
pools: { web: { ${pool}, backends: { s1: { address: "10.0.0.1:80", weight: 3 }, s2: { address: "10.0.0.2:80", weight: 0 } } } }
`,
        '/f',
      ),
    ).map(({ path, message }) => `${path.join('.')}: ${message}`);
  t.same(of('algorithm: round-robin'), [
    'pools.web.backends.s1.weight: round-robin, the algorithm of the pool, ignores every weight but 0',
  ]);
  t.same(of('algorithm: weighted-round-robin'), []);
});

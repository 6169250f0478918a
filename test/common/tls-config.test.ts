import t from 'tap';
import { parseConfig } from '../../common/config.ts';
import { problemsIn } from './config-helper.ts';

function yaml(frontend: string, pool = '', health = ''): string {
  return `frontends:
  web: { bind: ["*:443"], ${frontend} }
pools:
  web: { ${pool} health: { ${health} }, backends: { s1: { address: "10.0.0.1:80" } } }
`;
}
const CERT = 'certificates: [{ cert: a.crt, key: a.key }]';
const parse = (text: string) => parseConfig(text, '/etc/tandem/tandem.yaml', { cpus: 1 });

t.test('what is left out has a safe default', async (t) => {
  const { frontends, pools } = parse(
    yaml(`pool: web, hsts: 1y, tls: { ${CERT}, client: { ca: ca.pem } }`, 'tls: {},'),
  );
  t.match(frontends[0], {
    hsts: 'max-age=31536000',
    tls: {
      mode: 'terminate',
      certificates: [{ cert: 'a.crt', key: 'a.key' }],
      defaultName: undefined,
      minVersion: '1.2',
      alpn: ['http/1.1'],
      client: { mode: 'required', ca: 'ca.pem', header: 'X-Client-Subject' },
    },
  });
  t.same(pools[0]!.tls, { verify: true, ca: undefined, serverName: undefined, client: undefined });
});

t.test('what may be written', async (t) => {
  for (const [text, expected] of [
    [yaml(`pool: web, tls: { ${CERT}, min_version: 1.3 }`), { tls: { minVersion: '1.3' } }],
    [
      yaml('pool: web, tls: { certificates: certs, default: A.example }'),
      { tls: { certificates: 'certs', defaultName: 'a.example' } },
    ],
    [yaml(`pool: web, mode: tcp, tls: { ${CERT} }`), { tls: { alpn: [] } }],
    [
      yaml('pool: web, mode: tcp, tls: passthrough, timeouts: { head: 1s }'),
      { tls: { mode: 'passthrough' } },
    ],
    [
      yaml('mode: tcp, tls: passthrough, routes: [{ match: { sni: "*.A.example" }, pool: web }]'),
      { routes: [{ match: { sni: ['*.a.example'] } }] },
    ],
    [yaml('redirect: https'), { redirect: { status: 308, port: 443 } }],
    [yaml('redirect: { to: https, port: 8443, status: 301 }'), { redirect: { status: 301, port: 8443 } }],
    [
      yaml(`pool: web, tls: { ${CERT} }, hsts: { max_age: 180d, include_subdomains: true, preload: true }`),
      { hsts: 'max-age=15552000; includeSubDomains; preload' },
    ],
  ] as const)
    t.match(parse(text).frontends[0], expected, text.split('\n')[1]!);
});

t.test('what does not go together', async (t) => {
  for (const [text, expected] of [
    [yaml('pool: web, tls: {}'), 'certificates'],
    [yaml('pool: web, tls: { certificates: [] }'), 'at least one { cert, key }'],
    [yaml('pool: web, tls: passthrough'), 'passthrough, which is for mode tcp only'],
    [yaml(`pool: web, tls: { ${CERT}, min_version: "1.1" }`), '"1.2" or "1.3"'],
    [yaml(`pool: web, tls: { ${CERT}, clients: {} }`), 'did you mean "client"?'],
    [yaml('pool: web, hsts: 1y'), 'is for mode http with "tls" only'],
    [yaml(`pool: web, tls: { ${CERT} }, hsts: 11y`), 'a time such as 180d or 1y'],
    [yaml('pool: web, redirect: https'), 'stands in the place of "pool"'],
    [yaml(`redirect: https, tls: { ${CERT} }`), 'belongs to the plain frontend'],
    [yaml('redirect: { to: https, status: 303 }'), '301, 302, 307 or 308'],
    [yaml('mode: tcp, redirect: https'), 'is for mode http only, found mode tcp'],
    [yaml('routes: [{ match: { sni: a.example }, pool: web }]'), 'is for tls: passthrough only; use host'],
    [
      yaml('mode: tcp, tls: passthrough, routes: [{ match: { host: a.example }, pool: web }]'),
      'cannot be read with tls: passthrough',
    ],
    [
      yaml(`mode: tcp, pool: web, tls: { ${CERT} }, routes: [{ match: { path: / }, pool: web }]`),
      'is for mode http only',
    ],
    [
      yaml(`pool: web, tls: { ${CERT}, client: { ca: c, header: X-Forwarded-For } }`),
      'which has another meaning',
    ],
    [yaml('pool: web', 'tls: { cert: a },'), '"cert" and "key" need each other'],
    [yaml('pool: web', 'tls: { verify: false, ca: a },'), 'is of no use with "verify: false"'],
    [yaml('pool: web', '', 'tls: true'), 'needs "tls" on the pool'],
  ] as const)
    t.match(problemsIn(text).join('\n'), expected, text.split('\n').slice(1, 4).join(' '));
});

import { join } from 'node:path';
import { execa } from 'execa';
import t from 'tap';
import type { Explanation } from '../../../common/control.ts';
import { explainRequest, explanationText } from '../../../scripts/lbctl/explain.ts';
import { freePort } from '../../common/free-port.ts';
import { tempDir } from '../../common/temp-dir.ts';
import { LbdProcess, origin, writeConfig } from '../../lbd/lbd-process.ts';

t.test('a URL as a request', async (t) => {
  const cases: readonly [
    url: string,
    headers: string[],
    target: string,
    sent: [string, string][],
    port?: number,
  ][] = [
    ['http://a.example/b?c', [], '/b?c', [['Host', 'a.example']], 80],
    ['https://a.example', [], '/', [['Host', 'a.example']], 443],
    ['HTTP://a:8080?q', [], '/?q', [['Host', 'a:8080']], 8080],
    ['http://[::1]:81/', [], '/', [['Host', '[::1]:81']], 81],
    ['http://a/x/../%2e/y#frag', [], '/x/../%2e/y', [['Host', 'a']], 80],
    [
      'http://a/',
      ['host: b', 'X:  1:2 '],
      '/',
      [
        ['host', 'b'],
        ['X', '1:2 '],
      ],
      80,
    ],
    ['/p', ['Host:b'], '/p', [['Host', 'b']]],
    ['*', ['Host: b'], '*', [['Host', 'b']]],
  ];
  for (const [url, headers, target, sent, port] of cases)
    t.strictSame(explainRequest('GET', url, headers), { method: 'GET', target, headers: sent, port }, url);
  t.equal(explainRequest('GET', '', []), undefined);
  t.equal(explainRequest('GET', '/', ['no colon']), undefined);
});

const EXPLANATION: Explanation = {
  ...{
    frontend: 'web',
    mode: 'http',
    unserved: [],
    answer: undefined,
    pool: 'web',
    algorithm: 'round-robin',
  },
  routes: [{ route: 0, pool: 'api', matched: false, failed: 'path "/\x1b" does not start with "/api/"' }],
  candidates: [
    {
      ...{ backend: 's1', available: true, state: 'ready', weight: 1, active: 2, latency_ms: 1.5 },
      why: 'answered 200',
    },
    {
      ...{ backend: 's2', available: false, state: 'down', weight: 1, active: 0, latency_ms: 0 },
      why: 'connect: ECONNREFUSED',
    },
  ],
  picks: [
    { worker: 0, backend: 's1', by: 'round-robin' },
    { worker: 1, backend: 's1', by: 'round-robin' },
  ],
};

t.test('for people', async (t) => {
  const text = explanationText(EXPLANATION);
  for (const line of [
    /^frontend +web · http$/m,
    /^route 0 +→ api · path "\/\?" does not start with "\/api\/"$/m,
    /^pool +web · round-robin · no route matches$/m,
    /^s1 +ready +yes +1 +2 +1\.5ms +answered 200$/m,
    /^s2 +down +no +1 +0 +- +connect: ECONNREFUSED$/m,
    /^pick +s1 · round-robin$/m,
  ])
    t.match(text, line);
  const [first] = EXPLANATION.picks;
  const split = explanationText({
    ...EXPLANATION,
    picks: [first!, { worker: 1, backend: undefined, by: 'x' }],
  });
  t.match(split, /^pick +s1 · round-robin · in worker 0\npick +nobody · x · in worker 1$/m);
  t.match(
    explanationText({
      ...EXPLANATION,
      unserved: ['frontend web: a; nothing is served there', 'b'],
      picks: [],
    }),
    /^frontend +web · http\ntls +frontend web: a; nothing is served there\ntls +b\nroute 0 (.*\n)+s2 .*$/m,
  );
  const refused = { status: 404, cause: 'no route matches' };
  t.match(
    explanationText({ ...EXPLANATION, pool: undefined, candidates: [], answer: refused, picks: [] }),
    /^answer +404 of lbd itself: no route matches$/m,
  );
});

t.test('through a running lbd', async (t) => {
  const dir = tempDir(t);
  const [port, backend] = [await freePort(), await origin(t, (_, response) => response.end('ok'))];
  const file = writeConfig(dir, [
    'workers: 2',
    'admin: { metrics: false }',
    'frontends:',
    `  web: { bind: ["127.0.0.1:${port}"], routes: [{ match: { header: { X-Beta: yes } }, pool: beta }], pool: web }`,
    'pools:',
    `  web: { algorithm: ip-hash, backends: { s1: { address: "127.0.0.1:${backend}" } } }`,
    `  beta: { backends: { b1: { address: "127.0.0.1:${backend}" }, b2: { address: "127.0.0.1:9" } } }`,
  ]);
  const lbd = new LbdProcess(t, dir, ['--config', file]);
  await lbd.logged(/^ready/);
  const lbctl = async (...args: string[]) => {
    const { exitCode, stdout, stderr } = await execa(
      process.execPath,
      [join(import.meta.dirname, '../../../scripts/lbctl.ts'), '--run-dir', lbd.runDir, ...args],
      { reject: false, env: { NO_COLOR: '1', FORCE_COLOR: undefined } },
    );
    return { code: exitCode, out: stdout, err: stderr };
  };
  const url = `http://a:${port}/`;
  const beta = await lbctl('explain', 'GET', url, '--header', 'X-Beta: yes', '--header', 'Y: z');
  t.match(beta, { code: 0, err: '' });
  t.match(beta.out, /^route 0 +→ beta · matches$/m);
  t.match(beta.out, /^b2 +down +no .* connection refused$/m);
  t.match(beta.out, /^pick +b1 · round-robin$/m);
  const json = await lbctl('--json', 'explain', 'GET', url, '--source', '192.0.2.1');
  t.match(JSON.parse(json.out), {
    pool: 'web',
    picks: [
      { worker: 0, backend: 's1' },
      { worker: 1, backend: 's1' },
    ],
  });
  t.match(await lbctl('explain', 'GET', url, '--source', 'me'), { code: 2, err: /expected an IP address/ });
  t.match(await lbctl('explain', 'GET', url, '--frontend', 'wbe'), { code: 1, err: /did you mean "web"/ });
  t.match(await lbd.status(), { frontends: { web: { accepted: 0, requests: 0 } } }, 'nothing was counted');
});

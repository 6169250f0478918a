import t from 'tap';
import type { ExplainQuery } from '../../../common/control.ts';
import { backendId, poolId } from '../../../common/hash.ts';
import { merge } from '../../../lbd/control/explain-api.ts';
import { GATE_CLOSED, GATE_STUCK } from '../../../lbd/shared/shared.ts';
import type { WorkerExplanation } from '../../../lbd/shared/worker-explanation.ts';
import { answering, OK, Plane, RawClient, RawOrigin } from '../harness.ts';

function query(target: string, more: Partial<ExplainQuery> & { cookie?: string } = {}): ExplainQuery {
  const { cookie, ...rest } = more;
  const headers: [string, string][] = [
    ['Host', 'a'],
    ...(cookie ? [['Cookie', cookie] as [string, string]] : []),
  ];
  return { method: 'GET', target, headers, source: undefined, ...rest };
}

async function start(t: Parameters<typeof Plane.start>[0], settings = '', frontend = '') {
  const asked: number[] = [];
  const origins = [];
  for (let i = 0; i < 3; i++)
    origins.push(
      await RawOrigin.start(t, (socket, data) => {
        asked.push(i);
        answering(OK)(socket, data);
      }),
    );
  const plane = await Plane.start(
    t,
    `
frontends:
  web:
    bind: ["127.0.0.1:PORT"]
    ${frontend === '' ? 'pool: web' : frontend}
pools:
  web:
    ${settings}
    backends: { ${origins.map(({ port }, i) => `s${i + 1}: { address: "127.0.0.1:${port}" }`).join(', ')} }
  api: { backends: { a1: { address: "127.0.0.1:9" } } }
`,
  );
  const explain = (it: ExplainQuery): WorkerExplanation => plane.plane.explain('web', it)!;
  /** The backend that a real request gets. */
  const send = async (target: string, cookie = '') => {
    const client = await RawClient.open(t, plane.port);
    client.write(`GET ${target} HTTP/1.1\r\nHost: a\r\n${cookie && `Cookie: ${cookie}\r\n`}\r\n`);
    await client.until((text) => text.includes('\r\n\r\nok'));
    client.socket.destroy();
    return `s${asked.at(-1)! + 1}`;
  };
  return { plane, explain, send };
}

for (const algorithm of ['round-robin', 'weighted-round-robin', 'random', 'consistent-hash'])
  t.test(`${algorithm}: the explained pick is the next one, however often one asks`, async (t) => {
    const hash = algorithm === 'consistent-hash' ? '\n    hash: { key: path }' : '';
    const { explain, send } = await start(t, `algorithm: ${algorithm}${hash}`);
    for (let n = 0; n < 12; n++) {
      for (let again = 0; again < n % 4; again++) explain(query(`/${n}`));
      const { pick } = explain(query(`/${n}`));
      t.equal(await send(`/${n}`), pick!.backend);
      t.equal(pick!.by, algorithm);
    }
  });

t.test('routes are tried one by one, up to the one that matches', async (t) => {
  const { explain } = await start(
    t,
    '',
    `routes:
      - { match: { host: b.example }, pool: web }
      - { match: { path: /api/, method: POST }, pool: api }
      - { match: { path: /api/ }, pool: api }
      - { match: { path: / }, pool: web }`,
  );
  const { routes, pool, pick } = explain(query('/x/../api/b'));
  t.strictSame(routes, [
    { route: 0, pool: 'web', matched: false, failed: 'host "a" is not b.example' },
    { route: 1, pool: 'api', matched: false, failed: 'method GET is not POST' },
    { route: 2, pool: 'api', matched: true, failed: '' },
  ]);
  t.equal(pool, 'api');
  t.equal(pick!.backend, 'a1');
});

t.test('what lbd answers itself', async (t) => {
  const { explain } = await start(t, '', 'routes: [{ match: { path: /b }, pool: web }]');
  const cases: readonly [rule: string, query: ExplainQuery, status: number, cause: string][] = [
    ['no route', query('/a'), 404, 'no route matches'],
    ['no Host', query('/b', { headers: [] }), 400, 'missing Host'],
    [
      'two Hosts',
      query('/b', {
        headers: [
          ['Host', 'a'],
          ['Host', 'b'],
        ],
      }),
      400,
      'repeated Host',
    ],
    ['a target that is none', query('b'), 400, 'invalid target'],
    ['CONNECT', query('a:1', { method: 'CONNECT' }), 501, 'CONNECT is not supported'],
    ['too large', query(`/b?${'x'.repeat(20_000)}`), 431, 'head too large'],
  ];
  for (const [rule, it, status, cause] of cases) {
    const { answer, pick, candidates } = explain(it);
    t.strictSame(answer, { status, cause }, rule);
    t.strictSame({ pick, candidates }, { pick: undefined, candidates: [] }, rule);
  }
  t.equal(explain(query('/b')).answer, undefined);
});

t.test('a redirect, and a circuit breaker that is open', async (t) => {
  const { plane, explain } = await start(
    t,
    'limits: { requests: 1 }',
    'routes: [{ match: { path: /b }, pool: web }]\n    redirect: https',
  );
  t.strictSame(explain(query('/a?c')).answer, { status: 308, cause: 'redirect to https://a/a?c' });
  t.equal(explain(query('/b')).answer, undefined);
  plane.shared.enter(plane.slot('web/s1'));
  t.teardown(() => plane.shared.leave(plane.slot('web/s1')));
  const { answer, candidates } = explain(query('/b'));
  t.strictSame(answer, { status: 503, cause: 'the pool has its limits.requests 1' });
  t.equal(candidates.length, 3);
  for (let slot = 0; slot < 3; slot++)
    t.equal(plane.control.backendCounter(slot, 'broken_requests'), 0, 'an operator who asks is not counted');
});

t.test('an inserted cookie', async (t) => {
  const { plane, explain } = await start(t, 'stick: { cookie: SRV }');
  const stuck = () => explain(query('/', { cookie: 'SRV=s2' })).pick;
  t.strictSame(stuck(), { backend: 's2', by: 'cookie SRV' });
  plane.gate('web/s2', GATE_STUCK);
  t.strictSame(stuck(), { backend: 's2', by: 'cookie SRV' }, 'drained: stuck clients only');
  t.equal(explain(query('/')).candidates[1]!.available, false);
  plane.gate('web/s2', GATE_CLOSED);
  t.strictSame(stuck(), { backend: 's1', by: 'round-robin: cookie SRV names s2, which takes no clients' });
  t.strictSame(explain(query('/')).pick, { backend: 's1', by: 'round-robin: no cookie SRV' });
  for (const name of ['web/s1', 'web/s3']) plane.gate(name, GATE_CLOSED);
  t.strictSame(explain(query('/')).pick, { backend: undefined, by: 'round-robin: no cookie SRV' });
});

t.test('the session table is read, and nothing in it begins, moves or lives longer', async (t) => {
  const { plane, explain } = await start(t, 'stick: { source: ip, expire: 10m }');
  const source = '192.0.2.7';
  t.strictSame(explain(query('/')).pick, {
    backend: undefined,
    by: 'it depends on the address of the client',
  });
  t.strictSame(explain(query('/', { source })).pick, {
    backend: 's1',
    by: `round-robin: no session of ${source}`,
  });
  t.equal(plane.sessions.size, 0);
  plane.sessions.keyOfSource(poolId('web'), source);
  plane.sessions.store(backendId('web', 's3'), 60_000);
  const [before] = plane.sessions.entries(1);
  t.strictSame(explain(query('/', { source })).pick, { backend: 's3', by: `session of ${source}` });
  plane.gate('web/s3', GATE_CLOSED);
  t.match(explain(query('/', { source })).pick, { backend: 's1' });
  const [after] = plane.sessions.entries(1);
  t.equal(after!.backend, before!.backend, 'it did not move');
  t.ok(after!.expiresInMs <= before!.expiresInMs, 'and it does not live longer');
});

t.test('connections that are relayed unread, with TLS by the name that the client asks for', async (t) => {
  const tcp = await start(t, 'algorithm: ip-hash', 'mode: tcp\n    pool: web');
  const source = '192.0.2.7';
  t.match(tcp.explain(query('/', { source })), {
    mode: 'tcp',
    routes: [],
    pool: 'web',
    pick: { by: 'ip-hash' },
  });
  const sni =
    'mode: tcp\n    tls: passthrough\n    routes: [{ match: { sni: b.example }, pool: web }, { match: { sni: "*.c.example" }, pool: api }]';
  const { explain } = await start(t, '', sni);
  const named = (host: string) => explain(query('/', { headers: [['Host', host]] }));
  t.match(named('x.c.example:443'), {
    pool: 'api',
    routes: [{ failed: 'server name "x.c.example" is not b.example' }, { matched: true, failed: '' }],
  });
  t.match(named('d.example'), {
    pool: undefined,
    pick: undefined,
    routes: [{ matched: false }, { matched: false }],
  });
});

t.test('a full backend says so', async (t) => {
  const { plane, explain } = await start(t);
  const config = structuredClone(plane.config);
  const [web] = config.pools;
  await plane.apply({
    ...config,
    pools: [
      { ...web!, backends: web!.backends.map((it) => ({ ...it, maxConnections: 1 })) },
      config.pools[1]!,
    ],
  });
  plane.shared.enter(plane.slot('web/s1'));
  t.teardown(() => plane.shared.leave(plane.slot('web/s1')));
  const explanation = explain(query('/'));
  t.match(explanation.candidates[0], { available: false, full: 'it has its max_connections 1' });
  t.equal(explanation.pick!.backend, 's2');
});

t.test('the answers of the workers become one', async (t) => {
  const { explain } = await start(t);
  const explanation = explain(query('/'));
  const other = { ...explanation, pick: { backend: 's2', by: 'round-robin' } };
  const merged = merge(
    [
      { worker: 0, explanation },
      { worker: 1, explanation: other },
    ],
    (id) => ({ state: 'ready', why: `status of ${id}` }),
  );
  t.strictSame(merged.picks, [
    { worker: 0, backend: 's1', by: 'round-robin' },
    { worker: 1, backend: 's2', by: 'round-robin' },
  ]);
  t.match(merged.candidates[2], { backend: 's3', state: 'ready', why: 'status of web/s3', weight: 1 });
  t.notOk('full' in merged.candidates[2]!);
});

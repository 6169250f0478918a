import t from 'tap';
import { parseConfig } from '../../../common/config.ts';
import type { ExplainQuery } from '../../../common/control.ts';
import { ControlError } from '../../../common/control-server.ts';
import { explainRoute } from '../../../lbd/control/explain-api.ts';

const CONFIG = `
frontends:
  web: { bind: ["*:80", "*:8080"], pool: web }
  shop: { bind: ["*:81"], pool: web }
  db: { bind: ["*:5432"], mode: tcp, pool: web }
pools: { web: { backends: { s1: { address: "127.0.0.1:1" } } } }
`;

function setUp(yaml = CONFIG, workers = 1, unserved: readonly string[] = []) {
  const config = parseConfig(yaml, '/test.yaml', { cpus: 1 });
  const asked: [frontend: string, query: ExplainQuery][] = [];
  const route = explainRoute({
    config: () => config,
    ask: async (frontend, query) => {
      asked.push([frontend, query]);
      const explanation = {
        ...{ frontend, mode: 'http' as const, answer: undefined, routes: [], candidates: [] },
        ...{ pool: 'web', algorithm: 'random', pick: { backend: 's1', by: 'random' } },
      };
      return Array.from({ length: workers }, (_, worker) => ({ worker, explanation }));
    },
    status: () => {
      throw new Error('there is no candidate to ask for');
    },
    unserved: () => unserved,
  });
  const call = (body: unknown) => route.handle({ params: {}, query: new URLSearchParams(), body });
  return { asked, call };
}

const GOOD = { method: 'GET', target: '/', headers: [['Host', 'a']] };

t.test('which frontend', async (t) => {
  const cases: readonly [more: object, frontend: string][] = [
    [{ frontend: 'db' }, 'db'],
    [{ frontend: 'shop', port: 80 }, 'shop'],
    [{ port: 8080 }, 'web'],
    [{ port: 81 }, 'shop'],
  ];
  for (const [more, frontend] of cases) {
    const { asked, call } = setUp();
    t.match(await call({ ...GOOD, ...more }), { frontend, picks: [{ worker: 0, backend: 's1' }] });
    t.strictSame(asked, [[frontend, { ...GOOD, source: undefined }]]);
  }
  const single = setUp(CONFIG.replace(/ {2}shop.*\n/, ''));
  t.match(await single.call(GOOD), { frontend: 'web' }, 'a path: the only one of mode http');
});

t.test('a frontend that serves nothing: why, and nobody is picked', async (t) => {
  const unserved = ['frontend shop: no.crt: no such file; nothing is served there'];
  const answer = await setUp(CONFIG, 1, unserved).call({ ...GOOD, port: 81 });
  t.match(answer, { frontend: 'shop', unserved, picks: [] });
});

t.test('refusals help', async (t) => {
  const cases: readonly [body: unknown, status: number, message: string][] = [
    [undefined, 400, 'expected a JSON object with "method", "target" and "headers"'],
    [{ ...GOOD, method: 1 }, 400, 'method: expected a text without line breaks'],
    [{ ...GOOD, target: '/\r\nHost: b' }, 400, 'target: expected a text without line breaks'],
    [{ ...GOOD, headers: [['a']] }, 400, 'headers: expected a list of [name, value] without line breaks'],
    [
      { ...GOOD, headers: [['a', 'b\nc']] },
      400,
      'headers: expected a list of [name, value] without line breaks',
    ],
    [{ ...GOOD, source: 7 }, 400, 'source: expected an IP address'],
    [GOOD, 404, 'a path alone does not tell which frontend; name one of web, shop, db'],
    [{ ...GOOD, port: 443 }, 404, 'no frontend takes port 443; name one of web, shop, db'],
    [
      { ...GOOD, frontend: 'wbe' },
      404,
      'no such frontend: wbe; there are web, shop, db; did you mean "web"?',
    ],
  ];
  for (const [body, status, message] of cases) {
    const { call, asked } = setUp();
    await t.rejects(async () => call(body), new ControlError(status, message));
    t.strictSame(asked, []);
  }
  await t.rejects(
    async () => setUp(CONFIG.replace(/ {2}shop.*\n/, '')).call({ ...GOOD, port: 443 }),
    new ControlError(404, 'no frontend takes port 443; name one of web, db'),
    'though there is only one of mode http',
  );
  await t.rejects(
    async () => setUp(CONFIG, 0).call({ ...GOOD, port: 80 }),
    new ControlError(503, 'no worker answered'),
  );
});

import t from 'tap';
import type { BackendStatus, LbdStatus, SessionRow } from '../../../common/control.ts';
import { ControlError, type ControlRoute } from '../../../common/control-server.ts';
import { controlRoutes } from '../../../lbd/control/control-api.ts';

function setUp(ids = ['web/s1', 'web/s2', 'api/a1']) {
  const asked: unknown[] = [];
  const told: string[] = [];
  let entries = 42;
  const routes = controlRoutes({
    status: () => ({ node: 'lb1' }) as LbdStatus,
    events: () => [],
    reload: async (checkOnly) => {
      asked.push({ reload: { checkOnly } });
      return { outcome: 'unchanged', changes: [], problems: [], warnings: [] };
    },
    backends: {
      algorithm: (id) => (id.startsWith('web/') ? 'round-robin' : 'random'),
      has: (id) => ids.includes(id),
      ids: () => ids,
      set: (id, change) => asked.push({ id, ...JSON.parse(JSON.stringify(change)) }),
      status: (id) => ({ why: `status of ${id}` }) as BackendStatus,
    },
    sessions: {
      size: () => entries,
      rows: (limit) => [{ key: `up to ${limit}` } as SessionRow],
      clear: () => {
        entries = 0;
      },
    },
    tell: (_kind, text) => told.push(text),
  });
  const call = async (
    method: string,
    path: string,
    request: { params?: object; query?: string; body?: unknown } = {},
  ) => {
    const route = routes.find((r: ControlRoute) => r.method === method && r.path === path)!;
    return route.handle({
      params: { ...request.params },
      query: new URLSearchParams(request.query),
      body: request.body,
    });
  };
  const change = (pool: string, backend: string, body: unknown) =>
    call('POST', '/v1/backends/:pool/:backend', { params: { pool, backend }, body });
  return { asked, told, call, change };
}

t.test('changes of a backend', async (t) => {
  const { asked, told, change } = setUp();
  t.same(await change('web', 's1', { admin: 'drain' }), { why: 'status of web/s1' });
  await change('web', 's2', { weight: 0 });
  await change('web', 's2', { weight: null, admin: 'ready' });
  t.same(asked, [
    { id: 'web/s1', admin: 'drain' },
    { id: 'web/s2', weight: 0 },
    { id: 'web/s2', weight: null, admin: 'ready' },
  ]);
  t.same(told, [
    'web/s1: the operator asks for drain',
    'web/s2: the operator asks for weight 0',
    'web/s2: the operator asks for ready and weight of the config',
  ]);
});

t.test('a weight that the algorithm of the pool ignores is taken, and that is said', async (t) => {
  const { asked, change } = setUp();
  const note = /^round-robin, the algorithm of the pool, ignores every weight but 0$/;
  t.match(await change('web', 's1', { weight: 5 }), { why: 'status of web/s1', note });
  t.equal(asked.length, 1);
  for (const [pool, name, body] of [
    ['web', 's1', { weight: 0 }],
    ['web', 's1', { weight: null }],
    ['web', 's1', { admin: 'drain' }],
    ['api', 'a1', { weight: 5 }],
  ] as const)
    t.notMatch(await change(pool, name, body), { note: /./ }, JSON.stringify(body));
});

t.test('refusals help', async (t) => {
  const { asked, change } = setUp();
  const cases: [pool: string, backend: string, body: unknown, status: number, message: string][] = [
    [
      'web',
      's3',
      { admin: 'drain' },
      404,
      'no such backend: web/s3; there are web/s1, web/s2, api/a1; did you mean "web/s1"?',
    ],
    ['web', 's1', undefined, 400, 'expected a JSON object with "admin", "weight" or both'],
    ['web', 's1', [1], 400, 'expected a JSON object with "admin", "weight" or both'],
    ['web', 's1', {}, 400, 'nothing to change; expected "admin", "weight" or both'],
    ['web', 's1', { admn: 'drain' }, 400, 'unknown key "admn"; expected "admin", "weight" or both'],
    ['web', 's1', { admin: 'off' }, 400, 'admin is "off"; expected "ready", "drain" or "maint"'],
    ['web', 's1', { admin: null }, 400, 'admin is null; expected "ready", "drain" or "maint"'],
    ...[-1, 257, 1.5, '3', true].map(
      (weight) =>
        [
          'web',
          's1',
          { weight },
          400,
          `weight is ${JSON.stringify(weight)}; expected a whole number from 0 to 256, or null for the weight of the config`,
        ] as [string, string, unknown, number, string],
    ),
    [
      'web',
      's1',
      { weight: 'x'.repeat(999) },
      400,
      `weight is "${'x'.repeat(59)}…; expected a whole number from 0 to 256, or null for the weight of the config`,
    ],
  ];
  for (const [pool, backend, body, status, message] of cases) {
    await t.rejects(change(pool, backend, body), new ControlError(status, message));
  }
  t.same(asked, []);
  await t.rejects(setUp([]).change('web', 's1', { admin: 'drain' }), {
    message: 'no such backend: web/s1; there are no backends',
  });
});

t.test('sessions', async (t) => {
  const { call, told } = setUp();
  t.same(await call('GET', '/v1/sessions'), { entries: 42, rows: [{ key: 'up to 100' }] });
  t.same(await call('GET', '/v1/sessions', { query: 'limit=10000' }), {
    entries: 42,
    rows: [{ key: 'up to 10000' }],
  });
  for (const limit of ['0', '10001', '-1', '1e3', 'all', ''])
    await t.rejects(
      call('GET', '/v1/sessions', { query: `limit=${limit}` }),
      new ControlError(400, `limit is "${limit}"; expected a number from 1 to 10000`),
    );
  t.same(await call('DELETE', '/v1/sessions'), { cleared: 42 });
  t.match(told, ['the session table was cleared by the operator: 42 sessions']);
});

t.test('status and events', async (t) => {
  const { call } = setUp();
  t.same(await call('GET', '/v1/status'), { node: 'lb1' });
  t.same(await call('GET', '/v1/events'), []);
});

t.test('a reload is asked for, or only checked', async (t) => {
  const { asked, call } = setUp();
  for (const body of [undefined, null, {}, { check: true }, { check: false }])
    t.match(await call('POST', '/v1/reload', { body }), { outcome: 'unchanged' });
  t.same(
    asked,
    [false, false, false, true, false].map((checkOnly) => ({ reload: { checkOnly } })),
  );
  for (const body of [{ check: 1 }, { chek: true }])
    await t.rejects(
      call('POST', '/v1/reload', { body }),
      new ControlError(400, 'expected { "check": true } or no body'),
    );
});

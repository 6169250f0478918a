import t, { type Test } from 'tap';
import { parseConfig } from '../../../common/config.ts';
import { Attempts } from '../../../lbd/dispatch/attempts.ts';
import { Backend } from '../../../lbd/dispatch/backend.ts';
import { Pool } from '../../../lbd/dispatch/pool.ts';
import type { PoolQueue } from '../../../lbd/dispatch/queue.ts';
import type { RequestHead } from '../../../lbd/http/h1/request-head.ts';
import {
  type BackendCounter,
  createSharedBuffers,
  GATE_OPEN,
  SharedState,
} from '../../../lbd/shared/shared.ts';
import { CONNECTIONS, PENDING, RETRYING, TRIPPED_5XX, TRIPPED_FAILURES } from '../../../lbd/shared/vitals.ts';
import { freePort } from '../../common/free-port.ts';
import { OK, Plane, RawClient, RawOrigin } from '../harness.ts';
import { always, type Reply, yaml } from '../http/exchange.ts';
import { sessionTable } from '../worker-context.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const POST = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello';
const PUT = POST.replace('POST', 'PUT');
const LARGE_PUT = `${PUT.replace('5', '20000').slice(0, -5)}${'x'.repeat(20_000)}`;
const BUSY = 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy';

const reset: Reply = (socket) => socket.resetAndDestroy();
const silent: Reply = () => {};
/** Answers a request that has come whole. */
const well: Reply = (socket, data) => {
  if (data.startsWith('GET') || /(hello|x)$/.test(data)) socket.write(OK);
};

/** s1 misbehaves, s2 is well; a client asks until s1 had its turn. */
async function pair(t: Test, first: Reply, pool: string, poolTimeouts = '', second: Reply = well) {
  const origins = [await RawOrigin.start(t, first), await RawOrigin.start(t, second)];
  const ports = origins.map(({ port }) => port);
  const plane = await Plane.start(t, yaml(ports, { pool, poolTimeouts }));
  const count = (backend: string, counter: BackendCounter) =>
    plane.control.backendCounter(plane.slot(`web/${backend}`), counter);
  return { origins, plane, count };
}

async function ask(t: Test, plane: Plane, request: string): Promise<string> {
  const client = await RawClient.open(t, plane.port);
  client.write(request);
  const text = await client.until((got) => /\r\n\r\n(ok|busy|[\s\S]*\n)$/.test(got));
  client.socket.destroy();
  return text;
}

/** Round robin begins with s1: the first request is the one that fails there. */
const cases: readonly [
  rule: string,
  first: Reply,
  pool: string,
  request: string,
  answer: RegExp,
  retries: number,
][] = [
  ['a reset, not asked for', reset, '', GET, /^HTTP\/1\.1 502 [\s\S]*backend failed: ECONNRESET/, 0],
  ['a reset', reset, 'retry: { on: [reset] }', GET, /^HTTP\/1\.1 200 /, 1],
  ['a reset: POST is not idempotent', reset, 'retry: { on: [reset] }', POST, /^HTTP\/1\.1 502 /, 0],
  ['a reset: a small body is sent again', reset, 'retry: { on: [reset] }', PUT, /^HTTP\/1\.1 200 /, 1],
  ['a reset: a large body is gone', reset, 'retry: { on: [reset] }', LARGE_PUT, /^HTTP\/1\.1 502 /, 0],
  ['an end', (socket) => socket.end(), 'retry: { on: [reset] }', GET, /^HTTP\/1\.1 200 /, 1],
  [
    'an answer that has begun',
    (socket) => socket.end('HTTP/1.1 2'),
    'retry: { on: [reset] }',
    GET,
    /^HTTP\/1\.1 502 /,
    0,
  ],
  ['a listed status', always(BUSY), 'retry: { on: [503] }', GET, /^HTTP\/1\.1 200 /, 1],
  [
    'a status that is not listed',
    always(BUSY),
    'retry: { on: [502] }',
    GET,
    /^HTTP\/1\.1 503 [\s\S]*busy$/,
    0,
  ],
  [
    'a listed status before a broken body',
    always('HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n'),
    'retry: { on: [503] }',
    GET,
    /^HTTP\/1\.1 200 /,
    1,
  ],
  ['a listed status: POST', always(BUSY), 'retry: { on: [503] }', POST, /^HTTP\/1\.1 503 [\s\S]*busy$/, 0],
  ['no attempts', always(BUSY), 'retry: { on: [503], attempts: 0 }', GET, /^HTTP\/1\.1 503 [\s\S]*busy$/, 0],
  ['no retries at all', reset, 'retry: false', GET, /^HTTP\/1\.1 502 /, 0],
];

t.test('a request whose backend fails goes to another one', async (t) => {
  for (const [rule, first, pool, request, answer, retries] of cases)
    await t.test(rule, async (t) => {
      const { plane, count, origins } = await pair(t, first, pool);
      t.match(await ask(t, plane, request), answer);
      t.equal(count('s1', 'retries'), retries);
      t.equal(count('s2', 'requests'), retries);
      if (retries > 0)
        t.ok(
          origins[1]!.received[0]!.includes(request.slice(0, 20)) && !origins[1]!.received[0]!.includes('<'),
        );
      t.equal(plane.active, 0);
      t.equal(plane.control.vitals.open(RETRYING, plane.slot('web/s2')), 0);
    });
});

t.test('a backend that says nothing in time', async (t) => {
  const { plane, count } = await pair(t, silent, 'retry: { on: [timeout] }', 'response: 100ms');
  t.equal(await ask(t, plane, GET), OK);
  t.equal(count('s1', 'errors'), 1);
  const other = await pair(t, silent, '', 'response: 100ms');
  t.match(await ask(t, other.plane, GET), /^HTTP\/1\.1 504 [\s\S]*the backend took too long/);
});

t.test('when all others fail too, the client gets the last answer', async (t) => {
  const { plane, count } = await pair(t, always(BUSY), 'retry: { on: [503], attempts: 5 }', '', always(BUSY));
  t.equal(await ask(t, plane, GET), BUSY);
  t.same([count('s1', 'retries'), count('s2', 'retries')], [1, 0]);
});

t.test('the budget: a pool that fails is not buried under retries', async (t) => {
  const pool = 'retry: { on: [503], attempts: 1, budget: 0%, budget_min: 2 }';
  // Round robin gives s1 three of six clients, all of them before it answers.
  const busy: Parameters<Reply>[0][] = [];
  const first: Reply = (socket) => {
    if (busy.push(socket) === 3) for (const it of busy) it.write(BUSY);
  };
  const { plane, count, origins } = await pair(t, first, pool, '', silent);
  const clients = await Promise.all(Array.from({ length: 6 }, () => RawClient.open(t, plane.port)));
  for (const client of clients) client.write(GET);
  await origins[1]!.until(() => origins[1]!.received.filter((text) => text.includes('GET')).length === 5);
  const answered = clients.filter(({ text }) => text === BUSY);
  while (answered.length === 0 && clients.every(({ text }) => text === ''))
    await new Promise((resolve) => setImmediate(resolve));
  t.equal(clients.filter(({ text }) => text === BUSY).length, 1, 'two are retried, the third is told');
  t.same([count('s1', 'retries'), count('s1', 'retries_refused')], [2, 1]);
  t.equal(plane.control.vitals.open(RETRYING, plane.slot('web/s2')), 2);
  for (const client of clients) client.socket.resetAndDestroy();
  while (plane.active > 0) await new Promise((resolve) => setImmediate(resolve));
  t.equal(plane.control.vitals.open(RETRYING, plane.slot('web/s2')), 0, 'a client that leaves gives it back');
});

t.test('a request that could not be sent costs no budget', async (t) => {
  const origin = await RawOrigin.start(t, well);
  const plane = await Plane.start(
    t,
    yaml([await freePort(), origin.port], { pool: 'retry: { budget: 0%, budget_min: 0 }' }),
  );
  for (let i = 0; i < 4; i++) t.equal(await ask(t, plane, POST), OK);
});

t.test('the total time covers all tries, and a body that never ends', async (t) => {
  const slow = 'response: 100ms, total: 250ms';
  const { plane } = await pair(t, silent, 'retry: { on: [timeout] }', slow, silent);
  t.match(await ask(t, plane, GET), /^HTTP\/1\.1 504 /);
  const dripping: Reply = (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n');
    const timer = setInterval(() => socket.write('x'), 20);
    socket.once('close', () => clearInterval(timer));
  };
  const other = await pair(t, dripping, '', 'total: 250ms', dripping);
  const client = await RawClient.open(t, other.plane.port);
  client.write(GET);
  await client.end();
  t.equal(client.closed, 'reset');
  t.equal(other.plane.active, 0);
});

t.test('circuit breaker: what is over a limit is told at once, and has its place again later', async (t) => {
  for (const limit of ['requests', 'pending', 'connections'] as const)
    await t.test(limit, async (t) => {
      const origin = await RawOrigin.start(t, silent);
      const text = yaml([origin.port], { pool: `limits: { ${limit}: 1 }` });
      const plane = await Plane.start(t, text);
      const slot = plane.slot('web/s1');
      if (limit === 'pending') plane.shared.vitals.begin(PENDING, slot);
      const first = await RawClient.open(t, plane.port);
      if (limit !== 'pending') {
        first.write(GET);
        await origin.until(() => origin.received.length === 1 && origin.received[0] !== '');
      }
      const second = await RawClient.open(t, plane.port);
      for (let i = 1; i <= 2; i++) {
        second.write(GET);
        await second.until((got) => got.split('HTTP/1.1 503').length > i && got.endsWith('\n'));
      }
      t.match(second.text, /^HTTP\/1\.1 503 [\s\S]*Retry-After: 1\r\n[\s\S]*as many/, 'and is kept');
      t.equal(plane.control.backendCounter(slot, `broken_${limit}`), 2);
      if (limit === 'pending') plane.shared.vitals.end(PENDING, slot);
      else {
        first.socket.resetAndDestroy();
        while (plane.control.vitals.open(CONNECTIONS, slot) > 0) await new Promise(setImmediate);
      }
      second.write(GET);
      await origin.until(() => origin.received.at(-1)?.includes('GET') ?? false);
      second.socket.resetAndDestroy();
      while (plane.active > 0) await new Promise(setImmediate);
    });
  await t.test('an idle connection makes room for one to another backend', async (t) => {
    const { plane } = await pair(t, well, 'limits: { connections: 1 }');
    for (let i = 0; i < 4; i++) t.equal(await ask(t, plane, GET), OK);
  });
});

t.test('what the workers see trips a backend', async (t) => {
  const outlier = 'outlier: { consecutive_5xx: 2, consecutive_failures: 2 }';
  const rows: readonly [name: string, first: Reply, tripped: number][] = [
    ['5xx', always(BUSY), TRIPPED_5XX],
    ['resets', reset, TRIPPED_FAILURES],
    ['nonsense', always('complete nonsense\r\n\r\n'), TRIPPED_FAILURES],
    ['5xx with good answers between them', alternating(BUSY, OK), 0],
  ];
  for (const [name, first, tripped] of rows) {
    const { plane } = await pair(t, first, outlier);
    const slot = plane.slot('web/s1');
    await ask(t, plane, GET);
    await ask(t, plane, GET);
    t.equal(plane.control.vitals.tripped(slot), 0, `${name}: once is not enough`);
    for (let i = 0; i < 4; i++) await ask(t, plane, GET);
    t.equal(plane.control.vitals.tripped(slot), tripped, name);
    plane.control.vitals.clearStreaks(slot);
    t.equal(plane.control.vitals.tripped(slot), 0);
  }
});

/** One answer after the other, in turns. */
function alternating(...answers: string[]): Reply {
  let turn = 0;
  return (socket) => socket.write(answers[turn++ % answers.length]!);
}

t.test('a retry that must not wait: the request stays counted where it is', async (t) => {
  const config = parseConfig(
    `
frontends: { web: { bind: ["127.0.0.1:80"], pool: web } }
pools:
  web:
    algorithm: round-robin
    stick: { cookie: SERVERID }
    retry: { on: [503] }
    backends: { s1: { address: "127.0.0.1:1" }, s2: { address: "127.0.0.1:2" } }
`,
    '/test.yaml',
    { cpus: 1 },
  ).pools[0]!;
  const shared = new SharedState(createSharedBuffers(1), 0);
  const backends = config.backends.map((backend, slot) => new Backend('web', backend, slot, shared));
  for (const { slot } of backends) shared.setGate(slot, GATE_OPEN, 1);
  const sessions = sessionTable();
  const pool = new Pool(config, backends, shared, sessions, 0);
  const attempts = new Attempts(shared, { address: '192.0.2.7', addressHash: 1 });
  const head = { header: (name: string) => (name === 'cookie' ? 'SERVERID=s1' : undefined) };
  t.ok(attempts.begin(pool, head as unknown as RequestHead));
  t.ok(attempts.enter());
  // Somebody waits for s2.
  pool.queue = { enter: () => false, onLeft() {} } as unknown as PoolQueue;
  t.notOk(attempts.another('status', 503, true, true));
  t.equal(attempts.backend.name, 's1');
  t.notOk(attempts.needsCookie, 'the client has the cookie of the backend that answers');
  t.same([shared.active(0), shared.active(1)], [1, 0]);
  attempts.leave();
  t.same([shared.active(0), shared.active(1)], [0, 0]);
});

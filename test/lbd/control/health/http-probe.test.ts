import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import t from 'tap';
import type { HealthConfig } from '../../../../common/model.ts';
import { probeHttp } from '../../../../lbd/control/health/http-probe.ts';
import type { ProbeResult } from '../../../../lbd/control/health/probe.ts';
import { freePort } from '../../../common/free-port.ts';
import { answer, http, serve, target } from './servers.ts';

const { signal } = new AbortController();
const degraded = '{"status":"degraded","checks":{"database":true,"cache":false}}';
const broken = '{"status":"fail","checks":{"database":false}}';

const CASES: readonly [
  name: string,
  config: Partial<HealthConfig>,
  onSocket: (socket: Socket) => void,
  expected: Partial<ProbeResult> | { detail: RegExp },
][] = [
  ['200', {}, answer(http('200 OK')), { outcome: 'pass', detail: 'status 200' }],
  ['a redirect counts', {}, answer(http('302 Found')), { outcome: 'pass' }],
  ['500', {}, answer(http('500 Oops')), { outcome: 'fail', detail: 'status 500, expected 200–399' }],
  [
    'another range',
    {
      expect: [
        [200, 200],
        [418, 420],
      ],
    },
    answer(http('204 Empty')),
    { outcome: 'fail', detail: 'status 204, expected 200, 418–420' },
  ],
  ['teapot', { expect: [[418, 418]] }, answer(http('418 Teapot')), { outcome: 'pass' }],
  ['503 alone is a failure', {}, answer(http('503 Busy')), { outcome: 'fail' }],
  [
    '503 with Connection: close is a failure like any 503, whoever added the field',
    {},
    answer(http('503 Going', '', 'Connection: close\r\n')),
    { outcome: 'fail', detail: 'status 503, expected 200–399' },
  ],
  [
    'also when deep, and the failing checks are named',
    { type: 'deep' },
    answer(http('503 Going', broken, 'Connection: x, Close\r\n')),
    { outcome: 'fail', failingChecks: ['database'] },
  ],
  [
    'a status of drain_status asks for a drain',
    { drain: [[404, 404]] },
    answer(http('404 Leaving')),
    { outcome: 'drain', detail: 'status 404, asks to be drained' },
  ],
  [
    'also when deep, and although it is expected as well',
    { type: 'deep', expect: [[200, 499]], drain: [[404, 404]] },
    answer(http('404 Leaving', broken)),
    { outcome: 'drain' },
  ],
  [
    'another status does not, where drain_status is set',
    { drain: [[404, 404]] },
    answer(http('503 Busy', '', 'Connection: close\r\n')),
    { outcome: 'fail' },
  ],
  [
    '200 with Connection: close is one that passes',
    {},
    answer(http('200 OK', '', 'Connection: close\r\n')),
    { outcome: 'pass' },
  ],
  [
    'not HTTP',
    {},
    answer('SSH-2.0-OpenSSH\r\n'),
    { outcome: 'fail', detail: /^not a valid HTTP answer/ as never },
  ],
  ['closes at once', {}, (socket) => socket.end(), { outcome: 'fail', detail: 'connection reset' }],
  [
    '101',
    {},
    answer('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n'),
    { outcome: 'fail' },
  ],
  ['a head without end', {}, answer(`HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(10_000)}`), { outcome: 'fail' }],
  [
    'the head is enough for http',
    {},
    answer('HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n'),
    { outcome: 'pass' },
  ],
  [
    'deep',
    { type: 'deep' },
    answer(http('200 OK', '{"status":"ok"}')),
    { outcome: 'pass', detail: 'status 200, says "ok"' },
  ],
  [
    'deep, degraded',
    { type: 'deep' },
    answer(http('200 OK', degraded)),
    { outcome: 'pass', detail: 'status 200, says "degraded": check cache fails', failingChecks: ['cache'] },
  ],
  [
    'deep, fails',
    { type: 'deep' },
    answer(http('200 OK', broken)),
    { outcome: 'fail', detail: 'status 200, says "fail": check database fails', failingChecks: ['database'] },
  ],
  [
    'deep, a bad status names the failing checks, too',
    { type: 'deep' },
    answer(http('503 Sick', broken)),
    {
      outcome: 'fail',
      detail: 'status 503, expected 200–299; says "fail": check database fails',
      failingChecks: ['database'],
    },
  ],
  [
    'deep, no JSON',
    { type: 'deep' },
    answer(http('200 OK', '<html>')),
    { outcome: 'fail', detail: /not JSON/ as never },
  ],
  [
    'deep, cut short',
    { type: 'deep' },
    (socket) =>
      socket.on('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"status":"ok"}')),
    { outcome: 'fail', detail: 'the connection broke within the body' },
  ],
  [
    'deep, endless',
    { type: 'deep' },
    (socket) => {
      const more = (error?: Error | null) => {
        if (!error) socket.write(`1000\r\n${' '.repeat(4096)}\r\n`, more);
      };
      socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', more));
    },
    { outcome: 'fail', detail: 'the body has more than 64 KiB' },
  ],
];

for (const [name, config, onSocket, expected] of CASES)
  t.test(name, async (t) => {
    const server = await serve(t, onSocket);
    t.match(await probeHttp(target(server.port, config), signal), expected);
  });

t.test('refused', async (t) => {
  t.match(await probeHttp(target(await freePort()), signal), {
    outcome: 'fail',
    detail: 'connection refused',
  });
});

t.test('silence ends with the time-out, and says at which stage', async (t) => {
  const { port } = await serve(t, () => {});
  t.match(await probeHttp(target(port, { timeoutMs: 30 }), signal), {
    outcome: 'fail',
    detail: 'timed out after 30 ms while waiting for the answer',
  });
  const slow = await serve(t, answer('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{'));
  t.match(await probeHttp(target(slow.port, { type: 'deep', timeoutMs: 30 }), signal), {
    detail: 'timed out after 30 ms while reading the body',
  });
});

t.test('the connection is closed afterwards', async (t) => {
  const closed = Promise.withResolvers<void>();
  const { port } = await serve(t, (socket) => {
    socket.on('close', () => closed.resolve());
    answer(http('200 OK'))(socket);
  });
  await probeHttp(target(port), signal);
  await closed.promise;
});

t.test('a request as configured', async (t) => {
  const server = createServer((request, response) => {
    response.statusCode = 503;
    response.end();
    t.equal(request.method, 'HEAD');
    t.equal(request.url, '/up?deep=1');
    t.equal(request.headers.host, 'shop.example');
    t.equal(request.headers['user-agent'], 'tandem-health');
  });
  t.teardown(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const config = { method: 'HEAD', path: '/up?deep=1', host: 'shop.example' };
  t.equal((await probeHttp(target(port, config), signal)).outcome, 'fail');
});

t.test('without a configured host the field names the backend', async (t) => {
  const heard = Promise.withResolvers<string>();
  const { port } = await serve(t, (socket) => {
    socket.once('data', (data) => heard.resolve(data.toString()));
    answer(http('200 OK'))(socket);
  });
  await probeHttp(target(port), signal);
  t.match(await heard.promise, new RegExp(`host: 127\\.0\\.0\\.1:${port}\r\n`, 'i'));
});

t.test('a path that cannot be asked is a failure, not a crash', async (t) => {
  const { port } = await serve(t, () => {});
  t.match(await probeHttp(target(port, { path: '/a b' }), signal), {
    outcome: 'fail',
    detail: /cannot be asked/,
  });
});

for (const type of ['http', 'deep'] as const)
  t.test(
    `with send_proxy a check of type ${type} leaves no connection behind, whatever its end`,
    async (t) => {
      for (const reply of [http('200 OK', '{"status":"ok"}'), http('500 Oops'), http('200 OK', 'no JSON')]) {
        const closed = Promise.withResolvers<void>();
        const { port } = await serve(t, (socket) => {
          socket.on('close', () => closed.resolve());
          let heard = '';
          socket.on('data', (bytes) => {
            heard += bytes.toString('latin1');
            if (heard.endsWith('\r\n\r\n')) socket.write(reply);
          });
        });
        await probeHttp({ ...target(port, { type }), sendProxy: 'v1' }, signal);
        await closed.promise;
      }
    },
  );

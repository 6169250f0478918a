import { once } from 'node:events';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { parseConfig } from '../../../../common/config.ts';
import { probeHttp2 } from '../../../../lbd/control/health/http2-probe.ts';
import { targetsOf } from '../../../../lbd/control/planner.ts';
import { answer, http, serve, target } from './servers.ts';

const { signal } = new AbortController();

t.test('a backend of HTTP/2 is asked by HTTP/2', async (t) => {
  let asked: http2.IncomingHttpHeaders = {};
  let status = 200;
  const server = http2.createServer((request, response) => {
    asked = request.headers;
    response.statusCode = status;
    response.end('{"status":"pass"}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  t.match(await probeHttp2(target(port, { type: 'http', path: '/up' }), signal), {
    outcome: 'pass',
    detail: 'status 200',
  });
  t.match(asked, {
    ':path': '/up',
    ':method': 'GET',
    ':authority': `127.0.0.1:${port}`,
    'user-agent': 'tandem-health',
  });
  t.match(await probeHttp2(target(port, { type: 'deep' }), signal), { outcome: 'pass' });
  status = 503;
  t.match(await probeHttp2(target(port, { type: 'http' }), signal), {
    outcome: 'fail',
    detail: 'status 503, expected 200–399',
  });
});

t.test('one of HTTP/1 fails its check, and it is said why', async (t) => {
  const { port } = await serve(t, answer(http('400 Bad Request')));
  const result = await probeHttp2(target(port, { type: 'http' }), signal);
  t.equal(result.outcome, 'fail');
  t.match(result.detail, /^does not speak HTTP\/2/);
});

t.test('pools of protocol h2 are checked so, but not at a port of its own', (t) => {
  const targets = (pool: string) =>
    targetsOf(
      parseConfig(
        `{ frontends: { web: { bind: ["*:80"], mode: http, pool: web } }, pools: { web: { ${pool}, backends: { a: { address: "127.0.0.1:81" } } } } }`,
        '/t.yaml',
        { cpus: 1 },
      ),
    ).map(({ http2 }) => http2 === true);
  t.same(targets('protocol: h2'), [true]);
  t.same(targets('protocol: h2, health: { type: http, port: 82 }'), [false]);
  t.same(targets('algorithm: random'), [false]);
  t.end();
});

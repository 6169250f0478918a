import { once } from 'node:events';
import http2 from 'node:http2';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { probeHttp2 } from '../../../../lbd/control/health/http2-probe.ts';
import { PoolTls } from '../../../../lbd/tls/backend-tls.ts';
import { target } from '../../control/health/servers.ts';
import { Plane, RawClient } from '../../harness.ts';
import { Certificates } from '../../tls/secure-client.ts';
import { before, http1 } from './ways.ts';

/** An origin behind TLS that tells which version it was asked in. */
async function origin(t: Test, allowHTTP1: boolean) {
  const certificates = new Certificates(t);
  const { cert, key } = certificates.server('origin', ['127.0.0.1']);
  const sockets = new Set<object>();
  const server = http2.createSecureServer({ cert, key, allowHTTP1 }, (request, response) => {
    sockets.add(request.httpVersionMajor === 2 ? request.stream.session! : request.socket);
    response.end(request.httpVersion);
  });
  server.on('upgrade', (_request, socket) =>
    socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return {
    port: (server.address() as AddressInfo).port,
    sockets,
    tls: `tls: { ca: ${certificates.rootFile} }`,
    certificates,
  };
}

t.test('auto: the backend chooses HTTP/2, but an upgrade goes by HTTP/1.1', async (t) => {
  const { port, tls, sockets } = await origin(t, true);
  const plane = await Plane.start(t, before([port], tls).replace('protocol: h2', 'protocol: auto'));
  const way = http1(t, plane.port);
  for (let i = 0; i < 3; i++) t.equal((await way.ask()).body.toString(), '2.0');
  t.equal(sockets.size, 1);
  const client = await RawClient.open(t, plane.port);
  client.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n');
  t.match(await client.until((text) => text.includes('\r\n\r\n')), /^HTTP\/1\.1 101 /);
});

t.test('auto: the backend chooses HTTP/1.1, and its connections are kept', async (t) => {
  const { certificates } = await origin(t, false);
  const { cert, key } = certificates.server('other', ['127.0.0.1']);
  let connections = 0;
  const server = https.createServer({ cert, key, ALPNProtocols: ['http/1.1'] }, (request, response) =>
    response.end(request.httpVersion),
  );
  server.on('secureConnection', () => connections++);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const yaml = before([port], `tls: { ca: ${certificates.rootFile} }`);
  const plane = await Plane.start(t, yaml.replace('protocol: h2', 'protocol: auto'));
  const way = http1(t, plane.port);
  const told = await Promise.all(
    Array.from({ length: 5 }, () => way.ask({ method: 'POST', body: 'x', counted: true })),
  );
  t.same(
    told.map(({ body }) => body.toString()),
    Array(5).fill('1.1'),
  );
  const before2 = connections;
  t.equal((await way.ask()).body.toString(), '1.1');
  t.equal(connections, before2, 'an idle connection is used again');
  t.equal(plane.active, 0);

  const h2Only = await Plane.start(t, yaml);
  const refused = await http1(t, h2Only.port).ask();
  t.equal(refused.status, 502, 'h2: it counts as one that cannot be connected to');
  t.match(refused.body.toString(), /ALPN|alert|no application protocol/i);
});

t.test('a check in TLS', async (t) => {
  const { port, certificates } = await origin(t, false);
  const tls = new PoolTls(
    { verify: true } as never,
    {
      ca: [certificates.root.cert],
      client: undefined,
      version: '',
    } as never,
  );
  const result = await probeHttp2({ ...target(port, { type: 'http' }), tls }, new AbortController().signal);
  t.match(result, { outcome: 'pass' });
});

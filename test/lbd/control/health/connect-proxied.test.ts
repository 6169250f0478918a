import { once } from 'node:events';
import { createServer } from 'node:net';
import t from 'tap';
import { proxyHeader } from '../../../../common/proxy-protocol.ts';
import { probeHttp } from '../../../../lbd/control/health/http-probe.ts';
import { probeTcp } from '../../../../lbd/control/health/tcp-probe.ts';
import { target } from './servers.ts';

const { signal } = new AbortController();

t.test('checks of a backend that expects a PROXY header begin with one of their own', async (t) => {
  let received = '';
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      received += bytes.toString('latin1');
      if (received.endsWith('\r\n\r\n') && received.includes('GET '))
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as { port: number };
  for (const sendProxy of ['v1', 'v2'] as const) {
    const header = proxyHeader(sendProxy, undefined).toString('latin1');
    received = '';
    t.match(await probeHttp({ ...target(port), sendProxy }, signal), { outcome: 'pass' });
    t.ok(received.startsWith(`${header}GET /health HTTP/1.1\r\n`), `http, ${sendProxy}`);
    received = '';
    t.match(await probeTcp({ ...target(port, { type: 'tcp' }), sendProxy }, signal), { outcome: 'pass' });
    while (received.length < header.length) await new Promise(setImmediate);
    t.equal(received, header, `tcp, ${sendProxy}`);
  }
});

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:tls';
import t, { type Test } from 'tap';
import { Plane } from '../../harness.ts';
import { Certificates } from '../../tls/secure-client.ts';

/** Another implementation of HTTP/2, nghttp2 as Node has it, before lbd; and Node's HTTP/1.1 behind it. */

/** Says what it got, or 1 MiB, or speaks WebSocket. */
async function startOrigin(t: Test): Promise<number> {
  const server = http.createServer((request, response) => {
    if (request.url === '/large') response.end('l'.repeat(1 << 20));
    else if (request.url === '/trailers') {
      response.writeHead(200, { trailer: 'x-sum' });
      response.write('body');
      response.addTrailers({ 'x-sum': '7' });
      response.end();
    } else if (request.url === '/early') {
      response.writeEarlyHints({ link: '</a>; rel=preload' });
      response.end('late');
    } else {
      response.writeHead(200, { 'x-cookie': request.headers.cookie ?? '', 'x-method': request.method });
      request.pipe(response);
    }
  });
  server.on('upgrade', (request, socket) => {
    const accept = createHash('sha1')
      .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest('base64');
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

async function start(t: Test, more: string) {
  const port = await startOrigin(t);
  return Plane.start(
    t,
    `
frontends: { web: { bind: ["127.0.0.1:PORT"], mode: http, pool: web, ${more} } }
pools: { web: { backends: { s1: { address: "127.0.0.1:${port}" } } } }
`,
  );
}

function open(t: Test, url: string): http2.ClientHttp2Session {
  const session = http2.connect(url, { rejectUnauthorized: false });
  t.teardown(() => session.destroy());
  return session;
}

interface Answer {
  readonly headers: http2.IncomingHttpHeaders;
  readonly trailers: http2.IncomingHttpHeaders;
  readonly interim: readonly unknown[];
  readonly body: string;
}

async function answerOf(stream: http2.ClientHttp2Stream): Promise<Answer> {
  const interim: unknown[] = [];
  let trailers: http2.IncomingHttpHeaders = {};
  stream.on('headers', (came) => interim.push(came[':status']));
  stream.on('trailers', (came) => {
    trailers = came;
  });
  const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
  const body = Buffer.concat(await stream.toArray()).toString('latin1');
  return { headers, trailers, interim, body };
}

async function exercise(t: Test, plane: Plane, url: string): Promise<void> {
  const session = open(t, url);
  const [settings] = (await once(session, 'remoteSettings')) as [http2.Settings];
  t.match(settings, { maxConcurrentStreams: 100, enableConnectProtocol: true });
  const all = await Promise.all(
    Array.from({ length: 90 }, () => answerOf(session.request({ ':path': '/' }))),
  );
  t.equal(all.filter(({ headers }) => Number(headers[':status']) === 200).length, 90);
  const large = await Promise.all(
    Array.from({ length: 3 }, () => answerOf(session.request({ ':path': '/large' }))),
  );
  for (const { body } of large) t.ok(body === 'l'.repeat(1 << 20));
  const upload = session.request({ ':path': '/', ':method': 'POST', cookie: ['a=b', 'c=d'] });
  const text = 'u'.repeat(1 << 20);
  upload.end(text);
  const echoed = await answerOf(upload);
  t.match(echoed.headers, { 'x-cookie': 'a=b; c=d', 'x-method': 'POST' });
  t.ok(echoed.body === text);
  t.match(await answerOf(session.request({ ':path': '/large', ':method': 'HEAD' })), {
    headers: { ':status': 200 },
    body: '',
  });
  t.match(await answerOf(session.request({ ':path': '/trailers' })), {
    body: 'body',
    trailers: { 'x-sum': '7' },
  });
  t.match(await answerOf(session.request({ ':path': '/early' })), { body: 'late', interim: [103] });
  await new Promise<void>((resolve, reject) => {
    session.ping((error) => (error === null ? resolve() : reject(error)));
  });
  const socket = session.request({
    ':method': 'CONNECT',
    ':protocol': 'websocket',
    ':path': '/',
    ':authority': 'a',
  });
  const [agreed] = (await once(socket, 'response')) as [http2.IncomingHttpHeaders];
  t.match(agreed, { ':status': 200 });
  socket.write('over and out');
  t.equal(String((await once(socket, 'data'))[0]), 'over and out');
  socket.end();
  await once(socket, 'close');
  const left = session.request({ ':path': '/', ':method': 'POST' });
  left.write('half');
  await once(left, 'data');
  left.close(http2.constants.NGHTTP2_CANCEL);
  await once(left, 'close');
  session.settings({ initialWindowSize: 10, headerTableSize: 0 });
  await once(session, 'localSettings');
  t.match(await answerOf(session.request({ ':path': '/trailers' })), {
    body: 'body',
    trailers: { 'x-sum': '7' },
  });
  session.close();
  await once(session, 'close');
  while (plane.active > 0) await new Promise(setImmediate);
}

t.test('node:http2 in the clear, by its preface and by configuration alone', async (t) => {
  for (const protocols of ['[h2]', '[h2, http/1.1]', '[http/1.1, h2]']) {
    const plane = await start(t, `protocols: ${protocols}`);
    await exercise(t, plane, `http://127.0.0.1:${plane.port}`);
  }
});

t.test('node:http2 over TLS, and HTTP/1.1 beside it on the same port', async (t) => {
  const { files } = new Certificates(t).server('a.example');
  const plane = await start(t, `tls: { certificates: [${files}] }`);
  await exercise(t, plane, `https://127.0.0.1:${plane.port}`);
  const response = await fetchOld(plane.port);
  t.equal(response, 200);
});

for (const [protocols, offered, expected] of [
  ['[h2, http/1.1]', ['h2', 'http/1.1'], 'h2'],
  ['[http/1.1, h2]', ['h2', 'http/1.1'], 'http/1.1'],
  ['[http/1.1]', ['h2', 'http/1.1'], 'http/1.1'],
  ['[h2, http/1.1]', ['http/1.1'], 'http/1.1'],
  ['[h2]', ['h2'], 'h2'],
] as const)
  t.test(`RFC 7301 ALPN: protocols ${protocols} to a client of ${offered}: ${expected}`, async (t) => {
    const { files } = new Certificates(t).server('a.example');
    const plane = await start(t, `protocols: ${protocols}, tls: { certificates: [${files}] }`);
    const socket = connect({
      port: plane.port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      ALPNProtocols: [...offered],
    });
    t.teardown(() => socket.destroy());
    await once(socket, 'secureConnect');
    t.equal(socket.alpnProtocol, expected);
  });

/** @returns status of an answer to HTTP/1.1 over TLS */
async function fetchOld(port: number): Promise<number> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  const [bytes] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return Number(bytes.toString('latin1').slice(9, 12));
}

import t from 'tap';
import { OK, Plane, RawOrigin } from '../harness.ts';
import { Certificates, SecureClient } from '../tls/secure-client.ts';
import { Exchange } from './exchange.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

t.test('RFC 9112 §9.6 a client that stops its upload at an early answer still gets all of it', async (t) => {
  const exchange = await Exchange.start(t);
  exchange.reply = (socket, data) =>
    data.startsWith('POST') && socket.write('HTTP/1.1 413 Content Too Large\r\nContent-Length: 6\r\n\r\nbig');
  const client = await exchange.client();
  client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhello');
  await client.until((text) => text.endsWith('big'));
  client.socket.end();
  await new Promise(setImmediate);
  exchange.origin.sockets[0]!.write('big');
  t.match(await client.end(), /^HTTP\/1\.1 413 [\s\S]*\r\n\r\nbigbig$/);
  t.not(client.closed, 'reset');
  while (exchange.plane.plane.open > 0) await new Promise(setImmediate);
  t.equal(exchange.plane.active, 0);
});

t.test('RFC 9110 §8.6 a 204 that says it has a body: what comes behind it is nobody’s answer', async (t) => {
  for (const framing of ['Content-Length: 5', 'Transfer-Encoding: chunked']) {
    const exchange = await Exchange.start(t);
    exchange.reply = (socket) => socket.write(`HTTP/1.1 204 No Content\r\n${framing}\r\n\r\n`);
    const client = await exchange.client();
    client.write(GET);
    await client.until((text) => text.endsWith('\r\n\r\n'));
    t.match(client.text, /^HTTP\/1\.1 204 /);
    exchange.reply = (socket) => socket.write(OK);
    client.write(GET);
    await client.until((text) => text.endsWith(OK));
    t.equal(exchange.origin.sockets.length, 2, `${framing}: not used again`);
    client.socket.destroy();
  }
});

t.test(
  'half a request and its end come in one piece, before the backend is there: nobody waits',
  async (t) => {
    const origin = await RawOrigin.start(t);
    const { files } = new Certificates(t).server('a.example');
    const plane = await Plane.start(
      t,
      `
access_log: { path: /access.log }
frontends: { web: { bind: ["127.0.0.1:PORT"], pool: web, tls: { certificates: [${files}] } } }
pools: { web: { backends: { s1: { address: "127.0.0.1:${origin.port}" } } } }
`,
    );
    const client = new SecureClient(t, plane.port, { allowHalfOpen: true } as object);
    client.socket.once('secureConnect', () => {
      client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf');
      client.socket.end();
    });
    t.match(JSON.parse((await plane.accessLines())[0]!), { cause: 'client_gone', status: 499 });
    while (plane.plane.open > 0) await new Promise(setImmediate);
    t.equal(plane.active, 0);
  },
);

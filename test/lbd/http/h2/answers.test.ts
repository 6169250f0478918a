import t from 'tap';
import { GATE_CLOSED } from '../../../../lbd/shared/shared.ts';
import { always } from '../exchange.ts';
import { data, FLAG, FRAME, GET, headers, request, rst, Served } from './harness.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const POST = request('POST', '/');

/** What came at the origin last, from its head on. */
function lastRequest(served: Served): string {
  return served.got.slice(served.got.lastIndexOf(' HTTP/1.1\r\n') - 10);
}

t.test('RFC 9113 §8.2.3 pieces of a cookie are one line for a backend of HTTP/1', async (t) => {
  const served = await Served.start(t);
  const client = await served.open();
  client.write(
    headers(1, request('GET', '/', ['cookie', 'a=b'], ['x', 'y'], ['cookie', 'c=d'], ['cookie', 'e=f'])),
  );
  await client.answered(1);
  t.match(served.got, /\r\ncookie: a=b; c=d; e=f\r\n/);
  t.equal(served.got.match(/cookie/g)!.length, 1);
});

t.test(
  'RFC 9113 §8.3.1 :authority is the Host; one of the same name beside it is none of its own',
  async (t) => {
    const served = await Served.start(t);
    const client = await served.open();
    client.write(headers(1, request('GET', '/a?b=c', ['host', 'a.example'])));
    await client.answered(1);
    t.match(served.got, /^GET \/a\?b=c HTTP\/1\.1\r\nhost: a\.example\r\n/);
    t.equal(served.got.match(/host: /gi)!.length, 1 + served.got.match(/X-Forwarded-Host/gi)!.length);
  },
);

t.test('bodies: with a length as they are, else in chunks; none of GET, 0 bytes of POST', async (t) => {
  const served = await Served.start(t);
  const client = await served.open();
  client.write(headers(1, request('POST', '/hold', ['content-length', '4']), 0), data(1, 'ab'));
  await served.origin.until(() => served.got.endsWith('ab'));
  client.write(data(1, 'cd', FLAG.endStream));
  await served.origin.until(() => served.got.endsWith('abcd'));
  t.match(served.got, /\r\ncontent-length: 4\r\n/);
  t.notMatch(served.got, /transfer-encoding/i);
  client.write(
    headers(3, request('POST', '/hold'), 0),
    data(3, 'ab'),
    data(3, ''),
    data(3, Buffer.from('\x03cd\0\0\0'), FLAG.padded),
  );
  client.write(data(3, 'e', FLAG.endStream));
  await served.origin.until(() => served.got.endsWith('0\r\n\r\n'));
  t.match(lastRequest(served), /Transfer-Encoding: chunked\r\n/);
  t.equal(
    lastRequest(served)
      .split('\r\n\r\n')
      .slice(1)
      .join('\r\n\r\n')
      .replaceAll(/[0-9]+\r\n|\r\n/g, ''),
    'abcde',
  );
  client.write(headers(5, request('POST', '/a')), headers(7, GET));
  await client.answered(5);
  await client.answered(7);
  t.match(served.got, /^content-length: 0\r\n/m);
  t.notMatch(
    served.got.slice(served.got.indexOf('GET / ')).split('\r\n\r\n')[0],
    /content-length|transfer-encoding/i,
  );
  t.same(client.wrongs, []);
});

t.test('RFC 9113 §8.1 trailers go on, both ways; those of framing and routing do not', async (t) => {
  const served = await Served.start(t);
  served.reply = (socket, text) => {
    if (!text.endsWith('\r\n\r\n') || !/^0\r\n/m.test(text)) return;
    socket.write(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Grpc-Status\r\n\r\n2\r\nok\r\n0\r\nGrpc-Status: 0\r\nContent-Length: 7\r\n\r\n',
    );
  };
  const client = await served.open();
  client.write(headers(1, request('POST', '/', ['te', 'trailers']), 0), data(1, 'hi'));
  client.write(
    headers(1, [
      ['x-sum', '7'],
      ['content-length', '9'],
      ['host', 'b'],
      ['x-forwarded-for', '1.2.3.4'],
      ['te', 'trailers'],
    ]),
  );
  const answer = await client.answered(1);
  t.match(answer, { status: 200, body: 'ok', ended: true, fields: { trailer: 'Grpc-Status' } });
  t.same(answer.trailers, { 'grpc-status': '0' });
  t.match(served.got, /\r\nConnection: TE\r\nTE: trailers\r\n/);
  t.match(served.got, /0\r\nx-sum: 7\r\n\r\n$/);
  t.same(client.wrongs, []);
});

t.test('trailers alone, without a body', async (t) => {
  const served = await Served.start(t);
  served.reply = always('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nGrpc-Status: 12\r\n\r\n');
  const client = await served.open();
  client.write(headers(1, GET));
  t.match(await client.answered(1), { status: 200, body: '', trailers: { 'grpc-status': '12' } });
  t.equal(client.count(FRAME.data), 0);
  t.same(client.wrongs, []);
});

t.test('RFC 9110 §15.2 interim answers go on before the final one', async (t) => {
  const served = await Served.start(t);
  served.reply = (socket, text) => {
    if (text.includes('\r\n\r\n'))
      socket.write('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n');
    if (text.includes('body')) socket.write(OK);
  };
  const client = await served.open();
  client.write(headers(1, request('POST', '/', ['expect', '100-continue'], ['content-length', '4']), 0));
  await client.until(() => client.answer(1).interim.length === 2);
  t.same(client.answer(1).interim, [100, 103]);
  t.equal(client.answer(1).fields.link, '</a>');
  client.write(data(1, 'body', FLAG.endStream));
  t.match(await client.answered(1), { status: 200, body: 'ok' });
  t.same(client.wrongs, []);
});

t.test('RFC 9110 §15.2.2 a 101 that nobody asked for is no answer', async (t) => {
  const served = await Served.start(t);
  served.reply = always('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n');
  const client = await served.open();
  client.write(headers(1, GET));
  t.match(await client.answered(1), { status: 502, interim: [] });
  t.equal(served.plane.active, 0);
});

for (const [method, answer, status, length] of [
  ['HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n', 200, '1000'],
  ['HEAD', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', 200, undefined],
  ['GET', 'HTTP/1.1 204 No Content\r\n\r\n', 204, undefined],
  ['GET', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: "a"\r\n\r\n', 304, '1000'],
  ['GET', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', 200, '0'],
] as const)
  t.test(
    `an answer without a body ends with its HEADERS: ${status} to ${method}, length ${length}`,
    async (t) => {
      const served = await Served.start(t);
      served.reply = always(answer);
      const client = await served.open();
      client.write(headers(1, request(method, '/')));
      const came = await client.answered(1);
      t.match(came, { status, body: '', ended: true, trailers: undefined });
      t.equal(came.fields['content-length'], length);
      t.equal(client.count(FRAME.data), 0);
      t.same(client.wrongs, []);
      await served.emptied(client);
    },
  );

t.test('RFC 9113 §8.2.2 fields of the backend’s hop stay there', async (t) => {
  const served = await Served.start(t);
  served.reply = always(
    'HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nX-Mine:  with  space \r\nContent-Length: 2\r\n\r\nok',
  );
  const client = await served.open();
  client.write(headers(1, GET));
  const { fields } = await client.answered(1);
  t.same(Object.keys(fields).sort(), [':status', 'content-length', 'date', 'x-mine']);
  t.equal(fields['x-mine'], 'with  space');
  t.same(client.wrongs, []);
});

t.test(
  'RFC 9113 §8.1 an answer before the end of its request: complete, then RST_STREAM of NO_ERROR',
  async (t) => {
    const served = await Served.start(t);
    served.reply = (socket, text) =>
      text.includes('POST') && socket.write('HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig');
    const client = await served.open();
    client.write(headers(1, POST, 0), data(1, 'hello'));
    await client.until(() => client.answer(1).reset !== undefined);
    t.match(client.answer(1), { status: 413, body: 'big', ended: true, reset: 'noError' });
    // What was on its way.
    client.write(data(1, 'world'), data(1, '', FLAG.endStream));
    served.reply = always(OK);
    client.write(headers(3, GET));
    t.match(await client.answered(3), { status: 200 });
    t.same(client.wrongs, []);
    await served.emptied(client);
  },
);

t.test('a client that resets its stream ends the backend’s work, and nothing but that', async (t) => {
  const served = await Served.start(t);
  const client = await served.open();
  client.write(headers(1, request('GET', '/hold')), headers(3, request('POST', '/hold'), 0), data(3, 'half'));
  await served.origin.until(() => served.got.includes('half') && served.got.includes('GET /hold'));
  t.equal(served.plane.active, 2);
  client.write(rst(1), rst(3));
  await served.origin.until(() => served.origin.received.every((text) => /<(reset|close)>$/.test(text)));
  t.equal(served.plane.active, 0);
  client.write(headers(5, GET));
  t.match(await client.answered(5), { status: 200 });
  await served.emptied(client);
});

t.test('a client that resets within its answer ends the backend’s work', async (t) => {
  const served = await Served.start(t);
  served.reply = (socket) => socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n');
  const client = await served.open();
  client.write(headers(1, GET));
  await client.until(() => client.answer(1).body === 'ok');
  client.write(rst(1));
  await served.origin.until(() => /<(reset|close)>$/.test(served.got));
  await served.emptied(client);
  t.equal(served.plane.active, 0);
});

t.test('a connection that is gone ends the work for all its streams', async (t) => {
  const served = await Served.start(t);
  const client = await served.open();
  client.write(...[1, 3, 5].map((id) => headers(id, request('GET', '/hold'))));
  await served.origin.until(() => served.got.match(/\/hold/g)?.length === 3);
  client.socket.resetAndDestroy();
  await served.emptied(client);
  t.equal(served.plane.active, 0);
  while (served.plane.plane.open > 0) await new Promise(setImmediate);
});

t.test('a client that has ended its side gets its answers, and then the end', async (t) => {
  const served = await Served.start(t);
  served.reply = () => {};
  const client = await served.open();
  client.write(headers(1, GET));
  client.socket.end();
  await served.origin.until(() => served.got.includes('\r\n\r\n'));
  served.origin.sockets[0]!.write(OK);
  t.match(await client.answered(1), { status: 200, body: 'ok', ended: true });
  await client.end();
  t.equal(client.goAway, 'noError');
  await served.emptied(client);
});

t.test('a client that ends its side within a request is gone', async (t) => {
  const served = await Served.start(t);
  const client = await served.open();
  client.write(headers(1, POST, 0), data(1, 'half'));
  await served.origin.until(() => served.got.includes('half'));
  client.socket.end();
  await client.end();
  await served.emptied(client);
  t.equal(served.plane.active, 0);
});

for (const [how, end] of [
  ['ends', (socket: { end(): void }) => socket.end()],
  ['resets', (socket: { resetAndDestroy(): void }) => socket.resetAndDestroy()],
] as const)
  t.test(
    `a backend ${how} within its answer: RST_STREAM of INTERNAL_ERROR, and the others go on`,
    async (t) => {
      const served = await Served.start(t);
      const client = await served.open();
      client.write(headers(1, request('GET', '/hold')), headers(3, request('GET', '/hold')));
      await served.origin.until(() => served.got.match(/\/hold/g)?.length === 2);
      const [first, second] = served.origin.sockets;
      first!.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf');
      await client.until(() => [...client.answers.values()].some(({ body }) => body === 'half'));
      end(first as never);
      await client.until(() => [...client.answers.values()].some(({ reset }) => reset !== undefined));
      second!.write(OK);
      await client.until(() => [...client.answers.values()].some(({ ended }) => ended));
      t.same([...client.answers.values()].map(({ reset, body }) => `${body} ${reset}`).sort(), [
        'half internal',
        'ok undefined',
      ]);
      t.same(client.wrongs, []);
      await served.emptied(client);
    },
  );

t.test('an answer of HTTP/1.0, up to the end of its connection', async (t) => {
  const served = await Served.start(t);
  served.reply = always('HTTP/1.0 200 OK\r\n\r\nall of it', true);
  const client = await served.open();
  client.write(headers(1, GET));
  t.match(await client.answered(1), { status: 200, body: 'all of it', ended: true });
  t.same(client.wrongs, []);
});

t.test('lbd’s own answers: no backend, and a head that is too large', async (t) => {
  const served = await Served.start(t, { limits: 'head: 1KiB, fields: 10' });
  const client = await served.open();
  client.write(headers(1, request('GET', '/', ['x', 'y'.repeat(2000)])));
  t.match(await client.answered(1), { status: 431, ended: true });
  client.write(
    headers(3, request('GET', '/', ...Array.from({ length: 11 }, (_, i) => [`x${i}`, ''] as const))),
  );
  t.match(await client.answered(3), { status: 431, ended: true });
  client.write(headers(5, request('POST', '/', ['x', 'y'.repeat(2000)]), 0), data(5, 'body'));
  await client.until(() => client.answer(5).reset !== undefined);
  t.match(client.answer(5), { status: 431, ended: true, reset: 'noError' });
  served.plane.gate('web/s1', GATE_CLOSED);
  client.write(headers(7, GET));
  t.match(await client.answered(7), { status: 503, ended: true, fields: { 'retry-after': '1' } });
  t.equal(served.got, '');
  t.same(client.wrongs, []);
  await served.emptied(client);
});

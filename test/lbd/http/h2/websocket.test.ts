import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import t, { type Test } from 'tap';
import { data, type Fields, FLAG, headers, Served } from './harness.ts';

const CONNECT: Fields = [
  [':method', 'CONNECT'],
  [':protocol', 'websocket'],
  [':scheme', 'http'],
  [':authority', 'a.example'],
  [':path', '/chat'],
  ['sec-websocket-version', '13'],
];

/** What a backend answers that has read the key (RFC 6455 §4.2.2). */
function acceptOf(text: string): string {
  const key = /sec-websocket-key: (\S+)\r\n/i.exec(text)![1]!;
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
}

async function start(t: Test, answer: (text: string) => string) {
  const served = await Served.start(t);
  served.reply = (socket: Socket, text: string) => {
    if (text.endsWith('\r\n\r\n')) socket.write(answer(text));
  };
  return served;
}

const agreeing = (text: string) =>
  `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptOf(text)}\r\nSec-WebSocket-Protocol: chat\r\n\r\n`;

t.test('RFC 8441: a WebSocket by extended CONNECT, before a backend of HTTP/1.1', async (t) => {
  const served = await start(t, agreeing);
  const client = await served.open();
  client.write(headers(1, CONNECT, 0), data(1, 'early '));
  const answer = client.answer(1);
  await client.until(() => answer.status !== 0);
  t.equal(answer.status, 200);
  t.equal(answer.fields['sec-websocket-protocol'], 'chat');
  t.match(answer.fields, { upgrade: undefined, connection: undefined });
  client.write(data(1, 'and late'));
  await served.origin.until(() => served.got.endsWith('early and late'));
  t.match(served.got, /^GET \/chat HTTP\/1\.1\r\nhost: a\.example\r\n/);
  t.match(served.got, /\r\nConnection: upgrade\r\nUpgrade: websocket\r\n/);
  served.origin.sockets[0]!.write('hello');
  await client.until(() => answer.body === 'hello');
  client.write(data(1, '', FLAG.endStream));
  await served.origin.until(() => served.got.endsWith('<end>'));
  served.origin.sockets[0]!.end('bye');
  await client.answered(1);
  t.match(answer, { body: 'hellobye', ended: true, reset: undefined });
});

t.test('a backend that ends first, and one that resets', async (t) => {
  const served = await start(t, agreeing);
  const client = await served.open();
  client.write(headers(1, CONNECT, 0));
  await client.until(() => client.answer(1).status === 200);
  served.origin.sockets[0]!.end('bye');
  await client.until(() => client.answer(1).ended);
  t.equal(client.answer(1).body, 'bye');
  client.write(data(1, 'still', FLAG.endStream));
  await served.origin.until(() => served.got.endsWith('still<end>'));
  client.write(headers(3, CONNECT, 0));
  await client.until(() => client.answer(3).status === 200);
  served.origin.sockets[1]!.resetAndDestroy();
  t.match(await client.answered(3), { reset: 'internal' });
});

t.test('a client that resets its stream resets its backend', async (t) => {
  const served = await start(t, agreeing);
  const client = await served.open();
  client.write(headers(1, CONNECT, 0));
  await client.until(() => client.answer(1).status === 200);
  client.socket.resetAndDestroy();
  await served.origin.until(() => served.got.endsWith('<reset>'));
});

t.test('backends that do not agree', async (t) => {
  const cases: [answer: (text: string) => string, expected: object][] = [
    [() => 'HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno', { status: 404, body: 'no', ended: true }],
    // A 2xx would tell that there is a tunnel.
    [() => 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', { status: 502, ended: true }],
    [(text) => agreeing(text).replace(/Accept: \S+/, 'Accept: other'), { reset: 'internal' }],
  ];
  for (const [answer, expected] of cases) {
    const served = await start(t, answer);
    const client = await served.open();
    client.write(headers(1, CONNECT, 0));
    t.match(await client.answered(1), expected);
  }
});

t.test('what is no extended CONNECT', async (t) => {
  const served = await Served.start(t);
  const client = await served.open();
  const without = (name: string) => CONNECT.filter(([it]) => it !== name);
  client.write(headers(1, CONNECT, FLAG.endStream));
  t.match(await client.answered(1), { reset: 'protocol' }, 'a tunnel that is over before it begins');
  client.write(headers(3, [[':method', 'GET'], ...without(':method')], 0));
  t.match(await client.answered(3), { reset: 'protocol' }, ':protocol of another method');
  client.write(headers(5, without(':path'), 0));
  t.match(await client.answered(5), { reset: 'protocol' });
  client.write(headers(7, without(':protocol'), 0));
  t.match(await client.answered(7), { reset: 'protocol' }, 'CONNECT has no path');
});

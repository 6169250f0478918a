import { createHash } from 'node:crypto';
import type net from 'node:net';
import t, { type Test } from 'tap';
import {
  data,
  type Fields,
  FLAG,
  FRAME,
  GET,
  type Http2Client,
  headers,
  request,
  rst,
  Served,
} from './harness.ts';

/** WebSocket over HTTP/2 (RFC 8441) to a backend of HTTP/1.1. */

const END = FLAG.endStream;
const WINDOW = 65_535;
const connect = (...more: Fields): Fields => [
  [':protocol', 'websocket'],
  ...request('CONNECT', '/chat', ['sec-websocket-version', '13'], ...more),
];

/** What a backend says that speaks WebSocket, to the last request that came. */
function agreement(text: string): string {
  const [, key] = /sec-websocket-key: (\S+)/.exec(text) ?? [];
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  return `HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`;
}

/** A backend that agrees to each upgrade and then says back what it hears. */
function echo(served: Served): void {
  served.reply = (socket, text) => socket.write(text.startsWith('GET ') ? agreement(text) : text, 'latin1');
}

async function openTunnel(t: Test): Promise<{ served: Served; client: Http2Client; socket: net.Socket }> {
  const served = await Served.start(t, { more: 'access_log: { path: /access.log }' });
  echo(served);
  const client = await served.open();
  client.write(headers(1, connect(), 0));
  await client.until(() => client.answer(1).status !== 0 || client.answer(1).reset !== undefined);
  t.match(client.answer(1), { status: 200, ended: false, reset: undefined });
  return { served, client, socket: served.origin.sockets[0]! };
}

t.test('RFC 8441 §3 SETTINGS tell that there is extended CONNECT', async (t) => {
  const served = await Served.start(t);
  const client = await served.open();
  const { payload } = client.frames.find(({ type, flags }) => type === FRAME.settings && flags === 0)!;
  t.ok(payload.includes(Buffer.from([0, 8, 0, 0, 0, 1])));
});

t.test(
  'RFC 8441 §5 a handshake of HTTP/1.1 for the backend, a 200 for the client, bytes both ways',
  async (t) => {
    const { served, client } = await openTunnel(t);
    t.match(served.got, /^GET \/chat HTTP\/1\.1\r\nhost: a\.example\r\n/);
    t.match(served.got, /\r\nConnection: upgrade\r\nUpgrade: websocket\r\n/);
    t.match(served.got, /\r\nsec-websocket-key: [A-Za-z0-9+/]{22}==\r\n/);
    t.match(served.got, /\r\nsec-websocket-version: 13\r\n/);
    t.notMatch(served.got, /content-length|transfer-encoding/i);
    t.notMatch(Object.keys(client.answer(1).fields), ['connection', 'upgrade']);
    client.write(data(1, 'hello'), data(1, ' world'));
    await client.until(() => client.answer(1).body === 'hello world');
    // More than any window, both ways.
    client.credits = true;
    const size = 16_000;
    for (let i = 0; i < 20; i++) {
      client.write(data(1, 'x'.repeat(size)));
      await client.until(() => client.answer(1).body.length >= 11 + size * (i + 1));
    }
    t.equal(client.answer(1).body.length, 11 + 20 * size);
    client.write(data(1, '', END));
    await served.origin.until(() => served.got.endsWith('<end>'));
    served.origin.sockets[0]!.end();
    t.match(await client.answered(1), { ended: true });
    t.same(client.wrongs, []);
    t.match(JSON.parse((await served.plane.accessLines())[0]!), { status: 101, cause: '' });
    client.write(headers(3, request('GET', '/hold')));
    await served.emptied(client);
  },
);

t.test('the backend ends first: END_STREAM, and what the client still says arrives', async (t) => {
  const { served, client, socket } = await openTunnel(t);
  served.reply = () => {};
  socket.write('bye');
  socket.end();
  await client.until(() => client.answer(1).ended);
  t.match(client.answer(1), { body: 'bye', reset: undefined });
  client.write(data(1, 'you too'), data(1, '', END));
  await served.origin.until(() => served.got.endsWith('you too<end><close>'));
  t.same(client.wrongs, []);
  await served.emptied(client);
});

t.test('RFC 8441 §5 a client that resets its stream resets the backend', async (t) => {
  const { served, client } = await openTunnel(t);
  client.write(rst(1));
  await served.origin.until(() => served.got.endsWith('<reset>'));
  t.equal(served.plane.active, 0);
  await served.emptied(client);
});

t.test('RFC 8441 §4 a backend that resets is CANCEL', async (t) => {
  const { served, client, socket } = await openTunnel(t);
  socket.resetAndDestroy();
  t.equal((await client.answered(1)).reset, 'cancel');
  t.match(JSON.parse((await served.plane.accessLines())[0]!), { cause: 'response_cut' });
  await served.emptied(client);
});

t.test('a stream that was a tunnel leaves the books of the next request alone', async (t) => {
  const { served, client, socket } = await openTunnel(t);
  // Both have ended, but the backend’s connection is there for a while, having something to read.
  socket.pause();
  socket.end();
  await client.until(() => client.answer(1).ended);
  await client.fill(1);
  served.reply = () => {};
  client.write(data(1, '', END), headers(3, request('GET', '/hold')));
  await served.origin.until(() => served.got.includes('/hold'));
  t.ok(served.plane.active >= 1);
  socket.resume();
  await served.origin.until(() => served.origin.received[0]!.endsWith('<close>'));
  for (let i = 0; i < 10; i++) await new Promise(setImmediate);
  t.equal(served.plane.active, 1, 'the request is still at work');
  client.write(rst(3));
  await client.settle();
  t.equal(served.plane.active, 0);
  await served.emptied(client);
});

for (const [what, answer, status] of [
  ['200', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', 502],
  ['204', 'HTTP/1.1 204 No Content\r\n\r\n', 502],
  ['404', 'HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno', 404],
  ['302', 'HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n', 302],
] as const)
  t.test(`RFC 8441 §5 a backend that answers ${what} has not agreed: ${status}`, async (t) => {
    const served = await Served.start(t);
    served.reply = (socket) => socket.write(answer);
    const client = await served.open();
    client.write(headers(1, connect(), 0), data(1, 'early'));
    await client.until(() => client.answer(1).reset !== undefined);
    t.match(client.answer(1), { status, ended: true, reset: 'noError' });
    t.same(client.wrongs, []);
    await served.emptied(client);
  });

for (const [what, answer] of [
  ['the accept of another key', agreement('sec-websocket-key: other')],
  ['no accept', 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n'],
] as const)
  t.test(`RFC 6455 §4.1 ${what}: no tunnel`, async (t) => {
    const served = await Served.start(t, { more: 'access_log: { path: /access.log }' });
    served.reply = (socket) => socket.write(answer);
    const client = await served.open();
    client.write(headers(1, connect(), 0), data(1, 'early'));
    const { status, reset } = await client.answered(1);
    t.ok(status === 502 || reset === 'internal', `${status} ${reset}`);
    t.match(JSON.parse((await served.plane.accessLines())[0]!), { cause: 'bad_response' });
    t.notMatch(served.got, /early/);
    t.same(client.wrongs, []);
    await served.emptied(client);
    t.equal(served.plane.active, 0);
  });

t.test('what a client says before the backend has agreed waits, and its window bounds it', async (t) => {
  const served = await Served.start(t);
  served.reply = () => {};
  const client = await served.open();
  client.write(headers(1, connect(), 0));
  await served.origin.until(() => served.got.includes('\r\n\r\n'));
  for (let i = 0; i < 3; i++) client.write(data(1, `${i}`.repeat(16_384)));
  client.write(data(1, 'z'.repeat(WINDOW - 3 * 16_384)));
  for (let i = 0; i < 5; i++) await client.settle();
  t.equal(client.count(FRAME.windowUpdate, 1), 0, 'no credit for what nobody has read');
  echo(served);
  client.credits = true;
  served.origin.sockets[0]!.write(agreement(served.got));
  await client.until(() => client.answer(1).body.length === WINDOW);
  await client.until(() => client.count(FRAME.windowUpdate, 1) > 0);
  client.write(data(1, 'more'));
  await client.until(() => client.answer(1).body.endsWith('zmore'));
  t.match(client.answer(1).body, /^0+1+2+z+more$/);
  await served.emptied(client);
});

t.test('a client that ends its side before the backend has agreed', async (t) => {
  const served = await Served.start(t);
  served.reply = () => {};
  const client = await served.open();
  client.write(headers(1, connect(), 0), data(1, 'all I have', END));
  await served.origin.until(() => served.got.includes('\r\n\r\n'));
  served.origin.sockets[0]!.write(agreement(served.got));
  await served.origin.until(() => served.got.endsWith('all I have<end>'));
  served.origin.sockets[0]!.end('heard');
  t.match(await client.answered(1), { status: 200, body: 'heard', ended: true });
  t.same(client.wrongs, []);
  await served.emptied(client);
});

t.test('RFC 8441 §4 CONNECT that ends at once, or has a length, is malformed', async (t) => {
  const served = await Served.start(t);
  const client = await served.open();
  client.write(headers(1, connect(), END), headers(3, connect(['content-length', '5']), 0));
  t.equal((await client.answered(1)).reset, 'protocol');
  t.equal((await client.answered(3)).reset, 'protocol');
  t.equal(served.got, '');
});

t.test('RFC 8441 §4 another protocol than WebSocket: 501', async (t) => {
  const served = await Served.start(t);
  const client = await served.open();
  for (const [i, protocol] of ['connect-udp', 'h2c', 'websocket, h2c', ''].entries()) {
    const id = 2 * i + 1;
    client.write(headers(id, [[':protocol', protocol], ...request('CONNECT', '/')], 0));
    t.match(await client.answered(id), { status: 501, ended: true });
  }
  t.equal(served.got, '');
  client.write(headers(9, GET));
  t.match(await client.answered(9), { status: 200 });
});

t.test('RFC 8441 §5 a client’s own Sec-WebSocket-Key is not the one that counts', async (t) => {
  const served = await Served.start(t);
  echo(served);
  const client = await served.open();
  client.write(headers(1, connect(['sec-websocket-key', 'AAAAAAAAAAAAAAAAAAAAAA==']), 0));
  await client.until(() => client.answer(1).status !== 0 || client.answer(1).reset !== undefined);
  t.match(client.answer(1), { status: 200, reset: undefined });
  t.equal(served.got.match(/sec-websocket-key/gi)!.length, 1);
  await served.emptied(client);
});

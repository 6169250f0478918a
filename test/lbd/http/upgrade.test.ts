import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { OK } from '../harness.ts';
import { always, Exchange } from './exchange.ts';

const ASK =
  'GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n';
const SWITCH =
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\n';
const SWITCHED =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: y\r\nConnection: upgrade\r\n\r\n';

t.test(
  'RFC 9110 §7.8 an upgrade: bytes go both ways unread, also those right behind the heads',
  async (t) => {
    const exchange = await Exchange.start(t);
    exchange.reply = (socket, data) => {
      if (data.includes('/chat')) socket.write(`${SWITCH}\x00from backend`, 'latin1');
      else socket.write(`<${data}>`, 'latin1');
    };
    for (const [first, rest] of [
      [`${ASK}\xffGET / HTTP/1.1\n`, ''],
      [ASK.slice(0, -2), '\r\n\xffGET / HTTP/1.1\n'],
      [ASK, ''],
    ] as const) {
      const before = exchange.origin.sockets.length;
      const client = await exchange.client();
      client.write(first);
      if (rest !== '') {
        await new Promise((resolve) => setImmediate(resolve));
        client.write(rest);
      }
      const early = `${first}${rest}`.split('\xff').length > 1 ? '<\xffGET / HTTP/1.1\n>' : '';
      const wanted = `${SWITCHED}\x00from backend${early}`;
      t.equal(await client.until((text) => text.length >= wanted.length), wanted);
      client.write('ping');
      t.equal(await client.until((text) => text.endsWith('<ping>')), `${wanted}<ping>`);
      t.equal(exchange.plane.active, 1, 'counts as in flight while it lasts');
      t.match(
        exchange.origin.received[before],
        /^GET \/chat HTTP\/1\.1\r\nHost: a\r\nSec-WebSocket-Key: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n/,
      );
      client.socket.end();
      await exchange.origin.until(() => exchange.origin.received[before]!.endsWith('<end>'));
      exchange.origin.sockets[before]!.end('bye');
      t.match(await client.end(), /bye$/, 'half-close, then the end of the other side');
      await exchange.origin.until(() => exchange.origin.received[before]!.endsWith('<close>'));
      t.equal(exchange.plane.active, 0);
    }
  },
);

t.test(
  'a tunnel loses nothing at its end, whichever side ends first and however slow the other reads',
  async (t) => {
    const exchange = await Exchange.start(t);
    exchange.reply = (socket, data) => data.includes('/chat') && socket.write(SWITCH);
    const megabytes = 'x'.repeat(8 << 20);
    await t.test('the backend ends first', async (t) => {
      const client = await exchange.client();
      client.write(ASK);
      await client.until((text) => text === SWITCHED);
      client.socket.pause();
      exchange.origin.sockets.at(-1)!.end(megabytes);
      await new Promise((resolve) => setTimeout(resolve, 50));
      client.socket.resume();
      t.equal((await client.end()).length, SWITCHED.length + megabytes.length);
      client.socket.end();
    });
    await t.test('the client ends first and the backend has ended already', async (t) => {
      const client = await exchange.client();
      client.write(ASK);
      await client.until((text) => text === SWITCHED);
      const at = exchange.origin.sockets.length - 1;
      const head = exchange.origin.received[at]!.length;
      exchange.origin.sockets[at]!.pause();
      exchange.origin.sockets[at]!.end();
      await client.end();
      // More than the backend's side takes in unread, less than the kernel holds on the way.
      client.socket.end('x'.repeat(512 << 10));
      while (exchange.plane.control.frontendCounter(0, 'connections') > 0)
        await new Promise((resolve) => setImmediate(resolve));
      exchange.origin.sockets[at]!.resume();
      await exchange.origin.until(() => exchange.origin.received[at]!.includes('<'));
      t.match(exchange.origin.received[at]!.slice(-20), /x<end>(<close>)?$/);
      t.equal(exchange.origin.received[at]!.slice(head).replaceAll(/<.*/g, '').length, 512 << 10);
    });
    await t.test('the backend ends, and resets what it gets after that', async (t) => {
      const client = await exchange.client();
      client.write(ASK);
      await client.until((text) => text === SWITCHED);
      client.socket.pause();
      const { plane, origin } = exchange;
      const sent = () => plane.control.frontendCounter(0, 'bytes_sent');
      const before = sent();
      origin.sockets.at(-1)!.end('x'.repeat(1_500_000));
      while (sent() - before < 1_500_000) await sleep(5);
      // The end is read right behind the last byte.
      await sleep(50);
      origin.sockets.at(-1)!.resetAndDestroy();
      while (plane.active > 0) {
        client.write('anybody?');
        await sleep(5);
      }
      client.socket.resume();
      t.equal((await client.end()).length, SWITCHED.length + 1_500_000);
      client.socket.end();
    });
    await t.test('the client ends, and resets what it gets after that', async (t) => {
      const client = await exchange.client();
      client.write(ASK);
      await client.until((text) => text === SWITCHED);
      const at = exchange.origin.sockets.length - 1;
      const origin = exchange.origin.sockets[at]!;
      const head = exchange.origin.received[at]!.length;
      origin.pause();
      const { control } = exchange.plane;
      const got = () => control.frontendCounter(0, 'bytes_received');
      const before = got();
      // Less than the kernel holds on the way.
      client.socket.end('x'.repeat(512 << 10));
      while (got() - before < 512 << 10) await sleep(5);
      await sleep(50);
      client.socket.resetAndDestroy();
      while (control.frontendCounter(0, 'connections') > 0) {
        origin.write('anybody?');
        await sleep(5);
      }
      origin.resume();
      await exchange.origin.until(() => exchange.origin.received[at]!.includes('<'));
      t.equal(exchange.origin.received[at]!.slice(head).replaceAll(/<.*/g, '').length, 512 << 10);
      t.match(exchange.origin.received[at]!, /<end>/);
      origin.destroy();
    });
    while (exchange.plane.plane.open > 0) await new Promise((resolve) => setImmediate(resolve));
    t.equal(exchange.plane.active, 0);
  },
);

t.test('a reset on one side of a tunnel is a reset on the other', async (t) => {
  const exchange = await Exchange.start(t);
  exchange.reply = always(SWITCH);
  const client = await exchange.client();
  client.write(ASK);
  await client.until((text) => text === SWITCHED);
  exchange.origin.sockets[0]!.resetAndDestroy();
  await client.end();
  t.equal(client.closed, 'reset');
  const other = await exchange.client();
  other.write(ASK);
  await other.until((text) => text === SWITCHED);
  other.socket.resetAndDestroy();
  await exchange.origin.until(() => exchange.origin.received[1]!.includes('<reset>'));
  t.equal(exchange.plane.active, 0);
});

t.test('a backend that refuses the upgrade: an ordinary answer, and the connection goes on', async (t) => {
  const exchange = await Exchange.start(t);
  exchange.reply = always(OK);
  const client = await exchange.client();
  client.write(ASK);
  await client.until((text) => text === OK);
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  t.equal(await client.until((text) => text === OK + OK), OK + OK);
});

t.test('what is no upgrade: a 101 to it is a 502', async (t) => {
  const exchange = await Exchange.start(t);
  exchange.reply = (socket, data) =>
    socket.write(data.includes('Upgrade: ') ? 'HTTP/1.1 200 Wrong\r\nContent-Length: 0\r\n\r\n' : SWITCH);
  const cases: readonly [rule: string, request: string][] = [
    ['RFC 9113 §3.1 h2c', ASK.replace('websocket', 'h2c')],
    ['h2c among others', ASK.replace('websocket', 'websocket, h2c')],
    ['h2c, spelt otherwise', ASK.replace('websocket', 'H2C')],
    ['h2c in a second Upgrade line', ASK.replace('\r\n\r\n', '\r\nUpgrade: h2c\r\n\r\n')],
    ['h2c in a first Upgrade line', ASK.replace('Upgrade: w', 'Upgrade: h2c\r\nUpgrade: w')],
    ['RFC 9110 §7.8 without Connection: upgrade', ASK.replace('keep-alive, Upgrade', 'keep-alive')],
    ['RFC 9110 §7.8 HTTP/1.0', ASK.replace('1.1', '1.0')],
    ['Upgrade named by Connection, but absent', ASK.replace('Upgrade: websocket\r\n', '')],
    ['with a body', `${ASK.replace('\r\n\r\n', '\r\nContent-Length: 5\r\n\r\n')}hello`],
  ];
  for (const [rule, request] of cases) {
    const client = await exchange.client();
    client.write(request);
    t.match(await client.until((text) => text.includes('\r\n\r\n')), /^HTTP\/1\.1 502 /, rule);
    client.socket.destroy();
  }
});

t.test('RFC 9110 §7.8 a 101 that names no protocol is a 502', async (t) => {
  const exchange = await Exchange.start(t);
  exchange.reply = always('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n');
  const client = await exchange.client();
  client.write(ASK);
  t.match(await client.until((text) => text.endsWith('\n')), /^HTTP\/1\.1 502 [\s\S]*101 without Upgrade\n$/);
  await exchange.origin.until(() => exchange.origin.received[0]!.includes('<'));
  t.equal(exchange.plane.active, 0);
});

t.test('an idle tunnel is closed', async (t) => {
  const exchange = await Exchange.start(t, { timeouts: 'idle: 200ms' });
  exchange.reply = always(SWITCH);
  const client = await exchange.client();
  client.write(ASK);
  t.equal(await client.end(), SWITCHED);
  await exchange.origin.until(() => exchange.origin.received[0]!.includes('<'));
  t.equal(exchange.plane.active, 0);
});

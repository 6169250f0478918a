import type net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { OK } from '../harness.ts';
import { always, Exchange } from './exchange.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const POISON = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil';

t.test('bytes behind an answer that come as the next request is written are not its answer', async (t) => {
  for (const [what, first, answer] of [
    ['more than its length', GET, OK],
    [
      'behind a body that ended',
      GET,
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
    ],
    ['behind a 304', GET, 'HTTP/1.1 304 Not Modified\r\n\r\n'],
    ['behind the answer to HEAD', GET.replace('GET', 'HEAD'), 'HTTP/1.1 200 OK\r\n\r\n'],
  ] as const)
    for (const next of [GET, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi'])
      await t.test(`${what}, then ${next.slice(0, 4)}`, async (t) => {
        const exchange = await Exchange.start(t);
        exchange.reply = always(answer);
        const [one, two] = [await exchange.client(), await exchange.client()];
        // A client that was served before is read beside Node.
        for (const client of [two, one]) {
          client.write(first);
          await client.until((text) => text.length >= answer.length);
        }
        exchange.reply = always(OK);
        t.equal(exchange.origin.sockets.length, 1, 'they share a backend connection');
        two.text = '';
        two.write(next);
        exchange.origin.sockets[0]!.write(POISON);
        // This thread, which is the worker as well, finds both in the kernel when it looks again.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
        t.equal(await two.until((text) => /(ok|evil)/.test(text)), OK);
        t.equal(exchange.origin.sockets.length, 2);
      });
});

t.test('a body behind HEAD or 304 that comes in a later segment is nobody’s answer', async (t) => {
  for (const [what, first, answer] of [
    ['HEAD', GET.replace('GET', 'HEAD'), `HTTP/1.1 200 OK\r\nContent-Length: ${POISON.length}\r\n\r\n`],
    ['HEAD, chunked', GET.replace('GET', 'HEAD'), 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['304', GET, `HTTP/1.1 304 Not Modified\r\nContent-Length: ${POISON.length}\r\n\r\n`],
  ] as const)
    await t.test(what, async (t) => {
      const exchange = await Exchange.start(t);
      exchange.reply = async (socket, _data, connection) => {
        if (connection > 0) socket.write(OK);
        else if (exchange.origin.received[0]!.split('\r\n\r\n').length === 2) {
          socket.write(answer);
          await sleep(100);
          socket.write(POISON);
        }
      };
      const [one, two] = [await exchange.client(), await exchange.client()];
      one.write(first);
      await one.until((text) => text.includes('\r\n\r\n'));
      two.write(GET);
      t.equal(await two.until((text) => /(ok|evil)/.test(text)), OK);
      await exchange.origin.until(() => /<(close|end|reset)>/.test(exchange.origin.received[0]!));
    });
});

t.test('a backend that answers HEAD as it should keeps its connection', async (t) => {
  const exchange = await Exchange.start(t);
  exchange.reply = always('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n');
  const client = await exchange.client();
  client.write(GET.replace('GET', 'HEAD'));
  await client.until((text) => text.includes('\r\n\r\n'));
  exchange.reply = always(OK);
  await sleep(1000);
  client.write(GET);
  await client.until((text) => text.endsWith('ok'));
  t.equal(exchange.origin.sockets.length, 1);
});

t.test('however often a backend has kept to the rules, a body behind HEAD is nobody’s answer', async (t) => {
  const HEAD = GET.replace('GET', 'HEAD');
  const exchange = await Exchange.start(t);
  exchange.reply = always('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n');
  const [one, two, three] = [await exchange.client(), await exchange.client(), await exchange.client()];
  // Two at once, each on a connection of its own that comes back clean when its probation is over.
  for (let round = 0; round < 5; round++) {
    for (const client of [one, two]) {
      client.text = '';
      client.write(HEAD);
      await client.until((text) => text.includes('\r\n\r\n'));
    }
    await sleep(700);
  }
  let last: net.Socket | undefined;
  exchange.reply = (socket, data) => {
    if (data.startsWith('HEAD')) {
      last = socket;
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${POISON.length}\r\n\r\n`);
    } else if (socket === last) socket.write(POISON);
    else socket.write(OK);
  };
  // No other connection is idle.
  for (const client of [one, two]) {
    client.text = '';
    client.write(HEAD);
    await client.until((text) => text.includes('\r\n\r\n'));
  }
  three.write(GET);
  t.equal(await three.until((text) => /(ok|evil)/.test(text)), OK);
});

t.test('many HEAD requests of one client take few backend connections', async (t) => {
  const exchange = await Exchange.start(t);
  exchange.reply = always('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n');
  const client = await exchange.client();
  const open = () => exchange.origin.received.filter((text) => !/<(close|end|reset)>/.test(text)).length;
  let most = 0;
  for (let i = 0; i < 200; i++) {
    client.text = '';
    client.write(GET.replace('GET', 'HEAD'));
    await client.until((text) => text.includes('\r\n\r\n'));
    most = Math.max(most, open());
  }
  t.ok(most <= 24, `${most} at once`);
  const ended = exchange.origin.received.filter((text) => text.includes('<end>'));
  t.same(ended, [], 'one that is not kept ends with a reset, which leaves its local port to the next one');
});

t.test('a backend that answers early and stops reading is not in the next request’s way', async (t) => {
  for (const size of [64 << 20, 'as much as it takes'] as const)
    await t.test(`${size} bytes`, async (t) => {
      const exchange = await Exchange.start(t, { poolTimeouts: 'response: 2s' });
      const { origin, plane } = exchange;
      exchange.reply = (socket) => socket.pause();
      const stuck = async (length: number) => {
        const slot = plane.slot('web/s1');
        const before = plane.control.backendCounter(slot, 'bytes_sent');
        const client = await exchange.client();
        client.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`);
        client.socket.write(Buffer.alloc(length));
        let sent = -1;
        for (let now = 0; now !== sent; now = plane.control.backendCounter(slot, 'bytes_sent') - before) {
          sent = now;
          await sleep(100);
        }
        return { client, sent };
      };
      let length = 64 << 20;
      if (size !== length) {
        const first = await stuck(length);
        length = first.sent;
        first.client.socket.resetAndDestroy();
      }
      const { client } = await stuck(length);
      const at = origin.sockets.length - 1;
      origin.sockets[at]!.write(OK);
      await client.until((text) => text.endsWith('ok'));
      exchange.reply = always(OK);
      const next = await exchange.client();
      next.write(GET);
      t.equal(await next.until((text) => text.endsWith('ok') || text.includes('504')), OK);
      client.socket.resetAndDestroy();
    });
});

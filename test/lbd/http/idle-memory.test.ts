import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { keptBytes } from '../../common/kept-bytes.ts';
import { OK, type RawClient } from '../harness.ts';
import { always, Exchange } from './exchange.ts';

const CLIENTS = 200;
/** A buffer for the head alone has more. */
const FEW_BYTES = 4096;
const LARGE = 15_500;

t.test('an idle connection does not keep the largest head that it had', async (t) => {
  const exchange = await Exchange.start(t, { stick: 'cookie: SRV', more: 'access_log: { stdout: true }' });
  const pad = 'x'.repeat(LARGE);
  for (const [what, request, answer] of [
    ['a field of the request', `GET / HTTP/1.1\r\nHost: a\r\nX-Pad: ${pad}\r\n\r\n`, OK],
    ['the target, in the access log', `GET /${pad} HTTP/1.1\r\nHost: a\r\n\r\n`, OK],
    [
      'trailers',
      `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${`T: ${'y'.repeat(940)}\r\n`.repeat(8)}\r\n`,
      OK,
    ],
    ['a stick', `GET / HTTP/1.1\r\nHost: a\r\nCookie: SRV=${pad}\r\n\r\n`, OK],
    [
      'an answer in two pieces',
      'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
      OK.replace('\r\n', `\r\nX-Pad: ${pad}\r\n`),
    ],
  ] as const) {
    exchange.reply = always(OK);
    const clients: RawClient[] = [];
    for (let i = 0; i < CLIENTS; i++) {
      const client = await exchange.client();
      client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      await client.until((text) => text.endsWith('ok'));
      clients.push(client);
    }
    await exchange.plane.accessLines(CLIENTS);
    const before = await keptBytes();
    exchange.reply = async (socket, data) => {
      if (!data.endsWith('\r\n\r\n')) return;
      socket.write(answer.slice(0, answer.length / 2));
      await sleep(1);
      socket.write(answer.slice(answer.length / 2));
    };
    for (const client of clients) {
      client.text = '';
      client.write(request);
      await client.until((text) => text.endsWith('ok'));
      client.text = client.raw = '';
    }
    await exchange.plane.accessLines(CLIENTS);
    exchange.origin.received.fill('');
    let kept = 0;
    // It lets go after a while.
    for (let i = 0; i < 20; i++) {
      await sleep(200);
      kept = Math.max(0, (await keptBytes()) - before) / CLIENTS;
      if (kept < FEW_BYTES) break;
    }
    t.ok(kept < FEW_BYTES, `${what}: ${Math.round(kept)} bytes a connection`);
    for (const client of clients) {
      client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      await client.until((text) => text.endsWith('ok'));
      client.socket.destroy();
    }
    await exchange.plane.accessLines(CLIENTS);
  }
});

t.test('a connection that never asks for anything is closed after timeouts.head', async (t) => {
  const exchange = await Exchange.start(t, { timeouts: 'head: 200ms, keep_alive: 1h' });
  const client = await exchange.client();
  t.equal(await client.end(), '');
});

t.test('a connection that rests is still closed after timeouts.keep_alive, and not before', async (t) => {
  const exchange = await Exchange.start(t, { timeouts: 'keep_alive: 2s' });
  exchange.reply = always(OK);
  const client = await exchange.client();
  for (let i = 0; i < 3; i++) {
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await client.until((text) => text.split('ok').length === i + 2);
    const before = performance.now();
    if (i < 2) await sleep(1400);
    else await client.end();
    if (i === 2) t.ok(performance.now() - before >= 2000);
  }
  t.not(client.closed, 'reset');
});

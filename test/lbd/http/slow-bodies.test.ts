import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { Plane, RawClient } from '../harness.ts';
import { Exchange } from './exchange.ts';

const MIB = 1 << 20;
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
/** Two `timeouts.body` or more, in pieces that are much closer together. */
const PIECES = 30;
const PAUSE_MS = 50;

/** Sends a body piece by piece until all is sent or an answer is there. */
async function drip(client: RawClient, piece: string): Promise<void> {
  for (let i = 0; i < PIECES && client.text === ''; i++) {
    client.write(piece);
    await sleep(PAUSE_MS);
  }
}

function answerAfter(exchange: Exchange, marker: string): void {
  let seen = '';
  exchange.reply = (socket, data) => {
    seen += data;
    if (seen.includes(marker)) socket.write(OK);
  };
}

async function idle(plane: Plane): Promise<void> {
  while (plane.active > 0) await sleep(5);
}

t.test('a body that comes byte by byte does not hold a backend for ever', async (t) => {
  for (const [framing, piece, end] of [
    [`Content-Length: ${PIECES}`, '#', ''],
    ['Transfer-Encoding: chunked', '1\r\n#\r\n', '0\r\n\r\n'],
    ['Transfer-Encoding: chunked', `1;${'y'.repeat(50)}\r\n#\r\n`, '0\r\n\r\n'],
  ] as const)
    await t.test(`${framing}, ${piece.length} bytes a piece`, async (t) => {
      const exchange = await Exchange.start(t, { timeouts: 'body: 400ms' });
      let bytes = 0;
      exchange.reply = (socket, data) => {
        bytes += data.split('#').length - 1;
        if (bytes === PIECES) socket.write(OK);
      };
      const client = await exchange.client();
      client.write(`POST / HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n`);
      await drip(client, piece);
      client.write(end);
      t.match(await client.until((text) => text.includes('\r\n\r\n')), /^HTTP\/1\.1 408 /);
      await idle(exchange.plane);
      t.equal(exchange.plane.control.frontendCounter(0, 'refused_408'), 1);
    });
});

t.test('a body that comes steadily may take many times timeouts.body', async (t) => {
  for (const [limits, piece] of [
    ['', 'x'.repeat(100)],
    ['min_rate: 0B', 'x'],
  ] as const) {
    const exchange = await Exchange.start(t, { timeouts: 'body: 400ms', limits });
    answerAfter(exchange, 'end');
    const client = await exchange.client();
    client.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${piece.length * PIECES + 3}\r\n\r\n`);
    await drip(client, piece);
    client.write('end');
    t.match(await client.until((text) => text.includes('ok')), /^HTTP\/1\.1 200 /, limits);
  }
});

t.test('a pause that the backend makes is not the client’s slowness', async (t) => {
  const exchange = await Exchange.start(t, { timeouts: 'body: 400ms', limits: 'min_rate: 64KiB' });
  const size = 16 * MIB;
  let left = size;
  let pauses = 0;
  exchange.reply = (socket, data) => {
    left -= data.startsWith('POST') ? data.length - data.indexOf('\r\n\r\n') - 4 : data.length;
    if (left === 0) socket.write(OK);
    if (pauses++ >= 3) return;
    socket.pause();
    // Longer than a body may take at that rate, all that the kernel holds included.
    setTimeout(() => socket.resume(), 700);
  };
  const client = await exchange.client();
  client.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`);
  client.socket.write(Buffer.alloc(size, 'x'));
  t.match(await client.until((text) => text.includes('ok')), /^HTTP\/1\.1 200 /);
});

t.test('an answer that the backend sends slowly is nobody’s fault, without a minimum', async (t) => {
  const exchange = await Exchange.start(t, { timeouts: 'idle: 300ms', limits: 'min_rate: 1GiB' });
  exchange.reply = async (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n');
    for (let i = 0; i < 10; i++) {
      socket.write('1\r\nx\r\n');
      await sleep(100);
    }
    socket.write('0\r\n\r\n');
  };
  const client = await exchange.client();
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  const text = await client.until((all) => all.endsWith('0\r\n\r\n'));
  t.equal(text.match(/x\r\n/g)?.length, 10);
});

/** Reads `bytes` of an answer each `PAUSE_MS`, for two seconds at most. @returns whether it was cut */
async function sip(t: Test, port: number, bytes: number): Promise<boolean> {
  const socket = net.connect({ port, host: '127.0.0.1' });
  t.teardown(() => socket.destroy());
  let cut = false;
  socket.on('error', () => {
    cut = true;
  });
  await once(socket, 'connect');
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  let credit = bytes;
  socket.on('data', (data) => {
    credit -= data.length;
    if (credit <= 0) socket.pause();
  });
  for (let i = 0; i < 60 && !cut && !socket.destroyed; i++) {
    await sleep(PAUSE_MS);
    credit += bytes;
    if (credit > 0) socket.resume();
  }
  return cut;
}

t.test('a client that reads an answer slowly does not hold a backend for ever', async (t) => {
  for (const [limits, cut] of [
    ['min_rate: 1GiB', true],
    ['', false],
  ] as const) {
    const exchange = await Exchange.start(t, { timeouts: 'idle: 700ms', limits });
    exchange.reply = (socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${512 * MIB}\r\n\r\n`);
      const piece = Buffer.alloc(MIB);
      const more = () => {
        while (!socket.destroyed && socket.write(piece));
      };
      socket.on('drain', more);
      more();
    };
    t.equal(await sip(t, exchange.plane.port, 2 * MIB), cut, limits);
    if (cut) await idle(exchange.plane);
    t.equal(exchange.plane.control.backendCounter(exchange.plane.slot('web/s1'), 'errors'), 0);
  }
});

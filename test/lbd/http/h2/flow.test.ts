import type net from 'node:net';
import t, { type Test } from 'tap';
import { always } from '../exchange.ts';
import {
  data,
  FLAG,
  FRAME,
  frame,
  GET,
  type Http2Client,
  headers,
  request,
  SETTING,
  Served,
  settings,
  uint32,
  windowUpdate,
} from './harness.ts';

/** Flow control (RFC 9113 §5.2, §6.9), and who may send next (RFC 9218 §10). */

const WINDOW = 65_535;
const SIZE = 300_000;
const BODY = Buffer.from(Array.from({ length: SIZE }, (_, i) => 97 + (i % 23))).toString();
const BIG = `HTTP/1.1 200 OK\r\nContent-Length: ${SIZE}\r\n\r\n${BODY}`;
const CHUNKS = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;
const LAST = '0\r\n\r\n';

/** Bytes of DATA that came on a stream. */
const bytesOf = (client: Http2Client, stream: number) => client.answer(stream).body.length;

t.test('a download through tiny windows: never more than they allow, and all of it', async (t) => {
  const served = await Served.start(t);
  served.reply = always(BIG);
  const client = await served.open([SETTING.initialWindowSize, 1]);
  client.write(headers(1, GET));
  let allowed = 1;
  let connection = WINDOW;
  for (let turn = 0; bytesOf(client, 1) < SIZE; turn++) {
    const due = Math.min(allowed, connection, SIZE);
    await client.until(() => bytesOf(client, 1) >= due);
    await client.settle();
    t.equal(bytesOf(client, 1), due);
    // A window of the stream, and then one of the connection, and then both.
    const by = 1 + ((turn * 7919) % 40_000);
    if (turn % 3 !== 1) client.write(windowUpdate(1, by));
    if (turn % 3 !== 0) client.write(windowUpdate(0, by));
    if (turn % 3 !== 1) allowed += by;
    if (turn % 3 !== 0) connection += by;
  }
  t.equal((await client.answered(1)).body, BODY);
  t.same(client.wrongs, []);
  await served.emptied(client);
});

t.test(
  '§6.9.2 a setting takes a window back below zero: nothing comes before it is above again',
  async (t) => {
    const served = await Served.start(t);
    served.reply = always(BIG);
    const client = await served.open([SETTING.initialWindowSize, 1000]);
    client.write(headers(1, GET));
    await client.until(() => bytesOf(client, 1) === 1000);
    client.write(settings([SETTING.initialWindowSize, 100]), windowUpdate(1, 900));
    await client.settle();
    t.equal(bytesOf(client, 1), 1000, 'the window is 0');
    client.write(windowUpdate(1, 5));
    await client.until(() => bytesOf(client, 1) >= 1005);
    client.write(settings([SETTING.initialWindowSize, 300]));
    await client.until(() => bytesOf(client, 1) >= 1205);
    await client.settle();
    t.equal(bytesOf(client, 1), 1205);
    await served.emptied(client);
  },
);

for (const [what, end, trailers] of [
  ['its end', LAST, undefined],
  ['its trailers', '0\r\nGrpc-Status: 0\r\n\r\n', { 'grpc-status': '0' }],
] as const)
  t.test(`§6.9.2 an answer whose window is below zero still gets ${what}`, async (t) => {
    const served = await Served.start(t);
    served.reply = always(`${CHUNKS}${chunk('x'.repeat(500))}`);
    const client = await served.open([SETTING.initialWindowSize, 500]);
    client.write(headers(1, GET));
    await client.until(() => bytesOf(client, 1) === 500);
    client.write(settings([SETTING.initialWindowSize, 0]));
    await client.settle();
    served.origin.sockets[0]!.write(end);
    const answer = await client.answered(1);
    t.match(answer, { ended: true, reset: undefined });
    t.same(answer.trailers, trailers);
    t.same(client.wrongs, []);
    await served.emptied(client);
  });

/** Resolves once a socket has sent nothing for a while of what waits on it. */
async function stuck(socket: net.Socket): Promise<void> {
  for (let before = -1; before !== socket.writableLength || before === 0; ) {
    before = socket.writableLength;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

for (const [what, end, trailers] of [
  ['END', LAST, undefined],
  ['trailers', '0\r\nGrpc-Status: 0\r\n\r\n', { 'grpc-status': '0' }],
] as const)
  t.test(
    `the ${what} of an answer comes while the client reads nothing: its stream is over once it does`,
    async (t) => {
      const served = await Served.start(t);
      const client = await served.open([SETTING.initialWindowSize, 2 ** 31 - 1]);
      client.write(windowUpdate(0, 2 ** 30), headers(1, request('GET', '/hold')));
      await served.origin.until(() => served.origin.sockets.length === 1);
      client.write(headers(3, request('GET', '/hold')));
      await served.origin.until(() => served.got.match(/hold/g)?.length === 2);
      const [small, big] = served.origin.sockets;
      client.socket.pause();
      const size = 1 << 25;
      big!.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n${'y'.repeat(size)}`);
      await stuck(big!);
      small!.write(CHUNKS);
      // Each in a read of its own.
      await new Promise((resolve) => setTimeout(resolve, 50));
      small!.write(end);
      await new Promise((resolve) => setTimeout(resolve, 50));
      client.socket.resume();
      const answer = await client.answered(1);
      t.match(answer, { status: 200, ended: true, reset: undefined });
      t.same(answer.trailers, trailers);
      t.match(await client.answered(3), { ended: true });
      t.equal(bytesOf(client, 3), size);
      while (served.plane.plane.open > 1 + 2) await new Promise(setImmediate);
      t.same(client.wrongs, []);
      await served.emptied(client);
    },
  );

t.test('a window that never opens ends its stream, and only that: client_slow', async (t) => {
  const served = await Served.start(t, {
    timeouts: 'idle: 300ms',
    more: 'access_log: { path: /access.log }',
  });
  served.reply = (socket, text) =>
    socket.write(text.includes('/big') ? BIG : 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  const client = await served.open([SETTING.initialWindowSize, 10]);
  client.write(headers(1, request('GET', '/big')));
  await client.until(() => bytesOf(client, 1) === 10);
  for (let id = 3; client.answer(1).reset === undefined; id += 2) {
    client.write(headers(id, GET));
    t.match(await client.answered(id), { status: 200, body: 'ok' });
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  t.match(client.answer(1), { reset: 'cancel', ended: false });
  const lines = (await served.plane.accessLines(2)).map((line) => JSON.parse(line));
  t.equal(lines.find(({ target }) => target === '/big')?.cause ?? 'client_slow', 'client_slow');
  await served.emptied(client);
});

t.test('a window that opens by a byte at a time is no reader either: limits.min_rate', async (t) => {
  const served = await Served.start(t, { timeouts: 'idle: 400ms', limits: 'min_rate: 1KiB' });
  served.reply = always(BIG);
  const client = await served.open([SETTING.initialWindowSize, 10]);
  client.write(headers(1, GET));
  await client.until(() => bytesOf(client, 1) === 10);
  const timer = setInterval(() => client.write(windowUpdate(1, 1)), 50);
  t.match(await client.answered(1), { reset: 'cancel' });
  clearInterval(timer);
  t.ok(bytesOf(client, 1) < 1000);
  await served.emptied(client);
});

t.test('a reader above limits.min_rate, if only just, is left in peace', async (t) => {
  const served = await Served.start(t, { timeouts: 'idle: 400ms', limits: 'min_rate: 1KiB' });
  const size = 20_000;
  served.reply = always(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n${BODY.slice(0, size)}`);
  const client = await served.open([SETTING.initialWindowSize, 100]);
  client.write(headers(1, GET));
  const timer = setInterval(() => client.write(windowUpdate(1, 500)), 50);
  t.match(await client.answered(1), { ended: true, reset: undefined });
  clearInterval(timer);
  t.equal(bytesOf(client, 1), size);
  await served.emptied(client);
});

t.test(
  'uploads: a backend that does not read gets no more than the window ahead, and others go on',
  async (t) => {
    const served = await Served.start(t);
    const client = await served.open();
    client.write(headers(1, request('POST', '/hold'), 0));
    await served.origin.until(() => served.got.includes('\r\n\r\n'));
    served.origin.sockets[0]!.pause();
    await client.fill(1);
    const before = client.credited(1);
    client.write(
      headers(3, request('POST', '/', ['content-length', '5']), 0),
      data(3, 'hello', FLAG.endStream),
    );
    t.match(await client.answered(3), { status: 200 });
    served.origin.sockets[0]!.resume();
    await client.until(() => client.credited(1) > before);
    t.pass('and goes on');
    await served.emptied(client);
  },
);

t.test(
  '§6.9.1 DATA beyond the window of a stream whose backend does not read: FLOW_CONTROL_ERROR',
  async (t) => {
    const served = await Served.start(t);
    const client = await served.open();
    client.write(headers(1, request('POST', '/hold'), 0));
    await served.origin.until(() => served.got.includes('\r\n\r\n'));
    served.origin.sockets[0]!.pause();
    for (let i = 0; client.answer(1).reset === undefined && i < 10_000; i++) {
      client.write(data(1, Buffer.alloc(16_384)));
      await client.settle();
    }
    t.equal(client.answer(1).reset, 'flowControl');
    t.equal(client.goAway, undefined);
    client.write(headers(3, GET));
    t.match(await client.answered(3), { status: 200 });
    await served.emptied(client);
  },
);

t.test('§6.9 a client gets back what it has used, of streams that are over as well', async (t) => {
  const served = await Served.start(t);
  served.reply = (socket, text) =>
    text.includes('POST') && socket.write('HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n');
  const client = await served.open();
  let sent = 0;
  for (let id = 1; sent < 5 * WINDOW; id += 2) {
    client.write(headers(id, request('POST', '/'), 0));
    await client.answered(id);
    await client.until(() => client.answer(id).reset === 'noError');
    client.write(data(id, Buffer.alloc(16_000)), data(id, Buffer.alloc(16_000), FLAG.endStream));
    sent += 32_000;
    await client.settle();
  }
  t.equal(client.goAway, undefined);
  t.same(client.wrongs, []);
  await served.emptied(client);
});

/** Order in which DATA of streams came, without repetitions. */
function order(client: Http2Client): number[] {
  return client.frames
    .filter(({ type, payload }) => type === FRAME.data && payload.length > 0)
    .map(({ stream }) => stream)
    .filter((stream, i, all) => stream !== all[i - 1]);
}

/** Streams of these priorities whose answers wait for the window of the connection. */
async function queue(t: Test, ...priorities: string[]) {
  const served = await Served.start(t);
  const size = 40_000;
  served.reply = always(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n${'z'.repeat(size)}`);
  const client = await served.open();
  // Uses up the window of the connection.
  served.reply = always(`HTTP/1.1 200 OK\r\nContent-Length: ${WINDOW}\r\n\r\n${'z'.repeat(WINDOW)}`);
  client.write(headers(1, GET));
  await client.answered(1);
  served.reply = always(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n${'z'.repeat(size)}`);
  let id = 1;
  for (const priority of priorities) {
    id += 2;
    const stream = id;
    client.write(
      headers(stream, request('GET', '/', ...(priority === '' ? [] : [['priority', priority] as const]))),
    );
    await client.until(() => client.answer(stream).status === 200);
    await client.settle();
  }
  client.frames.length = 0;
  return { served, client };
}

t.test('RFC 9218 §4.1 the more urgent one goes first', async (t) => {
  const { served, client } = await queue(t, 'u=5', '', 'u=0', 'u=7', 'u=1');
  client.write(windowUpdate(0, 2 ** 20));
  await Promise.all([3, 5, 7, 9, 11].map((id) => client.answered(id)));
  t.same(order(client), [7, 11, 5, 3, 9]);
  await served.emptied(client);
});

t.test(
  'RFC 9218 §4.2 those that are of use in parts share, the others go one behind the other',
  async (t) => {
    const { served, client } = await queue(t, 'i', 'i', 'u=2', 'u=2');
    client.write(windowUpdate(0, 2 ** 20));
    await Promise.all([3, 5, 7, 9].map((id) => client.answered(id)));
    const turns = order(client);
    t.same(turns.slice(0, 2), [7, 9]);
    t.ok(turns.length > 4 && new Set(turns.slice(2)).size === 2, `they take turns: ${turns}`);
    await served.emptied(client);
  },
);

t.test('RFC 9218 §7 PRIORITY_UPDATE moves a stream', async (t) => {
  const { served, client } = await queue(t, 'u=1', 'u=2');
  client.write(frame(FRAME.priorityUpdate, 0, 0, Buffer.concat([uint32(5), Buffer.from('u=0')])));
  await client.settle();
  client.write(windowUpdate(0, 2 ** 20));
  await Promise.all([3, 5].map((id) => client.answered(id)));
  t.same(order(client), [5, 3]);
  await served.emptied(client);
});

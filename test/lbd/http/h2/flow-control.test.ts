import type { Socket } from 'node:net';
import t, { type Test } from 'tap';
import { data, FRAME, headers, POST, request, SETTING, Served, windowUpdate } from './harness.ts';

const MANY = 300_000;

/** Answers `/big` with so many bytes, and all else at once. */
function reply(socket: Socket, text: string): void {
  for (const [, path] of text.matchAll(/[A-Z]+ (\S+) HTTP\/1\.1\r\n/g))
    if (path === '/big')
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${MANY}\r\n\r\n${'x'.repeat(MANY)}`);
    else if (path !== '/hold') socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
}

const BIG = request('GET', '/big');
const SMALL = request('GET', '/small');

async function start(t: Test, own = {}) {
  const served = await Served.start(t, own);
  served.reply = reply;
  return served;
}

t.test('RFC 9113 §5.2: an answer comes as far as windows allow, and on with them', async (t) => {
  const served = await start(t);
  const client = await served.open([SETTING.initialWindowSize, 10]);
  client.write(headers(1, BIG));
  const answer = client.answer(1);
  await client.until(() => answer.body.length === 10);
  client.write(windowUpdate(1, 1));
  await client.until(() => answer.body.length === 11);
  client.write(windowUpdate(1, MANY));
  await client.until(() => answer.body.length === 65_535);
  await client.settle();
  t.equal(client.received, 65_535, 'the window of the connection counts as well');
  client.credits = true;
  client.write(windowUpdate(0, 1000));
  await client.answered(1);
  t.match(answer, { ended: true });
  t.ok(answer.body === 'x'.repeat(MANY));
  const largest = Math.max(
    ...client.frames.filter(({ type }) => type === FRAME.data).map((it) => it.payload.length),
  );
  t.ok(largest <= 16_384);
});

t.test('§6.9.2: a window that a setting takes back has to be given again', async (t) => {
  const served = await start(t);
  const client = await served.open([SETTING.initialWindowSize, 100]);
  client.write(headers(1, BIG));
  await client.until(() => client.answer(1).body.length === 100);
  const smaller = Buffer.from([
    0,
    0,
    6,
    FRAME.settings,
    0,
    0,
    0,
    0,
    0,
    0,
    SETTING.initialWindowSize,
    0,
    0,
    0,
    40,
  ]);
  client.write(smaller, windowUpdate(1, 60));
  await client.settle();
  t.equal(client.answer(1).body.length, 100);
  client.write(windowUpdate(1, 5));
  await client.until(() => client.answer(1).body.length === 105);
});

t.test('a stream whose window stays shut ends alone', async (t) => {
  const served = await start(t, { timeouts: 'idle: 300ms' });
  const client = await served.open();
  client.write(headers(1, BIG));
  await client.until(() => client.received === 65_535);
  client.write(windowUpdate(0, 100_000), headers(3, SMALL));
  t.match(await client.answered(3), { status: 200, body: 'ok' }, 'others are served meanwhile');
  t.match(await client.answered(1), { reset: 'cancel' });
  client.write(headers(5, SMALL));
  t.match(await client.answered(5), { status: 200 });
  t.equal(served.plane.active, 0);
});

t.test('an upload whose backend does not read is held up, and holds up no other', async (t) => {
  const served = await start(t);
  const client = await served.open();
  served.reply = (socket, text) => {
    if (text.startsWith('POST')) socket.pause();
    else reply(socket, text);
  };
  const piece = Buffer.alloc(16_384, 'y');
  let sent = 0;
  const send = (id: number, bytes: number) => {
    for (let left = bytes; left > 0; left -= piece.length) client.write(data(id, piece.subarray(0, left)));
    sent += bytes;
  };
  const credits = (stream: number) =>
    client.frames
      .filter((it) => it.type === FRAME.windowUpdate && it.stream === stream)
      .reduce((sum, { payload }) => sum + payload.readUInt32BE(0), 0);
  client.write(headers(1, POST, 0));
  send(1, 65_535);
  await client.until(() => credits(1) > 0);
  for (let round = 0; round < 4000 && credits(1) > sent - 65_535; round++) {
    const more = Math.min(16_384, credits(1) - (sent - 65_535));
    send(1, more);
    await client.settle();
  }
  t.ok(sent > 65_535);
  t.ok(credits(1) <= sent - 65_535, 'no more than a window is ahead of the backend');
  t.ok(credits(0) >= sent - 65_535, 'the connection is credited for what came');
  client.write(headers(3, SMALL));
  t.match(await client.answered(3), { status: 200, body: 'ok' });
});

t.test('RFC 9218: who is more urgent comes first where the client reads slowly', async (t) => {
  const served = await start(t);
  const client = await served.open();
  client.write(headers(1, [...BIG, ['priority', 'u=5']]));
  await client.until(() => client.received === 65_535);
  client.write(headers(3, [...BIG, ['priority', 'u=1']]), headers(5, [...BIG, ['priority', 'u=0']]));
  await client.until(() => client.answer(3).status === 200 && client.answer(5).status === 200);
  await client.settle();
  const before = client.frames.length;
  for (const id of [1, 3, 5]) client.write(windowUpdate(id, MANY));
  client.write(windowUpdate(0, 65_535 + 1000));
  await client.until(() => client.received === 2 * 65_535 + 1000);
  const order = client.frames.slice(before).filter(({ type }) => type === FRAME.data);
  t.equal(order[0]!.stream, 5);
  t.notOk(order.some(({ stream }) => stream === 1));
  const update = (id: number, text: string) => {
    const payload = Buffer.concat([Buffer.of(0, 0, 0, id), Buffer.from(text)]);
    return Buffer.concat([Buffer.of(0, 0, payload.length, FRAME.priorityUpdate, 0, 0, 0, 0, 0), payload]);
  };
  client.write(update(1, 'u=0'), update(5, 'u=7'), update(3, 'u=7'));
  await client.settle();
  const then = client.frames.length;
  client.write(windowUpdate(0, 20_000));
  await client.until(() => client.frames.slice(then).some(({ type }) => type === FRAME.data));
  t.equal(client.frames.slice(then).find(({ type }) => type === FRAME.data)!.stream, 1);
});

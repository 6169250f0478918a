import { once } from 'node:events';
import net from 'node:net';
import t, { type Test } from 'tap';
import { holdBack } from '../../lbd/hold-back.ts';
import { resetNow, send } from '../../lbd/raw-socket.ts';

/** A connection: the end that is written to, and all that its other end has read once that is over. */
async function connected(t: Test): Promise<{ socket: net.Socket; read: Promise<string> }> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const peer = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1').on('error', () => {});
  const [socket] = (await once(server, 'connection')) as [net.Socket];
  t.teardown(() => {
    socket.destroy();
    peer.destroy();
    server.close();
  });
  let text = '';
  peer.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1');
  });
  return { socket, read: new Promise((resolve) => peer.once('close', () => resolve(text))) };
}

/** Text that has not left for the kernel. */
const waiting = (socket: net.Socket) => socket.writableLength;

t.test('text waits for the end of the turn, and keeps its order', async (t) => {
  const { socket, read } = await connected(t);
  for (const text of ['one ', 'two ']) {
    holdBack(socket);
    t.ok(socket.write(text, 'latin1'));
  }
  t.equal(waiting(socket), 8);
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(waiting(socket), 0);
  socket.write('three ');
  holdBack(socket);
  socket.write('four');
  socket.end();
  t.equal(await read, 'one two three four');
});

t.test('small pieces wait, a large one goes at once, behind what waits', async (t) => {
  const { socket, read } = await connected(t);
  const bytes = Buffer.alloc(5000, '.');
  bytes.write('small', 'latin1');
  t.ok(send(socket, bytes, 0, 5));
  t.equal(waiting(socket), 5);
  t.ok(send(socket, bytes, 5, bytes.length - 5));
  t.equal(waiting(socket), 0);
  socket.end();
  t.equal(await read, bytes.toString('latin1'));
});

t.test('with many held back, the first ones go before the end of the turn', async (t) => {
  const all = await Promise.all(Array.from({ length: 100 }, () => connected(t)));
  for (const { socket } of all) {
    holdBack(socket);
    socket.write('x');
  }
  const held = all.filter(({ socket }) => waiting(socket) > 0).length;
  t.ok(held > 0 && held < all.length, `${held} of ${all.length}`);
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(all.filter(({ socket }) => waiting(socket) > 0).length, 0);
});

const ends: [what: string, end: (socket: net.Socket) => void, wanted: string | RegExp][] = [
  ['an end', (socket) => socket.end(), 'held'],
  ['an end that waits for the last byte', (socket) => socket.destroySoon(), 'held'],
  // The peer may hear of the reset before it has read.
  ['a reset', (socket) => resetNow(socket), /^(held)?$/],
  ['a destroy', (socket) => socket.destroy(), ''],
  [
    'a large piece behind it',
    (socket) => void send(socket, Buffer.alloc(5000, '.'), 0, 5000),
    /^held\.{5000}$/,
  ],
];
for (const [what, end, wanted] of ends)
  t.test(`what becomes of text that is held back at ${what}`, async (t) => {
    const { socket, read } = await connected(t);
    socket.on('error', (error) => t.fail(error.message));
    holdBack(socket);
    socket.write('held');
    end(socket);
    if (!socket.destroyed) socket.end();
    t.match(await read, wanted);
    // The end of the turn finds a socket that is ended or gone, and leaves it.
    await new Promise((resolve) => setImmediate(resolve));
  });

t.test('a socket that is gone takes nothing, and does no harm to the others', async (t) => {
  const gone = await connected(t);
  const { socket, read } = await connected(t);
  gone.socket.destroy();
  for (const it of [gone.socket, socket]) {
    holdBack(it);
    it.write('text');
  }
  await new Promise((resolve) => setImmediate(resolve));
  socket.end();
  t.equal(await read, 'text');
});

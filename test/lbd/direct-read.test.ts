import { once } from 'node:events';
import type net from 'node:net';
import t, { type Test } from 'tap';
import { DirectReader } from '../../lbd/direct-read.ts';
import { dial } from '../../lbd/raw-socket.ts';
import { readBuffer } from '../../lbd/read-buffer.ts';
import type { RelaySocket } from '../../lbd/relay-socket.ts';
import { dialled } from './dialled.ts';

/** A connection that is dialled, its other end, and what it has read and been told, in order. */
async function connected(t: Test): Promise<{ socket: RelaySocket; peer: net.Socket; told: string[] }> {
  const told: string[] = [];
  const connect = (port: number) =>
    dial('127.0.0.1', port, {
      onBytes: (buffer, length) => told.push(buffer.latin1Slice(0, length)),
    }) as RelaySocket;
  const { socket, peer } = await dialled(t, connect, { allowHalfOpen: true });
  socket.on('end', () => told.push('<end>'));
  socket.on('error', ({ code, syscall, message }: NodeJS.ErrnoException) =>
    told.push(`<${code} ${syscall} ${message}>`),
  );
  return { socket, peer, told };
}

/** Resolves when a connection is gone, whatever its end was. */
const closed = (socket: net.Socket) => new Promise((resolve) => socket.once('close', resolve));

/** Resolves once so many pieces of news are there. */
async function until(told: readonly string[], count: number): Promise<void> {
  while (told.length < count) await new Promise((resolve) => setImmediate(resolve));
}

const reader = new DirectReader(readBuffer());

t.test('reads what has come, from those that are watched', async (t) => {
  const [one, two, other] = [await connected(t), await connected(t), await connected(t)];
  for (const { socket } of [one, two]) reader.watch(socket);
  t.equal(reader.round(), 0);
  // What is written here is in the kernel at once, and the event loop has not turned since.
  for (const [i, { peer }] of [one, two, other].entries()) peer.write(`word ${i}`);
  t.equal(reader.round(), 2);
  t.same([one.told, two.told, other.told], [['word 0'], ['word 1'], []]);
  t.equal(reader.round(), 0);
  await until(other.told, 1);
  t.same([one.told, two.told, other.told], [['word 0'], ['word 1'], ['word 2']], 'once');
  two.peer.write('more');
  t.equal(reader.round(), 1);
  t.same(two.told, ['word 1', 'more']);
});

t.test('more than a buffer holds: what is left is found by Node, in order', async (t) => {
  const { socket, peer, told } = await connected(t);
  reader.watch(socket);
  const text = '0123456789abcdef'.repeat(1 << 16);
  peer.end(text);
  reader.round();
  await once(socket, 'end');
  t.ok(told.slice(0, -1).join('') === text);
});

t.test('a socket that is paused is left alone, and loses nothing', async (t) => {
  const { socket, peer, told } = await connected(t);
  reader.watch(socket);
  socket.pause();
  peer.write('waits');
  t.equal(reader.round(), 0);
  t.same(told, []);
  socket.resume();
  await until(told, 1);
  t.same(told, ['waits']);
});

t.test('the end is told by Node, behind the last bytes', async (t) => {
  const { socket, peer, told } = await connected(t);
  reader.watch(socket);
  peer.end('last');
  t.equal(reader.round(), 1);
  t.notOk(reader.read(socket), 'the end is nothing to read');
  await once(socket, 'end');
  t.same(told, ['last', '<end>']);
});

t.test('a reset is told by Node', async (t) => {
  const { socket, peer, told } = await connected(t);
  reader.watch(socket);
  const gone = closed(socket);
  peer.resetAndDestroy();
  t.equal(reader.round(), 0);
  await gone;
  t.same(told, ['<ECONNRESET read read ECONNRESET>']);
});

t.test(
  'a reset that comes between the look and the reading is told as by Node, not taken for an end',
  async (t) => {
    const { socket, peer, told } = await connected(t);
    reader.watch(socket);
    const gone = closed(socket);
    peer.resetAndDestroy();
    t.notOk(reader.read(socket));
    await gone;
    t.same(told, ['<ECONNRESET read read ECONNRESET>']);
  },
);

t.test('a socket that a reading of the same round has ended is not read any more', async (t) => {
  const pair = [await connected(t), await connected(t)];
  for (const { socket } of pair) reader.watch(socket);
  for (const it of pair)
    it.socket.sink = {
      onBytes: () => {
        it.told.push('read');
        for (const { socket } of pair) socket.destroy();
      },
    };
  for (const { peer } of pair) peer.write('x');
  t.equal(reader.round(), 1);
  t.same(
    pair.flatMap(({ told }) => told),
    ['read'],
  );
  t.equal(pair[0]!.socket.fd, -1);
});

t.test('a descriptor that is used again is another connection', async (t) => {
  const first = await connected(t);
  const { fd } = first.socket;
  reader.watch(first.socket);
  first.socket.destroy();
  await closed(first.socket);
  const others = [];
  for (let i = 0; i < 20; i++) others.push(await connected(t));
  for (const { peer } of others) peer.write('x');
  t.equal(reader.round(), 0, 'nobody has asked for them');
  reader.watch(others[0]!.socket);
  t.ok(reader.round() >= 1);
  t.same(others[0]!.told, ['x']);
  t.same(first.told, []);
  t.comment(`descriptor ${fd} again: ${others.some(({ socket }) => socket.fd === fd)}`);
});

import { once } from 'node:events';
import type net from 'node:net';
import t, { type Test } from 'tap';
import { DirectReader } from '../../../lbd/io/direct-read.ts';
import { dial } from '../../../lbd/io/raw-socket.ts';
import { readBuffer } from '../../../lbd/io/read-buffer.ts';
import type { RelaySocket } from '../../../lbd/io/relay-socket.ts';
import { Ring } from '../../../lbd/io/ring.ts';
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
/** Reads from several at once. */
const together = new DirectReader(readBuffer(), new Ring());

/** So many connections that they are read at once, and all told of them, one after the other. */
async function many(t: Test, count = 8) {
  const all = await Promise.all(Array.from({ length: count }, () => connected(t)));
  for (const { socket } of all) together.watch(socket);
  const write = (text: string) => {
    for (const [i, { peer }] of all.entries()) peer.write(`${text} ${i}`);
  };
  return { all, write };
}

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

t.test('several at once: each gets its own, once', async (t) => {
  const { all, write } = await many(t, 100);
  t.equal(together.round(), 0);
  write('word');
  const rounds = [together.round(), together.round(), together.round()];
  t.same(rounds, [64, 36, 0]);
  write('more');
  while (together.round() > 0);
  t.same(
    all.map(({ told }) => told),
    all.map((_, i) => [`word ${i}`, `more ${i}`]),
  );
});

for (const length of [4095, 4096, 4097, 70_000, 1 << 20])
  t.test(`several at once, one with ${length} bytes: all of them, in order, and those behind`, async (t) => {
    const { all, write } = await many(t);
    write('short');
    const text = '0123456789abcdef'.repeat(1 << 16).slice(0, length);
    const [{ socket, peer, told }] = all as [(typeof all)[0]];
    peer.write(text);
    together.round();
    while (told.join('').length < 'short 0'.length + length) {
      await new Promise((resolve) => setImmediate(resolve));
      together.round();
    }
    write('again');
    together.round();
    peer.end('last');
    await once(socket, 'end');
    t.ok(told.join('') === `short 0${text}again 0last<end>`);
    t.same(all[7]!.told, ['short 7', 'again 7']);
  });

t.test('what was read of a socket before the bytes of another one paused it', async (t) => {
  /** Eight of which the first one's bytes pause the third. */
  async function paused() {
    const { all, write } = await many(t);
    const [first, , third] = all as [(typeof all)[0], unknown, (typeof all)[0]];
    // The order in which they are told of is that in which they were written to.
    const sink = first.socket.sink!;
    first.socket.sink = {
      onBytes: (buffer, length) => {
        third.socket.pause();
        first.socket.sink = sink;
        sink.onBytes(buffer, length);
      },
    };
    write('early');
    t.equal(together.round(), 8);
    t.same([first.told, third.told], [['early 0'], []]);
    return { ...third, write };
  }

  await t.test('waits until it is resumed, before what comes later, and before the end', async (t) => {
    const { socket, peer, told } = await paused();
    peer.write(' late');
    together.round();
    t.same(told, []);
    socket.resume();
    socket.pause();
    await new Promise((resolve) => setImmediate(resolve));
    t.same(told, [], 'not while it is paused again');
    peer.end();
    socket.resume();
    await once(socket, 'end');
    t.same(told, ['early 2', ' late', '<end>']);
  });

  await t.test('goes first where a round comes before the tick', async (t) => {
    const { socket, told, write } = await paused();
    socket.resume();
    write('late');
    t.equal(together.round(), 8);
    t.same(told, ['early 2']);
    await until(told, 2);
    t.same(told, ['early 2', 'late 2']);
  });

  await t.test('is lost with the connection, but not when a write fails', async (t) => {
    for (const [syscall, wanted] of [
      ['read', []],
      ['write', ['early 2']],
    ] as const) {
      const { socket, told } = await paused();
      const gone = closed(socket);
      socket.destroy(Object.assign(new Error(syscall), { syscall, code: 'EPIPE' }));
      await gone;
      t.same(
        told.filter((text) => text.startsWith('early')),
        wanted,
      );
    }
  });
});

t.test(
  'several at once: a reset of one is told, an end is left to Node, and one that is ended gets nothing',
  async (t) => {
    const { all, write } = await many(t);
    const sink = all[2]!.socket.sink!;
    all[2]!.socket.sink = {
      onBytes: (buffer, length) => {
        all[3]!.socket.destroy();
        sink.onBytes(buffer, length);
      },
    };
    write('x');
    all[7]!.peer.end();
    all[0]!.peer.resetAndDestroy();
    const gone = closed(all[0]!.socket);
    together.round();
    await gone;
    await until(all[7]!.told, 2);
    t.match(all[0]!.told.at(-1), 'ECONNRESET');
    t.same(
      all.slice(1).map(({ told }) => told),
      [['x 1'], ['x 2'], [], ['x 4'], ['x 5'], ['x 6'], ['x 7', '<end>']],
    );
  },
);

t.test('one that is read by itself, in the round of others, is not read once it is gone', async (t) => {
  const { all, write } = await many(t);
  const [large, other] = all as [(typeof all)[0], (typeof all)[0]];
  large.peer.write('.'.repeat(50_000));
  for (const { peer } of all.slice(1)) peer.write('x');
  together.round();
  t.ok(large.socket.readsMuch);
  // Its own bytes come last, when all the others have theirs.
  large.peer.write('.');
  const sink = large.socket.sink!;
  large.socket.sink = {
    onBytes: (buffer, length) => {
      all[5]!.socket.destroy();
      sink.onBytes(buffer, length);
    },
  };
  write('and');
  together.round();
  t.same(all[5]!.told, ['x', 'and 5']);
  for (const { told } of all) told.length = 0;
  large.socket.readsMuch = true;
  const fresh: string[] = [];
  other.socket.sink = {
    onBytes: () => {
      large.socket.destroy();
      // It may have the same descriptor.
      dial('127.0.0.1', (all[2]!.peer.address() as net.AddressInfo).port, {
        onBytes: () => fresh.push('bytes'),
      }).on('error', () => {});
    },
  };
  write('y');
  together.round();
  t.same([large.told, fresh, all[7]!.told], [[], [], ['y 7']]);
});

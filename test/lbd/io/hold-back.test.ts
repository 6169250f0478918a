import { once } from 'node:events';
import net from 'node:net';
import t, { type Test } from 'tap';
import { DirectWriter } from '../../../lbd/io/direct-write.ts';
import { HoldBack, release } from '../../../lbd/io/hold-back.ts';
import { dial, resetNow, send } from '../../../lbd/io/raw-socket.ts';
import { RelaySocket } from '../../../lbd/io/relay-socket.ts';
import { Ring } from '../../../lbd/io/ring.ts';
import { dialled } from './dialled.ts';

interface Connection {
  readonly socket: net.Socket;
  readonly peer: net.Socket;
  /** All that the other end has read, once that is over. */
  readonly read: Promise<string>;
}

type Connect = (t: Test) => Promise<Connection>;

/** A connection that may be written to directly, and one that may not, as with TLS. */
const KINDS: Readonly<Record<'relay' | 'other', Connect>> = {
  relay: (t) => connected(t, (port) => dial('127.0.0.1', port, { onBytes: () => {} })),
  other: (t) => connected(t, (port) => net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })),
};

async function connected(t: Test, connect: (port: number) => net.Socket): Promise<Connection> {
  const { socket, peer } = await dialled(t, connect);
  let text = '';
  peer.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1');
  });
  return { socket, peer, read: new Promise((resolve) => peer.once('close', () => resolve(text))) };
}

/** Bytes that have not left for the kernel. */
function waiting(socket: net.Socket): number {
  return socket.writableLength + (socket instanceof RelaySocket ? socket.heldBytes : 0);
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const text = (latin1: string) => Buffer.from(latin1, 'latin1');

function add(held: HoldBack, socket: net.Socket, latin1: string): boolean {
  const bytes = text(`-${latin1}-`);
  const goesOn = held.add(socket, bytes, 1, latin1.length);
  // They were valid only within the call.
  bytes.fill('!');
  return goesOn;
}

const ENDS: [what: string, end: (socket: net.Socket) => void, wanted: string | RegExp][] = [
  ['an end', (socket) => socket.end(), 'held'],
  ['an end with a word', (socket) => socket.end(' end'), 'held end'],
  ['an end that waits for the last byte', (socket) => socket.destroySoon(), 'held'],
  ['a write', (socket) => void socket.write(' written'), 'held written'],
  ['a release', (socket) => release(socket), 'held'],
  // The peer may hear of the reset before it has read.
  ['a reset', (socket) => resetNow(socket), /^(held)?$/],
  ['a destroy', (socket) => socket.destroy(), ''],
  [
    'a large piece behind it',
    (socket) => void send(socket, Buffer.alloc(5000, '.'), 0, 5000),
    /^held\.{5000}$/,
  ],
];

const WRITERS: Readonly<Record<string, ((buffer: Buffer) => DirectWriter) | undefined>> = {
  direct: (buffer) => new DirectWriter(buffer),
  'direct, several at once': (buffer) => new DirectWriter(buffer, new Ring()),
  'by Node': undefined,
};

for (const [how, writer] of Object.entries(WRITERS))
  for (const [kind, connect] of Object.entries(KINDS))
    t.test(`${kind} connection, ${how}`, async (t) => {
      t.test('some are written to twice in one turn, and one is gone by its end', async (t) => {
        const held = new HoldBack(writer);
        const all = await Promise.all(Array.from({ length: 10 }, () => connect(t)));
        for (const { socket } of all) add(held, socket, 'one ');
        for (const { socket } of all.slice(5)) add(held, socket, 'two');
        all[0]!.socket.destroy();
        await turn();
        for (const { socket } of all.slice(1)) socket.end();
        const texts = await Promise.all(all.map(({ read }) => read));
        t.same(texts, ['', ...Array(4).fill('one '), ...Array(5).fill('one two')]);
      });

      t.test('bytes wait for the end of the turn, and keep their order', async (t) => {
        const held = new HoldBack(writer);
        const { socket, read } = await connect(t);
        for (const word of ['one ', 'two ']) t.ok(add(held, socket, word));
        t.ok(waiting(socket) >= 4);
        await turn();
        t.equal(waiting(socket), 0);
        socket.write('three ');
        add(held, socket, 'four ');
        socket.write('five ');
        add(held, socket, 'six');
        socket.end();
        t.equal(await read, 'one two three four five six');
      });

      t.test('with many held back, the first ones go before the end of the turn', async (t) => {
        const held = new HoldBack(writer);
        const all = await Promise.all(Array.from({ length: 100 }, () => connect(t)));
        for (const { socket } of all) add(held, socket, 'x');
        const left = all.filter(({ socket }) => waiting(socket) > 0).length;
        t.ok(left > 0 && left < all.length, `${left} of ${all.length}`);
        await turn();
        t.equal(all.filter(({ socket }) => waiting(socket) > 0).length, 0);
      });

      t.test('more than there is room for', async (t) => {
        const held = new HoldBack(writer);
        const all = await Promise.all(Array.from({ length: 20 }, () => connect(t)));
        const words = [10_000, 20_000, 1].map((length, i) => 'abc'[i]!.repeat(length));
        for (const word of words) for (const { socket } of all) add(held, socket, word);
        for (const { socket } of all) socket.end();
        for (const { read } of all) t.ok((await read) === words.join(''));
      });

      for (const [what, end, wanted] of ENDS)
        t.test(`what becomes of what is held back at ${what}`, async (t) => {
          const held = new HoldBack(writer);
          const { socket, read } = await connect(t);
          socket.on('error', (error) => t.fail(error.message));
          add(held, socket, 'held');
          end(socket);
          if (!socket.destroyed && !socket.writableEnded) socket.end();
          t.match(await read, wanted);
          // The end of the turn finds a socket that is ended or gone, and leaves it.
          await turn();
        });

      t.test('a peer that reads nothing: what the kernel does not take waits, and arrives', async (t) => {
        const held = new HoldBack(writer);
        const { socket, peer, read } = await connect(t);
        peer.pause();
        const word = '0123456789abcdef'.repeat(500);
        let total = 0;
        while (add(held, socket, word)) {
          total++;
          await turn();
        }
        t.ok(socket.writableNeedDrain);
        peer.resume();
        await once(socket, 'drain');
        socket.end();
        t.ok((await read) === word.repeat(total + 1));
      });

      t.test('a socket that is gone takes nothing, and does no harm to the others', async (t) => {
        const held = new HoldBack(writer);
        const gone = await connect(t);
        const { socket, read } = await connect(t);
        gone.socket.destroy();
        gone.socket.on('error', () => {});
        for (const it of [gone.socket, socket]) add(held, it, 'text');
        await turn();
        socket.end();
        t.equal(await read, 'text');
      });

      t.test('a peer that has reset the connection: the error is told, as by any write', async (t) => {
        const held = new HoldBack(writer);
        const { socket, peer } = await connect(t);
        const failed = new Promise<NodeJS.ErrnoException>((resolve) => socket.once('error', resolve));
        const closed = new Promise((resolve) => socket.once('close', resolve));
        peer.resetAndDestroy();
        const talk = setInterval(() => socket.destroyed || add(held, socket, 'text'), 1);
        t.match((await failed).code, /^(ECONNRESET|EPIPE)$/);
        await closed;
        clearInterval(talk);
      });
    });

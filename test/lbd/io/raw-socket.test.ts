import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readSync } from 'node:fs';
import net from 'node:net';
import t from 'tap';
import { descriptorOf } from '../../../common/descriptors.ts';
import type { ByteSink } from '../../../lbd/io/byte-sink.ts';
import { release } from '../../../lbd/io/hold-back.ts';
import { dial, resetNow, send } from '../../../lbd/io/raw-socket.ts';

const MOMENTS: Record<string, (then: () => void) => void> = {
  'at once': (then) => then(),
  'in the next tick': (then) => process.nextTick(then),
  'in a microtask': (then) => queueMicrotask(then),
  'in the next turn': (then) => setImmediate(then),
};

t.test('a reset behind an end: the connection is closed, and so is its descriptor', async (t) => {
  for (const [moment, later] of Object.entries(MOMENTS))
    for (const pending of [0, 64 << 20])
      await t.test(`${moment}, ${pending} bytes under way`, async (t) => {
        const server = net.createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
        await once(server, 'listening');
        const { port } = server.address() as net.AddressInfo;
        const client = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true }).on('error', () => {});
        const [socket] = (await once(server, 'connection')) as [net.Socket];
        t.teardown(() => {
          client.destroy();
          server.close();
        });
        if (pending > 0) socket.write(Buffer.alloc(pending));
        socket.on('error', (error) => t.fail(error.message));
        socket.end('bye');
        later(() => resetNow(socket));
        await closed(socket);
        client.resume();
        if (!client.closed && !client.readableEnded)
          await new Promise((resolve) => client.once('end', resolve).once('close', resolve));
      });
});

/** Resolves at the end of a socket, whatever it was. */
function closed(socket: net.Socket): Promise<unknown> {
  return new Promise((resolve) => socket.once('close', resolve));
}

/** A connection that was dialled, its other end, and what was told. */
async function dialled(): Promise<{ socket: net.Socket; peer: net.Socket; told: string[]; close(): void }> {
  const server = net.createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const told: string[] = [];
  const sink: ByteSink = { onBytes: (buffer, length) => told.push(buffer.latin1Slice(0, length)) };
  const socket = dial('127.0.0.1', (server.address() as net.AddressInfo).port, sink);
  socket.on('end', () => told.push('<end>'));
  socket.on('error', (error: NodeJS.ErrnoException) => told.push(`<${error.syscall} failed>`));
  socket.on('close', () => told.push('<close>'));
  const [[peer]] = (await Promise.all([once(server, 'connection'), once(socket, 'connect')])) as [
    [net.Socket],
    unknown,
  ];
  peer.on('error', () => {});
  return {
    socket,
    peer,
    told,
    close: () => {
      socket.destroy();
      peer.destroy();
      server.close();
    },
  };
}

const WAYS: Record<string, (socket: net.Socket) => void> = {
  'a write': (socket) => socket.write('more'),
  'a small piece': (socket) => {
    send(socket, Buffer.from('more'), 0, 4);
    release(socket);
  },
  'a large piece': (socket) => send(socket, Buffer.alloc(5000), 0, 5000),
};

for (const [way, write] of Object.entries(WAYS))
  t.test(`what a backend said before ${way} to it failed is read, in order, once`, async (t) => {
    for (const ended of [false, true])
      for (const size of [0, 5, 40_000]) {
        const it = await dialled();
        t.teardown(() => it.close());
        it.peer.write('x'.repeat(size));
        // An end before the reset makes what was said complete; a reset alone must not look like one.
        if (ended) await new Promise<void>((resolve) => it.peer.end(resolve));
        it.peer.resetAndDestroy();
        // The reset is in the kernel already, the event loop has not seen it: this write fails first.
        write(it.socket);
        await closed(it.socket);
        const text = it.told.join('');
        const said = text.replaceAll('x', '');
        if (ended) t.match(said, /^(<end>)?(<(read|write) failed>)?<close>$/);
        else t.equal(said, '<write failed><close>');
        t.equal(text.split('x').length - 1, size);
      }
  });

t.test('bytes that are valid only now arrive complete and in order, whoever has to wait', async (t) => {
  const { socket, peer, close } = await dialled();
  t.teardown(close);
  const shared = Buffer.alloc(300_000);
  const total = 400;
  const got = createHash('sha256');
  const wanted = createHash('sha256');
  const end = new Promise((resolve) => peer.on('data', (bytes) => got.update(bytes)).once('end', resolve));
  let waited = 0;
  for (let i = 0; i < total; i++) {
    const length = (i * 7919) % shared.length;
    shared.fill(i % 251);
    // What stands before it is still on its way: it must not be overtaken.
    if (i % 5 === 0) {
      socket.write('between');
      wanted.update('between');
    }
    wanted.update(shared.subarray(0, length));
    // A peer that reads nothing fills the kernel's buffers.
    if (i % 50 === 0) peer.pause();
    const flows = send(socket, shared, 0, length);
    shared.fill(255);
    if (flows) continue;
    waited++;
    peer.resume();
    await once(socket, 'drain');
  }
  peer.resume();
  socket.end();
  await end;
  t.equal(got.digest('hex'), wanted.digest('hex'));
  t.ok(waited > 0, 'it had to wait now and then');
});

t.test('bytes do not overtake those that wait, even where the kernel has room again', async (t) => {
  const { socket, peer, close } = await dialled();
  t.teardown(close);
  peer.pause();
  const waiting = Buffer.alloc(32 << 20, 'a');
  socket.write(waiting);
  // The peer reads, and this process has not noticed yet.
  const first = Buffer.alloc(1 << 20);
  const read = readSync(descriptorOf(peer), first);
  t.notOk(send(socket, Buffer.from('last'), 0, 4));
  let rest = read;
  let tail = '';
  peer.on('data', (bytes: Buffer) => {
    rest += bytes.length;
    tail = (tail + bytes.toString('latin1')).slice(-8);
  });
  peer.resume();
  socket.end();
  await once(peer, 'end');
  t.equal(rest, waiting.length + 4);
  t.equal(tail, 'aaaalast');
});

t.test('bytes for a peer that has reset the connection: the error is told, as by any write', async (t) => {
  const { socket, peer, told, close } = await dialled();
  t.teardown(close);
  const gone = closed(socket);
  peer.resetAndDestroy();
  const talk = setInterval(() => send(socket, Buffer.alloc(1000, 'x'), 0, 1000), 1);
  await gone;
  clearInterval(talk);
  t.match(told.at(-2), /^<(read|write) failed>$/);
  t.equal(told.at(-1), '<close>');
});

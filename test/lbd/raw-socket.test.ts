import { once } from 'node:events';
import net from 'node:net';
import t from 'tap';
import { type ByteSink, dial, resetNow } from '../../lbd/raw-socket.ts';

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

t.test('what a backend said before a write to it failed is read, in order, once', async (t) => {
  for (const size of [0, 5, 40_000]) {
    const it = await dialled();
    t.teardown(() => it.close());
    const words = 'x'.repeat(size);
    it.peer.write(words);
    it.peer.resetAndDestroy();
    // The reset is in the kernel already, the event loop has not seen it: this write fails first.
    it.socket.write('more');
    await closed(it.socket);
    const text = it.told.join('');
    t.equal(text.replaceAll('x', ''), '<write failed><close>');
    t.equal(text.split('x').length - 1, size);
  }
});

import { once } from 'node:events';
import net from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import type { ByteSink } from '../../../lbd/io/byte-sink.ts';
import { allowReset, dialSecure } from '../../../lbd/io/secure-socket.ts';
import { Certificates } from '../tls/secure-client.ts';

/** A TLS connection that was dialled, its other end, and what was told. */
async function dialled(t: Test, preamble?: Buffer) {
  const { cert, key } = new Certificates(t).server('a.example');
  const tls = createServer({ cert, key });
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (plain) => {
    if (preamble === undefined) tls.emit('connection', plain);
    else
      plain.resume().once('data', (bytes: Buffer) => {
        plain.pause();
        plain.unshift(bytes.subarray(preamble.length));
        tls.emit('connection', plain);
      });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const told: string[] = [];
  const sink: ByteSink = { onBytes: (buffer, length) => told.push(buffer.latin1Slice(0, length)) };
  const target = { options: { rejectUnauthorized: false }, session: undefined };
  const { port } = server.address() as net.AddressInfo;
  const arrived = once(tls, 'secureConnection');
  const socket = dialSecure('127.0.0.1', port, target, sink, preamble);
  socket.on('end', () => told.push('<end>'));
  socket.on('error', (error: NodeJS.ErrnoException) => told.push(`<${error.syscall} failed>`));
  socket.on('close', () => told.push('<close>'));
  const [[peer]] = (await Promise.all([arrived, once(socket, 'secureConnect')])) as [[TLSSocket], unknown];
  peer.on('error', () => {});
  allowReset(peer);
  t.teardown(() => {
    socket.destroy();
    peer.destroy();
    server.close();
  });
  return { socket, peer, told };
}

/** Resolves at the end of a socket, whatever it was. */
function closed(socket: net.Socket): Promise<unknown> {
  return new Promise((resolve) => socket.once('close', resolve));
}

t.test('what a backend said before a write to it failed is read, in order, once', async (t) => {
  const cases = [0, 5, 40_000].flatMap((size) =>
    [false, true].flatMap((ends) =>
      [undefined, Buffer.from('PROXY ')].map((preamble) => ({ size, ends, preamble })),
    ),
  );
  for (const { size, ends, preamble } of cases)
    await t.test(
      `${size} bytes${ends ? ' and its end' : ''}${preamble ? ', begun in the clear' : ''}`,
      async (t) => {
        const { socket, peer, told } = await dialled(t, preamble);
        // What the event loop has not read before the write fails is what would be lost.
        socket.pause();
        await new Promise<unknown>((resolve) => peer.write('x'.repeat(size), resolve));
        if (ends) await new Promise<void>((resolve) => peer.end(resolve));
        peer.resetAndDestroy();
        await closed(peer);
        while (!told.includes('<close>')) {
          socket.write('more');
          await new Promise(setImmediate);
        }
        const text = told.join('');
        t.equal(text.replaceAll('x', ''), `${ends ? '<end>' : ''}<write failed><close>`);
        t.equal(text.split('x').length - 1, size);
        t.notOk(socket.writable);
      },
    );
});

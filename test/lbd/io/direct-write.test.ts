import { once } from 'node:events';
import net from 'node:net';
import { constants } from 'node:os';
import t, { type Test } from 'tap';
import { descriptorOf } from '../../../common/descriptors.ts';
import { DirectWriter } from '../../../lbd/io/direct-write.ts';

async function connected(t: Test): Promise<{ socket: net.Socket; peer: net.Socket }> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const peer = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1').on('error', () => {});
  const [socket] = (await once(server, 'connection')) as [net.Socket];
  t.teardown(() => {
    socket.destroy();
    peer.destroy();
    server.close();
  });
  return { socket, peer };
}

t.test('writes the bytes that were meant, from any place of its buffer', async (t) => {
  const { socket, peer } = await connected(t);
  const buffer = Buffer.from('0123456789', 'latin1');
  const whole = Buffer.allocUnsafeSlow(3 << 20);
  for (let at = 0; at < whole.length; at += buffer.length) buffer.copy(whole, at);
  const writer = new DirectWriter(whole);
  const fd = descriptorOf(socket);
  for (const at of [0, 7, 65_535, whole.length - 5]) {
    t.equal(writer.write(fd, at, 5), 5);
    let text = '';
    while (text.length < 5) text += ((await once(peer, 'data')) as [Buffer])[0].toString('latin1');
    t.equal(text, whole.latin1Slice(at, at + 5));
  }
  t.throws(() => writer.write(fd, whole.length - 4, 5), /not within/);
  t.throws(() => writer.write(fd, -1, 5), /not within/);
});

t.test('what the kernel does not take is told, and it does not wait', async (t) => {
  const { socket, peer } = await connected(t);
  peer.pause();
  const writer = new DirectWriter(Buffer.alloc(1 << 20));
  const fd = descriptorOf(socket);
  let last = 0;
  for (let turns = 0; last >= 0 && turns < 1000; turns++) last = writer.write(fd, 0, 1 << 20);
  t.equal(last, -constants.errno.EAGAIN);
  t.equal(writer.write(-1, 0, 1), -constants.errno.EBADF, 'no descriptor');
  const closed = new Promise((resolve) => socket.on('error', () => {}).once('close', resolve));
  peer.resetAndDestroy();
  await closed;
  t.equal(descriptorOf(socket), -1);
});

import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { receiveDescriptor, sendDescriptor } from '../../common/descriptors.ts';
import { descriptorOf } from '../../lbd/relay-socket.ts';
import { tempDir } from './temp-dir.ts';

t.test('a descriptor goes over a unix socket, and both sides have it', async (t) => {
  const directory = tempDir(t);
  const file = join(directory, 'file');
  writeFileSync(file, 'what is in it');
  const server = createServer();
  const path = join(directory, 'socket');
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const client = createConnection({ path });
  client.pause();
  const other = await accepted;
  t.teardown(() => {
    client.destroy();
    other.destroy();
    server.close();
  });

  t.throws(() => receiveDescriptor(descriptorOf(client)), { code: 'DESCRIPTOR', message: /recvmsg/ });
  const sent = openSync(file, 'r');
  sendDescriptor(descriptorOf(other), sent);
  closeSync(sent);
  const received = receiveDescriptor(descriptorOf(client));
  t.equal(readFileSync(received, 'utf8'), 'what is in it');
  t.match(
    readFileSync(`/proc/self/fdinfo/${received}`, 'latin1'),
    /^flags:\s+0?2\d{6}$/m,
    'closed in programs that it starts',
  );
  closeSync(received);

  await new Promise<void>((resolve) => other.write('x', () => resolve()));
  t.throws(() => receiveDescriptor(descriptorOf(client)), { message: 'no descriptor came over the socket' });
  const said = new Promise((resolve) => client.once('data', (chunk: Buffer) => resolve(chunk.toString())));
  client.resume();
  other.write('from here on as usual');
  t.equal(await said, 'from here on as usual');
});

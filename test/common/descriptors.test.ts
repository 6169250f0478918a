import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { descriptorOf, receiveDescriptor, sendDescriptor, takeDescriptor } from '../../common/descriptors.ts';
import { libc, MSG, SOL_SOCKET } from '../../common/libc.ts';
import { tempDir } from './temp-dir.ts';

/** Both ends of a connection; Node does not read at the client's. */
async function pairOfSockets(t: Test): Promise<{ client: Socket; other: Socket }> {
  const server = createServer();
  const path = join(tempDir(t), 'socket');
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
  return { client, other };
}

t.test('a descriptor goes over a unix socket, and both sides have it', async (t) => {
  const directory = tempDir(t);
  const file = join(directory, 'file');
  writeFileSync(file, 'what is in it');
  const { client, other } = await pairOfSockets(t);

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

t.test('what has not come yet is waited for, and not where nothing will come', async (t) => {
  const { client, other } = await pairOfSockets(t);
  const socket = descriptorOf(client);
  t.equal(takeDescriptor(socket), undefined);
  other.destroy();
  await new Promise((resolve) => other.once('close', resolve));
  t.throws(() => takeDescriptor(socket), {
    code: 'DESCRIPTOR',
    message: 'no descriptor came over the socket',
  });
});

t.test('who sends more than one leaves none behind', async (t) => {
  const { client, other } = await pairOfSockets(t);
  const sent = openSync('/dev/null', 'r');
  const open = () => readdirSync('/proc/self/fd').length;
  const before = open();
  sendTwo(descriptorOf(other), sent);
  let received: number | undefined;
  try {
    received = takeDescriptor(descriptorOf(client));
  } catch {
    // A refusal is as good.
  }
  t.equal(open() - before, received === undefined ? 0 : 1);
  for (const descriptor of [received, sent]) if (descriptor !== undefined) closeSync(descriptor);
});

/** One message with a descriptor twice. */
function sendTwo(socket: number, descriptor: number): void {
  const { addressOf, sendmsg } = libc();
  const [head, vector, control, byte] = [56, 16, 24, 1].map((bytes) =>
    Buffer.allocUnsafeSlow(bytes).fill(0),
  ) as [Buffer, Buffer, Buffer, Buffer];
  vector.writeBigUInt64LE(addressOf(byte));
  vector.writeBigUInt64LE(1n, 8);
  control.writeBigUInt64LE(24n);
  control.writeInt32LE(SOL_SOCKET, 8);
  control.writeInt32LE(1, 12);
  for (const at of [16, 20]) control.writeInt32LE(descriptor, at);
  head.writeBigUInt64LE(addressOf(vector), 16);
  head.writeBigUInt64LE(1n, 24);
  head.writeBigUInt64LE(addressOf(control), 32);
  head.writeBigUInt64LE(24n, 40);
  assert.equal(sendmsg(socket, addressOf(head), MSG.noSignal), 1);
}

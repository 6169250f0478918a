import { once } from 'node:events';
import net from 'node:net';
import t, { type Test } from 'tap';
import { OperatorError } from '../../../common/errors.ts';
import type { ByteSink } from '../../../lbd/io/byte-sink.ts';
import { Listener } from '../../../lbd/io/listener.ts';
import { adopt } from '../../../lbd/io/raw-socket.ts';
import { freePort } from '../../common/free-port.ts';
import { settled } from '../../common/settled.ts';
import { RawClient } from '../harness.ts';

/** Keeps what came, as text. */
class Recorder implements ByteSink {
  text = '';
  readonly socket: net.Socket;

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on('error', () => {});
  }

  onBytes(buffer: Buffer, length: number): void {
    this.text += buffer.latin1Slice(0, length);
  }
}

async function listen(
  t: Test,
  host: string,
  port: number,
): Promise<{ listener: Listener; taken: Recorder[] }> {
  const taken: Recorder[] = [];
  const listener = await Listener.open(
    { host, port },
    (socket) => {
      const recorder = new Recorder(socket);
      taken.push(recorder);
      t.teardown(() => socket.destroy());
      return recorder;
    },
    (error) => t.error(error),
  );
  t.teardown(() => listener.close());
  return { listener, taken };
}

t.test(
  'an accepted socket is not read before it is resumed, and then gives every byte in order',
  async (t) => {
    const port = await freePort();
    const { taken } = await listen(t, '127.0.0.1', port);
    const client = await RawClient.open(t, port);
    const sent = Array.from({ length: 100_000 }, (_, i) => i).join(' ');
    client.write(sent);
    client.socket.end();
    await settled(() => taken.length === 1);
    const { socket } = taken[0]!;
    // Long enough for a read to happen if there were one: a whole round trip of another connection.
    const other = await RawClient.open(t, port);
    await settled(() => taken.length === 2);
    taken[1]!.socket.write('x');
    await other.until((text) => text === 'x');
    t.equal(taken[0]!.text, '');
    t.equal(socket.bytesRead, 0);
    socket.resume();
    await once(socket, 'end');
    t.equal(taken[0]!.text, sent);
    socket.end('bye');
    t.equal(await client.end(), 'bye', 'the other half stays open');
  },
);

t.test('a paused socket reads nothing more', async (t) => {
  const port = await freePort();
  const { taken } = await listen(t, '127.0.0.1', port);
  const client = await RawClient.open(t, port);
  await settled(() => taken.length === 1);
  const [recorder] = taken as [Recorder];
  recorder.socket.resume();
  client.write('a');
  await settled(() => recorder.text === 'a');
  recorder.socket.pause();
  await new Promise<void>((resolve) => client.socket.write('b', () => resolve()));
  const other = await RawClient.open(t, port);
  await settled(() => taken.length === 2);
  taken[1]!.socket.write('x');
  await other.until((text) => text === 'x');
  t.equal(recorder.text, 'a');
  recorder.socket.resume();
  await settled(() => recorder.text === 'ab');
  t.equal(recorder.text, 'ab');
});

t.test('a socket without a handle to take over is used with data events', async (t) => {
  const pair = net.createServer({ pauseOnConnect: true, allowHalfOpen: true });
  pair.listen(0, '127.0.0.1');
  await once(pair, 'listening');
  t.teardown(() => pair.close());
  const client = net.connect((pair.address() as net.AddressInfo).port, '127.0.0.1');
  t.teardown(() => client.destroy());
  const [accepted] = (await once(pair, 'connection')) as [net.Socket];
  const hidden: net.Socket = Object.create(accepted, { _handle: { value: null } });
  let recorder: Recorder | undefined;
  adopt(hidden, (socket) => {
    recorder = new Recorder(socket);
    return recorder;
  });
  client.write('hello');
  accepted.resume();
  await settled(() => recorder?.text === 'hello');
  t.equal(recorder?.text, 'hello');
  accepted.destroy();
});

t.test('`*` is both families', async (t) => {
  const port = await freePort();
  const { taken } = await listen(t, '*', port);
  for (const host of ['127.0.0.1', '::1']) {
    const socket = net.connect({ port, host });
    t.teardown(() => socket.destroy());
    const failed = once(socket, 'error');
    const result = await Promise.race([once(socket, 'connect').then(() => 'connected'), failed]);
    if (host === '127.0.0.1' || result === 'connected') t.equal(result, 'connected', host);
    else t.comment(`no IPv6 here: ${result}`);
  }
  await settled(() => taken.length >= 1);
});

t.test('two listeners share a port; closing stops the new and keeps the open ones', async (t) => {
  const port = await freePort();
  const first = await listen(t, '127.0.0.1', port);
  const second = await listen(t, '127.0.0.1', port);
  const client = await RawClient.open(t, port);
  await settled(() => first.taken.length + second.taken.length === 1);
  first.listener.close();
  second.listener.close();
  await t.rejects(RawClient.open(t, port), { code: 'ECONNREFUSED' });
  const [recorder] = [...first.taken, ...second.taken] as [Recorder];
  recorder.socket.resume();
  client.write('still here');
  await settled(() => recorder.text === 'still here');
  t.pass('the open one goes on');
});

t.test('a bind that cannot be had is one clear line', async (t) => {
  const holder = net.createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  t.teardown(() => holder.close());
  const { port } = holder.address() as net.AddressInfo;
  const cases: [host: string, port: number, message: string][] = [
    ['127.0.0.1', port, `cannot listen on 127.0.0.1:${port}: EADDRINUSE`],
    ['192.0.2.1', port, `cannot listen on 192.0.2.1:${port}: EADDRNOTAVAIL`],
  ];
  for (const [host, at, message] of cases) {
    const error = await listen(t, host, at).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    t.ok(error instanceof OperatorError);
    t.match(error, { code: 'BIND', message });
  }
});

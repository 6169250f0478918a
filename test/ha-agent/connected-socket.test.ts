import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import t from 'tap';
import { ConnectedSocket } from '../../ha-agent/connected-socket.ts';

const [SELF, PEER] = ['127.0.0.1', '127.0.0.2'];

t.test('refusals that somebody forges, one after the other, keep no datagram back', async (t) => {
  const peer = createSocket('udp4').bind(0, PEER);
  t.teardown(() => peer.close());
  await once(peer, 'listening');
  const { port } = peer.address();
  const other = createSocket({ type: 'udp4', reusePort: true }).bind(port, SELF);
  t.teardown(() => other.close());
  await once(other, 'listening');
  const refused: number[] = [];
  const connected = new ConnectedSocket({
    ...{ selfAddress: SELF, peerAddress: PEER, port, sendBufferBytes: 32_768 },
    sendUnconnected: (data) =>
      new Promise((resolve) => other.send(data, port, PEER, () => resolve(undefined))),
    onDatagram: () => {},
    onRefused: (roundTripMs) => refused.push(roundTripMs),
    onError: (error) => t.fail(error.message),
  });
  t.teardown(() => connected.close());
  await connected.open();
  const forged = Object.assign(new Error('send ECONNREFUSED'), { code: 'ECONNREFUSED' });
  connected.socket.send = ((_data: Buffer, done: (error: Error) => void) => done(forged)) as never;
  const heard = once(peer, 'message');
  await connected.send(Buffer.from('beat'));
  t.match(await heard, [Buffer.from('beat'), { address: SELF, port }]);
  while (refused.length === 0) await new Promise((resolve) => setImmediate(resolve));
  t.pass('and they are told');
});

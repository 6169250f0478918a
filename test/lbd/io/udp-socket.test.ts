import dgram from 'node:dgram';
import { once } from 'node:events';
import { readlinkSync } from 'node:fs';
import t from 'tap';
import { descriptorOfDatagrams } from '../../../common/datagram-descriptor.ts';
import { bindDatagrams, connectDatagrams, sendDatagram } from '../../../lbd/io/udp-socket.ts';

const SINK = { onDatagram: () => {}, onSocketError: (error: Error) => t.error(error) };

t.test('the descriptor of a socket is known, so that the last ones can be kept', async (t) => {
  const server = dgram.createSocket('udp4').bind(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  const bound = await bindDatagrams('127.0.0.1', port + 1 > 65535 ? port - 1 : port + 1, SINK);
  const connected = connectDatagrams('127.0.0.1', port, SINK);
  for (const socket of [bound, connected])
    t.match(readlinkSync(`/proc/self/fd/${descriptorOfDatagrams(socket)}`), /^socket:/);
  t.not(descriptorOfDatagrams(bound), descriptorOfDatagrams(connected));
  t.ok(sendDatagram(connected, Buffer.from('x')));
  await once(server, 'message');
  for (const socket of [server, bound, connected]) socket.close();
  t.equal(descriptorOfDatagrams(connected), -1, 'closed');
  t.notOk(sendDatagram(connected, Buffer.from('x')), 'what cannot be sent is dropped');
});

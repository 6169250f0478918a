import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { isMulticast } from '../../../common/address.ts';
import { contentOf } from './contents.ts';
import type { DatagramOrder, Outcome } from './order.ts';
import { pace } from './pace.ts';
import { RawSender } from './raw-sender.ts';

/** A slow sender goes on for longer: fewer are no flood. */
const MIN_SENT = 2000;

/**
 * Sends until it is told to stop or its time is over.
 *
 * @param begun called before the first one
 */
export async function floodDatagrams(
  order: DatagramOrder,
  begun: () => void,
  stopped: () => boolean,
): Promise<Outcome> {
  const data = await contentOf(order);
  const { send, close } = order.forgedSource === undefined ? await plain(order) : forged(order);
  const due = pace(order.perSecond);
  const startMs = performance.now();
  let sent = 0;
  begun();
  for (;;) {
    const nowMs = performance.now();
    if (stopped() || (nowMs - startMs >= order.forMs && sent >= MIN_SENT)) break;
    for (let left = due(nowMs); left > 0; left--) send(data[sent++ % data.length]!);
    await new Promise((resolve) => setImmediate(resolve));
  }
  close();
  return { sent, refused: {} };
}

interface Sender {
  send(data: Buffer): void;
  close(): void;
}

async function plain({ own, to, port }: DatagramOrder): Promise<Sender> {
  const socket = createSocket('udp4');
  socket.bind(0, own);
  await once(socket, 'listening');
  if (isMulticast(to)) {
    socket.setMulticastInterface(own);
    socket.setMulticastTTL(1);
  }
  socket.connect(port, to);
  await once(socket, 'connect');
  // A receiver that is gone is no reason to stop.
  socket.on('error', () => {});
  return { send: (data) => socket.send(data), close: () => socket.close() };
}

function forged({ content, forgedSource, own, to, port }: DatagramOrder): Sender {
  const protocol = content === 'refusal' ? 'icmp' : 'udp';
  const sender = new RawSender({ protocol, from: forgedSource!, own, to: { address: to, port } });
  return { send: (data) => sender.send(data), close: () => sender.close() };
}

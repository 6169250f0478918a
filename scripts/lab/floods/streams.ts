import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { HandshakeOrder, Outcome, StreamOrder, Target } from './order.ts';
import { pace } from './pace.ts';

const LOOK_MS = 1;
/** A key that is not the cluster's. */
const WRONG_KEY = Buffer.alloc(32, 7);

type Begin = (over: (cause?: string) => void) => { destroy(): void };

/** Connections that say what the order has, a new one for each that has ended. */
export function floodStreams(
  order: StreamOrder,
  begun: () => void,
  stopped: () => boolean,
): Promise<Outcome> {
  const bytes = Buffer.from(order.text.repeat(order.times), 'latin1');
  return keepOpen(order, begun, stopped, (over) => {
    const socket = dial(order.to, () => {
      if (order.after === 'reset') socket.resetAndDestroy();
      else if (bytes.length > 0) socket.write(bytes);
    });
    if (order.after === 'hold') socket.pause();
    else socket.on('data', () => {}).on('end', () => socket.destroy());
    watch(socket, over);
    return socket;
  });
}

/** Handshakes that fail at their last step, which is the dearest way to fail for the other side. */
export function floodHandshakes(
  order: HandshakeOrder,
  begun: () => void,
  stopped: () => boolean,
): Promise<Outcome> {
  return keepOpen(order, begun, stopped, (over) => {
    const socket = connectTls({
      ...order.to,
      minVersion: 'TLSv1.2',
      maxVersion: 'TLSv1.2',
      ciphers: 'ECDHE-PSK-CHACHA20-POLY1305',
      pskCallback: () => ({ identity: order.identity, psk: WRONG_KEY }),
      checkServerIdentity: () => undefined,
    });
    watch(socket, over);
    return socket;
  });
}

function dial(to: Target, opened: () => void): Socket {
  return 'path' in to ? connect(to.path, opened) : connect(to.port, to.host, opened);
}

function watch(socket: Socket, over: (cause?: string) => void): void {
  let cause: string | undefined;
  socket.on('error', (error: NodeJS.ErrnoException) => {
    cause = error.code ?? error.message;
  });
  socket.on('close', () => over(cause));
}

async function keepOpen(
  order: StreamOrder | HandshakeOrder,
  begun: () => void,
  stopped: () => boolean,
  begin: Begin,
): Promise<Outcome> {
  const open = new Set<{ destroy(): void }>();
  const refused: Record<string, number> = {};
  const due = pace(order.perSecond);
  const endMs = performance.now() + order.forMs;
  let sent = 0;
  begun();
  for (;;) {
    const nowMs = performance.now();
    if (stopped() || nowMs >= endMs) break;
    for (let left = due(nowMs); left > 0 && open.size < order.connections; left--) {
      sent++;
      const one = begin((cause) => {
        open.delete(one);
        if (cause !== undefined) refused[cause] = (refused[cause] ?? 0) + 1;
      });
      open.add(one);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  for (const one of open) one.destroy();
  return { sent, refused };
}

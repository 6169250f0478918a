import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { VIP } from '../../scripts/lab/hosts.ts';

/**
 * A client whose connections all come from one port, as those of a busy host do within seconds. Commands on standard
 * input: `once` asks over a connection that the server then closes, `open` over one that stays, `ask` over that one
 * again. Prints `200`, or what went wrong.
 */
const PORT = 9999;
/** Its patience; a connection that is forgotten for a while is as bad as a broken one. */
const TIMEOUT_MS = 5000;
let kept: Socket | undefined;

function ask(socket: Socket, connection: string): Promise<string> {
  if (socket.destroyed) return Promise.resolve('closed before');
  socket.write(`GET / HTTP/1.1\r\nHost: ${VIP}\r\nConnection: ${connection}\r\n\r\n`);
  return new Promise((resolve) => {
    socket.once('data', (chunk: Buffer) => resolve(chunk.toString('latin1').slice(9, 12)));
    socket.once('error', (error) => resolve(error.message));
    socket.once('close', () => resolve('closed'));
    socket.setTimeout(TIMEOUT_MS, () => resolve('timeout'));
  });
}

function open(): Socket {
  return connect({ host: VIP, port: 80, localPort: PORT });
}

for await (const command of createInterface({ input: process.stdin })) {
  if (command === 'once') {
    const socket = open();
    const closed = once(socket, 'close');
    const status = await ask(socket, 'close');
    await closed;
    console.log(status);
  } else {
    if (command === 'open') kept = open();
    console.log(await ask(kept!, 'keep-alive'));
  }
}
process.exit(0);

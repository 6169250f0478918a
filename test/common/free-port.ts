import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below the ports that the kernel gives to clients: none of them takes the port before the test does. */
const FIRST = 10_000;
const END = 32_768;

/** A TCP port that was free a moment ago. */
export function freePort(host = '127.0.0.1'): Promise<number> {
  return find(async (port) => {
    const server = createServer().listen(port, host);
    await once(server, 'listening');
    server.close();
    await once(server, 'close');
  });
}

/** A UDP port that was free a moment ago. */
export function freeDatagramPort(host = '127.0.0.1'): Promise<number> {
  return find(async (port) => {
    const socket = createSocket('udp4').bind(port, host);
    await once(socket, 'listening');
    socket.close();
    await once(socket, 'close');
  });
}

async function find(take: (port: number) => Promise<void>): Promise<number> {
  for (;;) {
    const port = randomInt(FIRST, END);
    try {
      await take(port);
      return port;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    }
  }
}

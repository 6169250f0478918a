import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below the ports that the kernel gives to clients: none of them takes the port before the test does. */
const FIRST = 10_000;
const END = 32_768;

/** A TCP port on which nobody listens; no other process that asks here gets it before this one ends. */
export function freePort(host = '127.0.0.1'): Promise<number> {
  return find('tcp', async (port) => {
    const server = createServer().listen(port, host);
    await once(server, 'listening');
    server.close();
    await once(server, 'close');
  });
}

/** The same for UDP. */
export function freeDatagramPort(host = '127.0.0.1'): Promise<number> {
  return find('udp', async (port) => {
    const socket = createSocket('udp4').bind(port, host);
    await once(socket, 'listening');
    socket.close();
    await once(socket, 'close');
  });
}

async function find(protocol: 'tcp' | 'udp', take: (port: number) => Promise<void>): Promise<number> {
  for (;;) {
    const port = randomInt(FIRST, END);
    try {
      await reserve(`tandem-test-${protocol}-${port}`);
      await take(port);
      return port;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    }
  }
}

/** Takes a name that the kernel gives to one process only, until that ends: an abstract unix socket's (unix(7)). */
async function reserve(name: string): Promise<void> {
  const server = createServer().listen(`\0${name}`);
  await once(server, 'listening');
  server.unref();
}

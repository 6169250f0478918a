import { createSocket } from 'node:dgram';
import { once } from 'node:events';

/**
 * Sends a datagram from each port of each address, from a socket of its own, and says so in a line.
 *
 *     port-filler.ts TARGET PORT FIRST LAST ADDRESS...
 */
const [target = '', port = '', first = '', last = '', ...addresses] = process.argv.slice(2);
for (const address of addresses)
  for (let from = Number(first); from <= Number(last); from++) {
    const socket = createSocket('udp4').bind(from, address);
    await once(socket, 'listening');
    await new Promise<void>((resolve) => socket.send('x', Number(port), target, () => resolve()));
    socket.close();
  }
process.stdout.write('"sent"\n');

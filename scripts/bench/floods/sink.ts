/**
 * Takes the same floods as the daemons and does nothing with them, on the node: the control of the measurement. Datagrams
 * wait in its socket until the kernel drops them; a connection gets an empty answer as soon as something comes, and is over.
 *
 *     node scripts/bench/floods/sink.ts PORT ADDRESS GROUP PATH
 *
 * Prints a line once it listens.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';

const ANSWER = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n';
const MAX_CONNECTIONS = 32;

const [port = '', address = '', group = '', path = ''] = process.argv.slice(2);

function take(socket: Socket): void {
  socket.on('error', () => {});
  socket.once('data', () => socket.end(ANSWER));
}

const tcp = createServer(take);
const unix = createServer(take);
for (const server of [tcp, unix]) server.maxConnections = MAX_CONNECTIONS;
tcp.listen(Number(port));
unix.listen(path);
await Promise.all([once(tcp, 'listening'), once(unix, 'listening')]);
chmodSync(path, 0o660);
const datagrams = createSocket('udp4');
datagrams.bind(Number(port));
await once(datagrams, 'listening');
datagrams.addMembership(group, address);
process.stdout.write('listening\n');

import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

/**
 * A backend that says who it is: on TCP port 5000 it answers each chunk with its name, on 5001 it sends for ever
 * whatever the client does, on UDP port 5002 it answers each datagram.
 *
 *     flow-origin.ts NAME
 */
const name = process.argv[2]!;
// One letter, so that each piece of it says who sends, wherever it was cut.
const piece = Buffer.alloc(256 * 1024, name.at(-1));

const echo = createServer((socket) => {
  socket.on('error', () => {});
  socket.on('data', () => socket.write(name));
});
const download = createServer((socket) => {
  socket.on('error', () => {});
  const timer = setInterval(() => {
    if (!socket.writableNeedDrain) socket.write(piece);
  }, 20);
  socket.on('close', () => clearInterval(timer));
});
const datagrams = createSocket('udp4');
datagrams.on('message', (_data, { port, address }) => datagrams.send(name, port, address));

echo.listen(5000, () =>
  download.listen(5001, () => datagrams.bind(5002, () => process.stdout.write('listening\n'))),
);

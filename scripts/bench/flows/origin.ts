import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { PORTS } from './services.ts';

/**
 * A backend that says who it is, by one digit: it answers each byte with it, sends it for ever whatever the client does,
 * answers each datagram with it.
 *
 *     origin.ts DIGIT
 */
const digit = process.argv[2]!;
const DOWNLOAD_BYTES = 4096;
const DOWNLOAD_EVERY_MS = 50;
const MAX_ANSWER = 65536;
const answers = Buffer.alloc(MAX_ANSWER, digit);
const piece = Buffer.alloc(DOWNLOAD_BYTES, digit);

const echo = createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => {});
  socket.on('data', (data) => socket.write(answers.subarray(0, Math.min(data.length, MAX_ANSWER))));
});
const download = createServer((socket) => {
  socket.on('error', () => {});
  const timer = setInterval(() => {
    if (!socket.writableNeedDrain) socket.write(piece);
  }, DOWNLOAD_EVERY_MS);
  socket.on('close', () => clearInterval(timer));
});
const datagrams = createSocket('udp4');
datagrams.on('message', (_data, { port, address }) => datagrams.send(digit, port, address));

const BACKLOG = 4096;
echo.listen(PORTS.echo, '0.0.0.0', BACKLOG, () =>
  download.listen(PORTS.download, '0.0.0.0', BACKLOG, () =>
    datagrams.bind(PORTS.datagrams, () => process.stdout.write('listening\n')),
  ),
);

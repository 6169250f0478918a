import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Failures, finish, taskOf } from './generator.ts';
import { CLIENT_FRAME, FrameCounter, SERVER_FRAME } from './websocket-frame.ts';

/** WebSocket clients that each send a message when the echo of the one before has come. */
const task = taskOf(process.argv.slice(2));
const failures = new Failures();
const sockets: Socket[] = [];
let units = 0;

for (let i = 0; i < task.connections; i++) sockets.push(await open());
const beganMs = performance.now();
for (const socket of sockets) socket.write(CLIENT_FRAME);
setTimeout(() => {
  const seconds = (performance.now() - beganMs) / 1000;
  finish({ units, bytes: units * SERVER_FRAME.length, seconds, failures: failures.counts });
}, task.seconds * 1000);

async function open(): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: task.port, noDelay: true });
  await once(socket, 'connect');
  const cookie = task.cookie === '' ? '' : `Cookie: ${task.cookie}\r\n`;
  socket.write(
    `GET ${task.path} HTTP/1.1\r\nHost: bench\r\n${cookie}Upgrade: websocket\r\nConnection: Upgrade\r\n` +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  const head = await headOf(socket);
  // RFC 6455 section 1.3 has this answer to this key.
  if (!/^HTTP\/1\.1 101 /.test(head) || !head.includes('s3pPLMBiTxaQ9kYGzzhZRbK+xOo='))
    throw new Error(`no WebSocket: ${head.split('\r\n')[0]}`);
  const frames = new FrameCounter(SERVER_FRAME);
  socket.on('data', (bytes: Buffer) => {
    try {
      for (let echoed = frames.take(bytes); echoed > 0; echoed--) {
        units++;
        socket.write(CLIENT_FRAME);
      }
    } catch {
      failures.add('other message');
      socket.destroy();
    }
  });
  socket.on('end', () => failures.add('closed'));
  socket.on('error', (error: NodeJS.ErrnoException) => failures.add(error.code ?? 'error'));
  return socket;
}

/** Nothing follows it before the first message is sent. */
async function headOf(socket: Socket): Promise<string> {
  let head = '';
  while (!head.endsWith('\r\n\r\n')) {
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    head += bytes.toString('latin1');
  }
  return head;
}

import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { STATUS_PATH, statusText } from './origin-status.ts';
import {
  FILL,
  LARGE_BYTES,
  LARGE_PATH,
  ORIGIN_PORT,
  SMALL_BYTES,
  UPLOAD_PATH,
  WEBSOCKET_PATH,
} from './setup.ts';
import { CLIENT_FRAME, FrameCounter, SERVER_FRAME } from './websocket-frame.ts';

/** The origin for what nginx does not do as an origin: uploads that are read and checked, and a WebSocket echo. */
const SMALL = Buffer.alloc(SMALL_BYTES, FILL);
const LARGE = Buffer.alloc(LARGE_BYTES, FILL);
/** RFC 6455 section 1.3. */
const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

let accepted = 0;
const server = createServer(answer);
server.on('connection', () => accepted++);
server.keepAliveTimeout = 0;
server.on('upgrade', (request, socket) => {
  socket.on('error', () => socket.destroy());
  const key = request.headers['sec-websocket-key'];
  if (request.url !== WEBSOCKET_PATH || key === undefined) {
    socket.end('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n');
    return;
  }
  const accept = createHash('sha1')
    .update(key + WEBSOCKET_GUID)
    .digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  const frames = new FrameCounter(CLIENT_FRAME);
  socket.on('data', (bytes: Buffer) => {
    try {
      for (let due = frames.take(bytes); due > 0; due--) socket.write(SERVER_FRAME);
    } catch {
      // The client counts the message that it gets no echo of as a failure.
      socket.destroy();
    }
  });
  socket.on('end', () => socket.end());
});
server.listen(ORIGIN_PORT, '127.0.0.1', 4096);
process.on('SIGTERM', () => process.exit());

function answer(request: IncomingMessage, response: ServerResponse): void {
  if (request.url !== UPLOAD_PATH) {
    if (request.url === STATUS_PATH) response.end(statusText(accepted));
    else response.end(request.url === LARGE_PATH ? LARGE : SMALL);
    return;
  }
  let bytes = 0;
  let same = true;
  request.on('data', (part: Buffer) => {
    same &&= bytes + part.length <= LARGE_BYTES && part.compare(LARGE, 0, part.length) === 0;
    bytes += part.length;
  });
  request.on('end', () => {
    response.statusCode = same && bytes === LARGE_BYTES ? 200 : 400;
    response.end(SMALL);
  });
}

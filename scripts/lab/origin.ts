import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type Server } from 'node:net';
import { parseArgs } from 'node:util';

/**
 * A backend for the lab. HTTP: every path answers 200 with the backend's name, in the body and in `X-Backend`;
 * a path that ends in `/login` sets an application cookie; `/health` is a deep health answer. TCP: greets with its
 * name and a newline, then echoes. An upgrade to WebSocket is accepted, and then echoed as well.
 *
 * `POST /_control` with `{ "delayMs": 50, "status": 500, "health": "ok" | "fail" | "drain" }` changes what it does;
 * what is left out stays. Prints one JSON line when it listens. SIGTERM: finishes what it has, then exits.
 */
interface Behaviour {
  delayMs: number;
  /** Status of ordinary answers. */
  status: number;
  /** `drain`: 404, by which a backend asks to be drained where `drain_status` says so. */
  health: 'ok' | 'fail' | 'drain';
}

const { values } = parseArgs({
  options: {
    name: { type: 'string' },
    host: { type: 'string', default: '0.0.0.0' },
    port: { type: 'string', default: '9000' },
    'echo-port': { type: 'string', default: '9001' },
    body: { type: 'string' },
  },
});
const name = values.name ?? 'origin';
const behaviour: Behaviour = { delayMs: 0, status: 200, health: 'ok' };
/** As many bytes as `--body` asks for; else the name. */
const page = values.body === undefined ? `${name}\n` : 'x'.repeat(Number(values.body));
let logins = 0;

const http = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  request.resume();
  const path = request.url ?? '/';
  if (path === '/_control') control(request, response);
  else if (path === '/health') health(response);
  else if (behaviour.delayMs > 0) setTimeout(answer, behaviour.delayMs, path, response);
  else answer(path, response);
});

// What comes after the handshake is echoed as it is: no relay looks into WebSocket frames.
http.on('upgrade', (request, socket, head) => {
  const key = `${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
  const accept = createHash('sha1').update(key).digest('base64');
  const lines = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade'];
  socket.on('error', () => socket.destroy());
  socket.write(`${[...lines, `Sec-WebSocket-Accept: ${accept}`].join('\r\n')}\r\n\r\n`);
  socket.write(head);
  socket.pipe(socket);
});

const echo = createTcpServer((socket) => {
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  socket.write(`${name}\n`);
  socket.pipe(socket);
});

function answer(path: string, response: ServerResponse): void {
  response.statusCode = behaviour.status;
  response.setHeader('X-Backend', name);
  response.setHeader('Content-Type', 'text/plain');
  response.setHeader('Content-Length', Buffer.byteLength(page));
  if (path.endsWith('/login')) {
    logins++;
    response.setHeader('Set-Cookie', `JSESSIONID=${name}-${process.pid}-${logins}; Path=/; HttpOnly`);
  }
  response.end(page);
}

function health(response: ServerResponse): void {
  const ok = behaviour.health === 'ok';
  response.statusCode = ok ? 200 : behaviour.health === 'drain' ? 404 : 503;
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify({ status: ok ? 'ok' : 'fail', checks: { database: ok, cache: true } }));
}

function control(request: IncomingMessage, response: ServerResponse): void {
  let text = '';
  request.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  request.on('end', () => {
    Object.assign(behaviour, JSON.parse(text));
    response.end(JSON.stringify(behaviour));
  });
}

function listen(server: Server, port: string | undefined): Promise<void> {
  return new Promise((resolve) => server.listen(Number(port), values.host, resolve));
}

process.once('SIGTERM', () => {
  echo.close();
  http.close(() => process.exit(0));
  http.closeIdleConnections();
});

await Promise.all([listen(http, values.port), listen(echo, values['echo-port'])]);
console.log(JSON.stringify({ type: 'listening', name, pid: process.pid }));

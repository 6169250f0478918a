import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import { connect as connectPlain, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { connect as connectTls } from 'node:tls';
import { GiveUp, until } from '../../lab/wait.ts';
import { ResponseReader } from './response-reader.ts';
import {
  FILL,
  LARGE_BYTES,
  LARGE_PATH,
  type Listener,
  SMALL_BYTES,
  SMALL_PATH,
  UPLOAD_PATH,
  WEBSOCKET_PATH,
} from './setup.ts';
import type { Running } from './stage.ts';

const READY_WITHIN_MS = 30_000;

/**
 * Waits until the proxy passes a request on and its answer back, both unchanged.
 *
 * @throws Error when it ended, or does not within 30 s
 */
export async function ready(running: Running, listener: Listener, path: string): Promise<void> {
  const { name } = running.contender;
  await until(
    `${name} answers`,
    async () => {
      try {
        running.alive();
      } catch (error) {
        throw new GiveUp((error as Error).message);
      }
      await exchange(running, listener, path);
      return true;
    },
    READY_WITHIN_MS,
  );
  running.alive();
}

async function exchange({ place }: Running, listener: Listener, path: string): Promise<void> {
  // Its generator checks every message; here it is enough that the origin answers.
  const asked = path === WEBSOCKET_PATH ? SMALL_PATH : path;
  if (listener === 'h2' || listener === 'h2c' || listener === 'h2-h2') {
    judge(asked, ...(await askHttp2(place.ports[listener], listener === 'h2', asked)));
    return;
  }
  const { request } = listener === 'https' ? https : http;
  const client = request({
    ...{ host: '127.0.0.1', port: place.ports[listener], path: asked, agent: false, timeout: 5000 },
    // The certificate is one of the bench's own.
    ...{ method: asked === UPLOAD_PATH ? 'POST' : 'GET', rejectUnauthorized: false },
  });
  client.on('timeout', () => client.destroy(new Error('no answer within 5 s')));
  client.end(asked === UPLOAD_PATH ? Buffer.alloc(LARGE_BYTES, FILL) : undefined);
  const [answer] = (await once(client, 'response')) as [http.IncomingMessage];
  judge(asked, answer.statusCode, await buffer(answer));
}

async function askHttp2(port: number, tls: boolean, path: string): Promise<[status: number, body: Buffer]> {
  const session = http2.connect(`${tls ? 'https' : 'http'}://127.0.0.1:${port}`, {
    // The certificate is one of the bench's own.
    rejectUnauthorized: false,
  });
  session.on('error', () => {});
  try {
    const stream = session.request({ ':path': path });
    stream.setTimeout(5000, () => stream.close(http2.constants.NGHTTP2_CANCEL));
    const [fields] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
    return [Number(fields[':status']), await buffer(stream)];
  } finally {
    session.destroy();
  }
}

function judge(asked: string, status: number | undefined, body: Buffer): void {
  if (status !== 200) throw new Error(`status ${status}`);
  const length = asked === LARGE_PATH ? LARGE_BYTES : SMALL_BYTES;
  if (!body.equals(Buffer.alloc(length, FILL)))
    throw new Error(`the body is not the ${length} bytes that were sent`);
}

/** Opens a connection that asks once, gets the whole answer, and stays. */
export async function idleConnection({ place }: Running, listener: 'http' | 'https'): Promise<Socket> {
  const options = { host: '127.0.0.1', port: place.ports[listener] };
  // The certificate is one of the bench's own.
  const secure = listener === 'https';
  const socket = secure ? connectTls({ ...options, rejectUnauthorized: false }) : connectPlain(options);
  await once(socket, secure ? 'secureConnect' : 'connect');
  socket.write(`GET ${SMALL_PATH} HTTP/1.1\r\nHost: bench\r\n\r\n`);
  const reader = new ResponseReader();
  let status: number | undefined;
  while (status === undefined) {
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    status = reader.take(bytes, bytes.length);
  }
  if (status !== 200) throw new Error(`status ${status}`);
  return socket;
}

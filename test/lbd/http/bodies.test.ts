import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import t, { type Test } from 'tap';
import { Plane, RawClient } from '../harness.ts';
import { random, yaml } from './exchange.ts';

const MIB = 1 << 20;

function bytes(size: number): Buffer {
  const next = random(size);
  const block = Buffer.from(Uint8Array.from({ length: 65_537 }, () => next() * 256));
  return Buffer.concat(Array.from({ length: Math.ceil(size / block.length) }, () => block)).subarray(0, size);
}

function digest(data: Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}

/** Echoes each request body in the framing that the path asks for; Node's own server is the judge of our framing. */
async function echo(t: Test): Promise<number> {
  const server = http.createServer((request, response) => {
    if (request.url === '/close') response.useChunkedEncodingByDefault = false;
    const length = request.headers['content-length'];
    if (request.url === '/length' && length !== undefined) response.setHeader('Content-Length', length);
    if (request.url === '/close') response.setHeader('Connection', 'close');
    request.pipe(response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as net.AddressInfo).port;
}

t.test('bodies both ways are intact, whatever their framing', async (t) => {
  const plane = await Plane.start(t, yaml([await echo(t)]));
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  for (const size of [0, 1, 8191, 8192, 8193, 65_535, 65_536, 65_537, MIB, 16 * MIB])
    for (const path of size > MIB ? ['/length'] : ['/length', '/chunked', '/close'])
      for (const chunked of [false, true]) {
        const sent = bytes(size);
        const request = http.request({
          port: plane.port,
          agent,
          method: 'POST',
          path,
          headers: chunked ? { 'Transfer-Encoding': 'chunked' } : { 'Content-Length': size },
        });
        request.end(sent);
        const [response] = (await once(request, 'response')) as [http.IncomingMessage];
        const parts: Buffer[] = [];
        for await (const part of response) parts.push(part);
        t.equal(digest(Buffer.concat(parts)), digest(sent), `${size} bytes, ${path}, chunked: ${chunked}`);
      }
  t.equal(plane.active, 0);
  const body = 3 * 2 * (2 * 8192 + 2 * 65_536 + 8192 + 65_536 + 1 + MIB) + 2 * 16 * MIB;
  t.ok(plane.control.frontendCounter(0, 'bytes_received') > body - 20);
  t.ok(plane.control.frontendCounter(0, 'bytes_sent') > body - 20);
  const slot = plane.slot('web/s1');
  t.ok(plane.control.backendCounter(slot, 'bytes_sent') >= body - 20);
  t.ok(plane.control.backendCounter(slot, 'bytes_received') >= body - 20);
});

/** An origin that sends as much as it is allowed to. */
async function fountain(t: Test, response: (socket: net.Socket) => void): Promise<number> {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    t.teardown(() => socket.destroy());
    socket.on('error', () => {});
    socket.once('data', () => response(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as net.AddressInfo).port;
}

t.test('a slow reader gets all of a large response, however the connection ends', async (t) => {
  const body = bytes(8 * MIB);
  const heads: readonly [string, string, boolean][] = [
    ['length', `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`, false],
    [
      'length and close',
      `HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`,
      true,
    ],
    ['until close', 'HTTP/1.1 200 OK\r\n\r\n', true],
  ];
  for (const [name, head, ends] of heads)
    for (const version of ['1.0', '1.1'])
      for (const halfClose of [false, true]) {
        let written = 0;
        const port = await fountain(t, (socket) => {
          socket.write(head);
          socket.write(body);
          if (ends) socket.end();
          written = socket.writableLength;
        });
        const plane = await Plane.start(t, yaml([port]));
        const client = net.connect({ port: plane.port, host: '127.0.0.1', allowHalfOpen: true });
        t.teardown(() => client.destroy());
        client.write(`GET / HTTP/${version}\r\nHost: a\r\nConnection: close\r\n\r\n`);
        if (halfClose) client.end();
        await once(client, 'readable');
        // What waits for the reader waits in the kernel and in the origin, not in the proxy.
        await new Promise((resolve) => setTimeout(resolve, 30));
        const hash = createHash('sha256');
        const got: Buffer[] = [];
        for await (const part of client) got.push(part);
        const all = Buffer.concat(got);
        const start = all.indexOf('\r\n\r\n') + 4;
        const chunked = all.subarray(0, start).includes('chunked');
        hash.update(chunked ? unchunk(all.subarray(start)) : all.subarray(start));
        t.equal(
          hash.digest('hex'),
          digest(body),
          `${name}, HTTP/${version}${halfClose ? ', half-closed' : ''}`,
        );
        t.ok(written > 0);
        client.destroy();
      }
});

function unchunk(data: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; ; ) {
    const end = data.indexOf('\r\n', at);
    const size = Number.parseInt(data.toString('latin1', at, end), 16);
    if (size === 0) return Buffer.concat(parts);
    parts.push(data.subarray(end + 2, end + 2 + size));
    at = end + 4 + size;
  }
}

/** Bytes that the peer could hand over before everything between it and a reader that reads nothing was full. */
async function stuffed(socket: net.Socket, piece: Buffer, upTo: number): Promise<number> {
  let sent = 0;
  while (sent < upTo) {
    sent += piece.length;
    if (socket.write(piece)) continue;
    const drained = await Promise.race([
      once(socket, 'drain').then(() => true),
      new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 300)),
    ]);
    if (!drained) break;
  }
  return sent;
}

t.test('backpressure: memory is bounded both ways', async (t) => {
  const limit = 256 * MIB;
  const piece = Buffer.alloc(MIB);
  await t.test('a client that does not read', async (t) => {
    for (const head of [
      'HTTP/1.1 200 OK\r\n\r\n',
      `HTTP/1.1 200 OK\r\nContent-Length: ${limit * 2}\r\n\r\n`,
    ]) {
      let sent: (bytes: number) => void = () => {};
      const done = new Promise<number>((resolve) => {
        sent = resolve;
      });
      const port = await fountain(t, (socket) => {
        socket.write(head);
        void stuffed(socket, piece, limit).then(sent);
      });
      const plane = await Plane.start(t, yaml([port]));
      const client = await RawClient.open(t, plane.port);
      client.socket.pause();
      client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      const bytes = await done;
      t.ok(bytes < limit / 4, `stopped after ${bytes} bytes`);
      client.socket.destroy();
    }
  });
  await t.test('a backend that does not read', async (t) => {
    for (const framing of [`Content-Length: ${limit * 2}`, 'Transfer-Encoding: chunked']) {
      const port = await fountain(t, (socket) => socket.pause());
      const plane = await Plane.start(t, yaml([port]));
      const client = await RawClient.open(t, plane.port);
      client.write(`POST / HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n`);
      const chunk = framing.includes('chunked')
        ? Buffer.concat([Buffer.from('100000\r\n'), piece, Buffer.from('\r\n')])
        : piece;
      const bytes = await stuffed(client.socket, chunk, limit);
      t.ok(bytes < limit / 4, `stopped after ${bytes} bytes`);
      client.socket.resetAndDestroy();
    }
  });
});

t.test('a time-out while one side holds the other up is told to the right one', async (t) => {
  await t.test('a backend that does not read the body: 504, not 408', async (t) => {
    const port = await fountain(t, (socket) => socket.pause());
    const plane = await Plane.start(
      t,
      yaml([port], { timeouts: 'body: 100ms', poolTimeouts: 'response: 400ms' }),
    );
    const client = await RawClient.open(t, plane.port);
    client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n');
    client.socket.write(Buffer.alloc(32 * MIB));
    t.match(await client.until((text) => text.includes('\r\n\r\n')), /^HTTP\/1\.1 504 /);
    client.socket.destroy();
  });
  await t.test('a client that does not read: reset, and no error of the backend', async (t) => {
    const port = await fountain(t, (socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${64 * MIB}\r\n\r\n`);
      socket.write(Buffer.alloc(64 * MIB));
    });
    const plane = await Plane.start(
      t,
      yaml([port], { timeouts: 'idle: 400ms', poolTimeouts: 'response: 100ms' }),
    );
    const client = await RawClient.open(t, plane.port);
    client.socket.pause();
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    while (plane.active === 0) await new Promise((resolve) => setImmediate(resolve));
    while (plane.active > 0) await new Promise((resolve) => setImmediate(resolve));
    t.equal(plane.control.backendCounter(plane.slot('web/s1'), 'errors'), 0);
  });
});

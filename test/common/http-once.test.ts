import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import {
  closeHttpOnce,
  createHttpOnce,
  type HttpOnceOptions,
  type HttpRequest,
  textAnswer,
} from '../../common/http-once.ts';

async function serve(t: Test, options: Partial<HttpOnceOptions> = {}) {
  const asked: HttpRequest[] = [];
  const server = createHttpOnce({
    maxConnections: 8,
    maxBodyBytes: 16,
    handle: async (request) => {
      asked.push(request);
      return textAnswer(200, request.body.toString('latin1'));
    },
    ...options,
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => closeHttpOnce(server));
  const dial = (): Socket => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    socket.on('error', () => {});
    t.teardown(() => socket.destroy());
    return socket;
  };
  /** Everything that comes back until the end. */
  const say = (bytes: string): Promise<string> => {
    const socket = dial();
    socket.write(bytes);
    return text(socket).catch(() => 'reset');
  };
  return { server, asked, dial, say };
}

t.test('what follows a request is not even looked at', async (t) => {
  const { asked, say } = await serve(t);
  const answer = await say('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(1985));
  t.equal(asked.length, 1);
  t.equal(answer.match(/HTTP\/1\.1 /g)?.length, 1);
  t.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
  t.match(answer, /\r\nConnection: close\r\n/);
});

t.test('requests as they come', async (t) => {
  const { asked, say } = await serve(t);
  const cases: readonly [sent: string, status: number, asked?: Partial<Record<keyof HttpRequest, string>>][] =
    [
      ['GET /a?b=c HTTP/1.0\r\n\r\n', 200, { method: 'GET', target: '/a?b=c', body: '' }],
      ['POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabcdef', 200, { method: 'POST', body: 'abc' }],
      ['POST / HTTP/1.1\r\nContent-Length:  17 \r\n\r\n', 413],
      ['POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na', 411],
      ['POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\na', 411],
      ['POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 411],
      ['get / HTTP/1.1\r\n\r\n', 400],
      ['GET / HTTP/2.0\r\n\r\n', 400],
      ['GET / HTTP/1.1\n\n\r\n\r\n', 400],
      [`GET / HTTP/1.1\r\nA: ${'x'.repeat(9000)}\r\n\r\n`, 431],
      [`GET /${'x'.repeat(20_000)}`, 431],
    ];
  for (const [sent, status, request] of cases) {
    const before = asked.length;
    const answer = await say(sent);
    t.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `), sent.slice(0, 60));
    const latest = asked.slice(before).map((it) => ({ ...it, body: it.body.toString() }));
    t.match(latest, request === undefined ? [] : [request]);
    t.equal(latest.length, request === undefined ? 0 : 1);
  }
});

t.test('a request in single bytes, by a client that ends its side', async (t) => {
  const { dial } = await serve(t);
  const socket = dial().setNoDelay(true);
  for (const byte of 'POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi') socket.write(byte);
  socket.end();
  t.match(await text(socket), /\r\n\r\nhi\n$/);
});

t.test('half a request ends with its connection', async (t) => {
  const { asked, dial } = await serve(t);
  const socket = dial();
  socket.end('GET / HTTP/1.1\r\n');
  t.equal(await text(socket), '');
  t.same(asked, []);
});

t.test('HEAD gets the fields alone, and a failure its text', async (t) => {
  const { say } = await serve(t, {
    handle: async ({ method }) => {
      if (method === 'GET') throw new Error('two\nlines');
      return textAnswer(200, 'abc');
    },
  });
  t.match(await say('HEAD / HTTP/1.1\r\n\r\n'), /\r\nContent-Length: 4\r\nConnection: close\r\n\r\n$/);
  t.match(await say('GET / HTTP/1.1\r\n\r\n'), /^HTTP\/1\.1 500 [\s\S]*\r\n\r\ntwo; lines\n$/);
});

t.test('more in a second than anybody needs are turned away unasked', async (t) => {
  const { asked, say } = await serve(t, { perSecond: 2 });
  const answers: string[] = [];
  for (let i = 0; i < 3; i++) answers.push(await say('GET / HTTP/1.1\r\n\r\n'));
  t.match(answers.at(-1), /^HTTP\/1\.1 429 /);
  t.equal(asked.length, 2);
});

t.test('more connections than the limit are closed, and the next one finds room', async (t) => {
  const { dial, say } = await serve(t, { maxConnections: 2 });
  const idle = [dial(), dial()];
  await Promise.all(idle.map((socket) => once(socket, 'connect')));
  t.notMatch(await say('GET / HTTP/1.1\r\n\r\n'), /200/);
  for (const socket of idle) socket.destroy();
  let answer = '';
  while (!/^HTTP\/1\.1 200 /.test(answer)) answer = await say('GET / HTTP/1.1\r\n\r\n');
  t.pass();
});

t.test('a large answer leaves in parts, whole and in order', async (t) => {
  const pieces = Array.from({ length: 64 }, (_, i) =>
    Buffer.alloc(60_000, String.fromCharCode(65 + (i % 26))),
  );
  const { say } = await serve(t, { handle: async () => ({ status: 200, body: pieces }) });
  const answer = await say('GET / HTTP/1.1\r\n\r\n');
  const [head, body] = answer.split('\r\n\r\n');
  t.match(head, /Content-Length: 3840000/);
  t.ok(body === pieces.join(''), 'the body is all pieces');
  const none = await say('HEAD / HTTP/1.1\r\n\r\n');
  t.match(none, /Content-Length: 3840000\r\n.*\r\n\r\n$/s);
});

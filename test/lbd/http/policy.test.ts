import t, { type Test } from 'tap';
import { parseConfig } from '../../../common/config.ts';
import { Backend } from '../../../lbd/dispatch/backend.ts';
import { Pool } from '../../../lbd/dispatch/pool.ts';
import { Frontend } from '../../../lbd/entry/frontend.ts';
import { FieldEdits } from '../../../lbd/http/edits.ts';
import { Field, FieldName } from '../../../lbd/http/field-names.ts';
import { newHttp1Stream } from '../../../lbd/http/h1/backend-stream.ts';
import { HttpConnection } from '../../../lbd/http/h1/connection.ts';
import { RequestHead } from '../../../lbd/http/h1/request-head.ts';
import type { BodySink, HttpAnswer } from '../../../lbd/http/model.ts';
import type { BodySource, Policy } from '../../../lbd/http/policy/policy.ts';
import { HttpService } from '../../../lbd/http/service.ts';
import { poolTarget, type Target } from '../../../lbd/http/target.ts';
import { Deadlines } from '../../../lbd/io/deadlines.ts';
import { Listener } from '../../../lbd/io/listener.ts';
import { explain } from '../../../lbd/plane/explain.ts';
import { createSharedBuffers, GATE_OPEN, SharedState } from '../../../lbd/shared/shared.ts';
import { freePort } from '../../common/free-port.ts';
import { RawClient, RawOrigin } from '../harness.ts';
import { sessionTable, workerContext } from '../worker-context.ts';

/** Has the policies of a test, where a config would name some. */
class TestService extends HttpService {
  readonly #policies: readonly Policy[];
  readonly #pool: Pool;

  constructor(frontend: Frontend, pool: Pool, policies: readonly Policy[]) {
    super(frontend, newHttp1Stream, undefined);
    this.#pool = pool;
    this.#policies = policies;
  }

  override targetFor(): Target {
    return poolTarget(-1, this.#pool, this.#policies);
  }
}

/** A frontend with policies, on a real listener, before an origin that answers each head with `answer`. */
async function start(t: Test, policies: readonly Policy[], answer: string, thenEnd = false) {
  const origin = await RawOrigin.start(t, (socket, data) => {
    if (!data.endsWith('\r\n\r\n')) return;
    socket.write(answer, 'latin1');
    if (thenEnd) socket.end();
  });
  const port = await freePort();
  const config = parseConfig(
    `
frontends: { web: { bind: ["127.0.0.1:${port}"], pool: web } }
pools: { web: { backends: { s1: { address: "127.0.0.1:${origin.port}" } } } }
`,
    '/test.yaml',
    { cpus: 1 },
  );
  const buffers = createSharedBuffers(1);
  const deadlines = new Deadlines();
  const context = workerContext({
    deadlines,
    shared: new SharedState(buffers, 0),
    nextRequestId: () => 'id',
  });
  const [web] = config.pools;
  new SharedState(buffers, -1).setGate(0, GATE_OPEN, 1);
  const backend = new Backend('web', web!.backends[0]!, 0, context.shared, undefined);
  const pool = new Pool(web!, [backend], context.shared, sessionTable(), 0);
  const frontend = new Frontend(0, context, config.frontends[0]!, [], pool);
  const service = new TestService(frontend, pool, policies);
  deadlines.start(() => {});
  const connections: HttpConnection[] = [];
  const listener = await Listener.open(
    config.frontends[0]!.bind[0]!,
    (socket) => {
      frontend.enter();
      const connection = new HttpConnection(socket, service);
      connections.push(connection);
      socket.resume();
      return connection;
    },
    (error) => t.error(error),
  );
  t.teardown(() => {
    listener.close();
    deadlines.stop();
    for (const connection of connections) connection.cut();
    backend.retire();
  });
  return {
    origin,
    service,
    async ask(
      request: string,
      until: (text: string) => boolean,
      more: (client: RawClient, origin: RawOrigin) => Promise<void> = async () => {},
    ): Promise<string> {
      const client = await RawClient.open(t, port);
      client.write(request);
      await more(client, origin);
      const text = await client.until(until);
      client.socket.destroy();
      return text;
    },
  };
}

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const name = (text: string) => new FieldName(text);

t.test(
  'a policy edits what a backend gets: known fields and others, whatever Connection names',
  async (t) => {
    const edits: Policy = {
      onSend({ edits }) {
        edits.remove(name('X-Secret'));
        edits.remove(name('Cookie'));
        edits.set(name('User-Agent'), 'lbd');
        edits.add(name('X-Many'), 'two');
        edits.add(name('X-Gone'), 'never');
        edits.remove(name('x-gone'));
      },
    };
    const { origin, ask } = await start(t, [edits], OK);
    await ask(
      'GET /a HTTP/1.1\r\nHost: a\r\nx-secret: 1\r\nUser-Agent: curl\r\nCookie: a=b\r\nX-Many: one\r\nConnection: X-Hop\r\nX-Hop: 1\r\nLast: 1\r\n\r\n',
      (text) => text.endsWith('ok'),
    );
    t.equal(
      origin.received[0]!.replace(/X-Forwarded-.*\r\n/g, ''),
      'GET /a HTTP/1.1\r\nHost: a\r\nX-Many: one\r\nLast: 1\r\nUser-Agent: lbd\r\nX-Many: two\r\n\r\n',
    );
  },
);

t.test('routes and hashes see a request as its policies leave it', async (t) => {
  const seen: (string | undefined)[] = [];
  const first: Policy = {
    onSend({ edits }) {
      edits.set(name('X-A'), 'ours');
      edits.add(name('X-B'), 'two');
      edits.remove(name('X-C'));
    },
  };
  const second: Policy = {
    onSend(request) {
      for (const field of ['x-a', 'x-b', 'x-c', 'x-d']) seen.push(request.header(field));
      seen.push(request.sent('x-a'));
    },
  };
  const { ask } = await start(t, [first, second], OK);
  await ask('GET / HTTP/1.1\r\nHost: a\r\nX-A: theirs\r\nX-B: one\r\nX-C: 1\r\n\r\n', (text) =>
    text.endsWith('ok'),
  );
  t.same(seen, ['ours', 'one, two', undefined, undefined, 'theirs']);
});

t.test('a policy answers in the place of a backend, and the connection goes on', async (t) => {
  const refusing: Policy = {
    onRequest: (request) =>
      request.path === '/no'
        ? { status: 403, fields: [new Field(name('Content-Length'), '3')], body: 'no\n', cause: undefined }
        : undefined,
  };
  const { origin, ask } = await start(t, [refusing], OK);
  const text = await ask(`GET /no HTTP/1.1\r\nHost: a\r\n\r\n${GET}`, (text) => text.endsWith('ok'));
  t.match(text, /^HTTP\/1\.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\nHTTP\/1\.1 200 OK\r\n/);
  t.equal(origin.received.join('').match(/GET/g)?.length, 1, 'the backend saw the other request alone');
  const body = await ask('POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe', (text) =>
    text.endsWith('no\n'),
  );
  t.match(body, '\r\nConnection: close\r\n', 'a body that nobody reads ends it');
});

t.test('policies edit an answer of lbd’s own, too, and wrap its body', async (t) => {
  const refusing: Policy = {
    onRequest: () => ({
      status: 403,
      fields: [new Field(name('Content-Length'), '3'), new Field(name('X-A'), 'ours')],
      body: 'no.',
      cause: undefined,
    }),
    onAnswer({ edits, status }, _client, attempts) {
      if (attempts !== undefined) return;
      edits.set(name('X-A'), 'theirs');
      edits.add(name('X-Status'), `${status}`);
    },
  };
  const { ask } = await start(t, [refusing, doubling], OK);
  const text = await ask(`${GET}${GET}`, (text) => text.match(/no\.no\.!/g)?.length === 2);
  t.match(
    text,
    /^HTTP\/1\.1 403 Forbidden\r\nX-A: theirs\r\nX-Status: 403\r\nTransfer-Encoding: chunked\r\n/,
  );
  t.notMatch(text, /X-A: ours|Content-Length/);
  const head = await ask(`HEAD / HTTP/1.1\r\nHost: a\r\n\r\n${GET}`, (text) => text.endsWith('0\r\n\r\n'));
  t.match(
    head,
    /^HTTP\/1\.1 403 Forbidden\r\nContent-Length: 3\r\n/,
    'HEAD tells of the body that GET would get',
  );
});

t.test('an answer of lbd’s own that a policy works on comes later, and the connection goes on', async (t) => {
  const dropped: string[] = [];
  const refusing: Policy = {
    onRequest: () => ({ status: 403, fields: [], body: 'no', cause: undefined }),
  };
  const { origin, ask } = await start(t, [refusing, late(dropped)], OK);
  const text = await ask(`${GET}${GET}`, (text) => text.match(/\r\n0\r\n\r\n/g)?.length === 2);
  t.equal(text.match(/403 Forbidden/g)?.length, 2);
  t.same(origin.received, []);
});

t.test('a policy has a backend asked for something else', async (t) => {
  const seen: (string | undefined)[] = [];
  const rewriting: Policy = {
    onSend(request) {
      request.edits.rewrite(`/v1${request.path}?${request.query}&a=1`);
      seen.push(request.path, request.query, request.target);
    },
  };
  const { origin, ask } = await start(t, [rewriting], OK);
  await ask('GET /x?b HTTP/1.1\r\nX-A: 1\r\nHost: a\r\n\r\n', (text) => text.endsWith('ok'));
  t.match(origin.received.join(''), /^GET \/v1\/x\?b&a=1 HTTP\/1\.1\r\nHost: a\r\nX-A: 1\r\n/);
  t.equal(origin.received.join('').match(/^Host/gim)?.length, 1);
  t.same(seen, ['/v1/x', 'b&a=1', '/x?b'], 'the log has what came');
  const { edits } = new RequestHead(1);
  for (const target of ['', 'x', '/a b', '/a#b', '/ä', '/a\r\nX: y', '**'])
    t.throws(() => edits.rewrite(target), /no request target/, target);
});

t.test('a policy edits what a client gets', async (t) => {
  const edits: Policy = {
    onAnswer({ edits }) {
      edits.remove(name('Server'));
      edits.remove(name('Date'));
      edits.set(name('X-A'), 'ours');
    },
  };
  const { ask } = await start(
    t,
    [edits],
    'HTTP/1.1 200 OK\r\nServer: x\r\nDate: yesterday\r\nX-A : theirs\r\nContent-Length: 2\r\n\r\nok',
  );
  const text = await ask(GET, (text) => text.endsWith('ok'));
  t.equal(text, 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: ours\r\n\r\nok');
});

/** Says each piece twice, and something at the end. */
const doubling: Policy = {
  wrapBody: (_answer: HttpAnswer, out: BodySink) => ({
    body(buffer, start, length, ended, trailers) {
      const piece = buffer.latin1Slice(start, start + length);
      const bytes = Buffer.from(`${piece}${piece}${ended ? '!' : ''}`, 'latin1');
      out.body(bytes, 0, bytes.length, ended, trailers);
    },
    drop() {},
  }),
};

for (const [framing, answer, thenEnd, expected] of [
  ['a length', OK, false, '5\r\nokok!\r\n0'],
  [
    'chunks and trailers',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nT: 1\r\n\r\n',
    false,
    '5\r\nokok!\r\n0\r\nT: 1',
  ],
  ['the end of the connection', 'HTTP/1.1 200 OK\r\n\r\nok', true, '4\r\nokok\r\n1\r\n!\r\n0'],
] as const)
  t.test(`a policy wraps a body that is delimited by ${framing}`, async (t) => {
    const { ask } = await start(t, [doubling], answer, thenEnd);
    const text = await ask(GET, (text) => text.includes('\r\n0\r\n') && text.endsWith('\r\n\r\n'));
    const [head, body] = text.split('\r\n\r\n', 2) as [string, string];
    t.match(head, '\r\nTransfer-Encoding: chunked');
    t.notMatch(head, 'Content-Length');
    t.equal(body, expected);
  });

t.test(
  'a wrapped body for HTTP/1.0 ends with the connection, and one that is not there stays so',
  async (t) => {
    const { ask } = await start(t, [doubling], OK);
    const old = await ask('GET / HTTP/1.0\r\n\r\n', (text) => text.endsWith('!'));
    t.match(old, /\r\nConnection: close\r\n\r\nokok!$/);
    const empty = await start(t, [doubling], 'HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n');
    const text = await empty.ask(GET, (text) => text.endsWith('\r\n\r\n'));
    t.match(text, '\r\nContent-Length: 2\r\n');
  },
);

/** Keeps a body until it is here in full, and gives it on at another time. */
function late(dropped: string[] = []): Policy {
  return {
    wrapBody(_answer, out, source) {
      let text = '';
      return {
        body(buffer, start, length, ended, trailers) {
          text += buffer.latin1Slice(start, start + length);
          source.pause();
          setTimeout(() => {
            source.resume();
            const bytes = Buffer.from(ended ? text.toUpperCase() : '', 'latin1');
            out.body(bytes, 0, bytes.length, ended, trailers);
          }, 5);
        },
        drop() {
          dropped.push(text);
        },
      };
    },
  };
}

t.test('an answer is over when what wraps its body says so, and not before', async (t) => {
  const dropped: string[] = [];
  const { ask, origin } = await start(t, [late(dropped)], OK);
  const ends = (text: string) => text.split('\r\n0\r\n\r\n').length === 3;
  const text = await ask(GET + GET.replace('/', '/second'), ends);
  const bodies = text.split('\r\n\r\n').filter((part) => part.startsWith('2\r\n'));
  t.same(bodies, ['2\r\nOK\r\n0', '2\r\nOK\r\n0'], 'one behind the other');
  t.equal(origin.received.length, 1, 'on one backend connection, which was free at once');
  t.same(dropped, ['ok', 'ok'], 'each is told that it is over');
  const closing = await ask(GET.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'), (text) =>
    text.endsWith('0\r\n\r\n'),
  );
  t.match(closing, /Connection: close\r\n\r\n2\r\nOK\r\n0\r\n\r\n$/);
});

t.test(
  'what wraps a body is told when nobody waits for it any more, and what it says then is nothing',
  async (t) => {
    const dropped: string[] = [];
    const half = 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf';
    const { ask } = await start(t, [late(dropped)], half, true);
    const text = await ask(GET, () => false);
    t.notMatch(text, '\r\n0\r\n', 'a reset: the answer was cut off');
    t.same(dropped, ['half']);
  },
);

t.test('what a client still sends of a request whose answer is being worked on is thrown away', async (t) => {
  const dropped: string[] = [];
  const { ask } = await start(t, [late(dropped)], OK);
  const head = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n';
  const text = await ask(
    head,
    () => false,
    async (client, origin) => {
      await origin.until(() => origin.received.join('').endsWith('\r\n\r\n'));
      for (let i = 0; i < 50 && client.closed === 'no' && !client.ended; i++) {
        client.write('x');
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
  );
  t.match(text, /Connection: close\r\n\r\n2\r\nOK\r\n0\r\n\r\n$/);
});

t.test('a body that a policy holds up stays held up when its client reads on', async (t) => {
  let source: BodySource | undefined;
  let came = 0;
  const holding: Policy = {
    wrapBody(_answer, out, from) {
      source = from;
      return {
        body(buffer, start, length, ended, trailers) {
          came += length;
          out.body(buffer, start, length, ended, trailers);
        },
        drop() {},
      };
    },
  };
  const size = 8_000_000;
  const answer = `HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n${'x'.repeat(size)}`;
  const { ask } = await start(t, [holding], answer);
  let atPause = 0;
  const text = await ask(
    GET,
    (text) => text.endsWith('\r\n0\r\n\r\n'),
    async (client) => {
      client.socket.pause();
      // Until the client is full, and with it the way from the backend.
      for (let before = -1; before !== came || came === 0; ) {
        before = came;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      source!.pause();
      atPause = came;
      client.socket.resume();
      await client.until((text) => text.length >= atPause);
      t.equal(came, atPause, 'nothing more comes');
      source!.resume();
    },
  );
  t.ok(atPause > 0 && atPause < size);
  t.equal(came, size);
  t.ok(text.length > size);
});

t.test('a policy gives a request another host: one Host, whatever form the target has', async (t) => {
  const seen: (string | undefined)[] = [];
  const host: Policy = {
    onSend({ edits }) {
      edits.set(name('Host'), 'other.example:81');
    },
  };
  const look: Policy = {
    onSend(request) {
      seen.push(request.host, request.authority, request.header('host'));
    },
  };
  const { origin, ask } = await start(t, [host, look], OK);
  await ask(GET, (text) => text.endsWith('ok'));
  await ask('GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n', (text) => text.endsWith('ok'));
  await ask('GET / HTTP/1.0\r\n\r\n', (text) => text.endsWith('ok'));
  const hosts = origin.received.join('').match(/^Host: .*$/gim);
  t.same(
    hosts,
    Array.from({ length: 3 }, () => 'Host: other.example:81'),
  );
  t.same(seen.slice(0, 3), ['other.example', 'other.example:81', 'other.example:81']);
});

t.test('no policy can frame a message', async (t) => {
  const edits = new FieldEdits();
  for (const field of ['Content-Length', 'Transfer-Encoding', 'Connection', 'Upgrade', 'TE', 'Trailer'])
    t.throws(() => edits.set(name(field), '5'), { message: `a policy cannot say ${field.toLowerCase()}` });
});

t.test('a policy reads the fields of an answer', async (t) => {
  const seen: (string | undefined)[] = [];
  const look: Policy = {
    onAnswer(answer) {
      answer.edits.add(name('Vary'), 'Accept-Encoding');
      seen.push(
        answer.header('content-type'),
        answer.header('vary'),
        answer.sent('vary'),
        answer.header('etag'),
      );
    },
  };
  const answer =
    'HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nVary: A\r\nvary: B\r\nContent-Length: 2\r\n\r\nok';
  const { ask } = await start(t, [look], answer);
  await ask(GET, (text) => text.endsWith('ok'));
  t.same(seen, ['text/css', 'A, B, Accept-Encoding', 'A, B', undefined]);
});

t.test('explain asks the policies of a target, and nothing is counted', async (t) => {
  const counted: string[] = [];
  const limit: Policy = {
    onRequest: (request) => {
      counted.push(request.path);
      return undefined;
    },
    explain: () => ({ status: 429, fields: [], body: '429 Too Many Requests: enough\n', cause: undefined }),
  };
  const { service } = await start(t, [limit], OK);
  const query = {
    method: 'GET',
    target: '/a',
    headers: [['Host', 'a']] as [string, string][],
    source: '192.0.2.1',
  };
  t.match(explain(service.frontend, service, query), {
    pool: 'web',
    answer: { status: 429, cause: 'enough' },
  });
  t.same(counted, []);
});

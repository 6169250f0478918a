import { randomBytes } from 'node:crypto';
import t from 'tap';
import { Plane } from '../../harness.ts';
import { echo, Http2Origin } from './h2-origin.ts';
import { before, h2, http1 } from './ways.ts';

const BIG = randomBytes(3_000_000);

for (const makeWay of [http1, h2]) {
  const name = makeWay === http1 ? 'HTTP/1.1' : 'HTTP/2';

  t.test(`a client of ${name} and a backend of HTTP/2`, async (t) => {
    const origin = await Http2Origin.start(t);
    const plane = await Plane.start(t, before([origin.port]));
    const way = makeWay(t, plane.port);

    t.test('GET, as HTTP/2 has it', async (t) => {
      let came: Record<string, unknown> = {};
      origin.answer = (stream, headers) => {
        came = headers;
        stream.respond({ ':status': 200, 'content-length': 2, 'set-cookie': ['a=1', 'b=2'] });
        stream.end('ok');
      };
      const told = await way.ask({ path: '/a?b=c', headers: { 'X-One': 'two' } });
      t.match(told, { status: 200, headers: { 'content-length': '2', 'set-cookie': ['a=1', 'b=2'] } });
      t.equal(told.body.toString(), 'ok');
      t.match(came, {
        ':method': 'GET',
        ':path': '/a?b=c',
        ':scheme': 'http',
        ':authority': `127.0.0.1:${plane.port}`,
        'x-one': 'two',
        'x-forwarded-for': '127.0.0.1',
      });
      for (const field of ['host', 'connection', 'transfer-encoding']) t.notOk(field in came, field);
    });

    t.test('HEAD, 204 and 304 have no body', async (t) => {
      origin.answer = (stream, headers) => {
        const status = Number(String(headers[':path']).slice(1));
        stream.respond(
          { ':status': status, ...(status === 200 && { 'content-length': 5 }) },
          { endStream: true },
        );
      };
      t.match(await way.ask({ method: 'HEAD', path: '/200' }), {
        status: 200,
        headers: { 'content-length': '5' },
        body: Buffer.alloc(0),
      });
      t.equal((await way.ask({ path: '/204' })).status, 204);
      t.equal((await way.ask({ path: '/304' })).status, 304);
      t.match(await way.ask({ path: '/500' }), { status: 500, headers: { 'content-length': '0' } });
    });

    for (const counted of [true, false])
      t.test(`a body both ways, ${counted ? 'with' : 'without'} Content-Length`, async (t) => {
        origin.answer = echo;
        for (const body of [Buffer.from('small'), BIG]) {
          const told = await way.ask({ method: 'POST', body, counted });
          t.equal(told.status, 200);
          t.ok(told.body.equals(body), `${body.length} bytes`);
        }
      });

    t.test('trailers both ways', async (t) => {
      origin.answer = echo;
      const told = await way.ask({
        method: 'POST',
        body: 'x',
        trailers: { 'x-sum': '7' },
        headers: { te: 'trailers' },
      });
      t.equal(told.body.toString(), 'x');
      t.match(told.trailers, { 'x-sum': '7' });
    });

    t.test('1xx before the answer', async (t) => {
      origin.answer = (stream) => {
        stream.additionalHeaders({ ':status': 103, link: '</a>' });
        stream.respond({ ':status': 200 });
        stream.end('late');
      };
      const told = await way.ask();
      t.same(told.interim, [103]);
      t.equal(told.body.toString(), 'late');
    });

    t.test('all over one connection, whose books are right', async (t) => {
      t.equal(origin.sessions.length, 1);
      t.equal(plane.control.backendCounter(plane.slot('web/s1'), 'connects'), 1);
      t.equal(plane.active, 0);
    });
  });
}

t.test('requests that come while a connection is made wait for it, and share it', async (t) => {
  const origin = await Http2Origin.start(t);
  const plane = await Plane.start(t, before([origin.port]));
  const way = h2(t, plane.port);
  const told = await Promise.all(Array.from({ length: 32 }, () => way.ask()));
  t.ok(told.every(({ status }) => status === 200));
  t.equal(origin.sessions.length, 1);
});

t.test('more than a connection takes go over another one', async (t) => {
  const origin = await Http2Origin.start(t);
  const plane = await Plane.start(t, before([origin.port], 'connections: { streams: 4 }'));
  const held: (() => void)[] = [];
  origin.answer = (stream) => {
    held.push(() => stream.respond({ ':status': 204 }, { endStream: true }));
    if (held.length === 10) for (const answer of held) answer();
  };
  const way = h2(t, plane.port);
  await Promise.all(Array.from({ length: 10 }, () => way.ask()));
  t.equal(origin.sessions.length, 3);
});

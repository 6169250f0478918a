import { once } from 'node:events';
import http2 from 'node:http2';
import t from 'tap';
import { parseConfig } from '../../../../common/config.ts';
import { GATE_CLOSED } from '../../../../lbd/shared/shared.ts';
import { answering, OK, Plane, RawClient, RawOrigin } from '../../harness.ts';
import { Http2Origin, ok } from './h2-origin.ts';
import { before, h2, http1 } from './ways.ts';

const { constants } = http2;

t.test('a backend that stops fails no request, whatever its method', async (t) => {
  const origin = await Http2Origin.start(t);
  const plane = await Plane.start(t, before([origin.port]));
  const way = http1(t, plane.port);
  await way.ask();
  let served = 0;
  origin.answer = (stream) => {
    // It looks at the first one alone.
    if (served++ === 0) {
      stream.session!.goaway(constants.NGHTTP2_NO_ERROR, stream.id);
      setImmediate(() => ok(stream));
    } else if (stream.session === origin.sessions[0]) stream.close(constants.NGHTTP2_REFUSED_STREAM);
    else ok(stream);
  };
  const told = await Promise.all(
    Array.from({ length: 8 }, (_, i) =>
      way.ask(i % 2 === 0 ? {} : { method: 'POST', body: `body ${i}`, counted: true }),
    ),
  );
  t.same(
    told.map(({ status }) => status),
    Array(8).fill(200),
  );
  t.ok(origin.sessions.length > 1);
  t.equal(plane.active, 0);
  t.equal(plane.control.backendCounter(plane.slot('web/s1'), 'errors'), 0);
});

t.test('REFUSED_STREAM: the request is sent again, with its body', async (t) => {
  const origin = await Http2Origin.start(t);
  const plane = await Plane.start(t, before([origin.port]));
  for (const way of [http1(t, plane.port), h2(t, plane.port)]) {
    let refused = 0;
    const bodies: string[] = [];
    origin.answer = (stream) => {
      if (refused++ === 0) {
        stream.close(constants.NGHTTP2_REFUSED_STREAM);
        return;
      }
      stream.on('data', (bytes) => bodies.push(String(bytes)));
      stream.on('end', () => ok(stream));
    };
    t.equal((await way.ask({ method: 'POST', body: 'hello', counted: true })).status, 200, way.name);
    t.same(bodies.join(''), 'hello');
  }
});

t.test('a backend that always refuses is given up', async (t) => {
  const origin = await Http2Origin.start(t, (stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM));
  const plane = await Plane.start(t, before([origin.port]));
  t.match(await http1(t, plane.port).ask(), { status: 502 });
  t.ok(origin.requests.length <= 5, `${origin.requests.length} tries`);
});

t.test('a reset before the answer is a 502 that says so; within it the answer is cut', async (t) => {
  const origin = await Http2Origin.start(t, (stream) => stream.close(constants.NGHTTP2_INTERNAL_ERROR));
  const plane = await Plane.start(t, before([origin.port]));
  const way = h2(t, plane.port);
  const told = await way.ask();
  t.equal(told.status, 502);
  t.match(told.body.toString(), /RST_STREAM INTERNAL_ERROR/);
  origin.answer = (stream) => {
    stream.respond({ ':status': 200 });
    stream.write('half', () => stream.destroy(new Error('broken')));
  };
  const stream = way.session.request({ ':path': '/' });
  stream.resume();
  await once(stream, 'error');
  t.equal(stream.rstCode, constants.NGHTTP2_INTERNAL_ERROR);
  t.equal(origin.sessions.length, 1);
});

t.test('a client that leaves cancels its request, and no other', async (t) => {
  const origin = await Http2Origin.start(t);
  const plane = await Plane.start(t, before([origin.port]));
  const way = h2(t, plane.port);
  await way.ask();
  const began = new Promise<http2.ServerHttp2Stream>((resolve) => {
    origin.answer = resolve;
  });
  const client = await RawClient.open(t, plane.port);
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  const stream = await began;
  stream.resume();
  const over = once(stream, 'aborted');
  client.socket.resetAndDestroy();
  await over;
  t.equal(stream.rstCode, constants.NGHTTP2_CANCEL);
  origin.answer = ok;
  t.equal((await way.ask()).status, 200);
  t.equal(origin.sessions.length, 1);
  t.equal(plane.active, 0);
});

t.test('an early answer reaches the client, and the rest of its request is not wanted', async (t) => {
  const origin = await Http2Origin.start(t, (stream) => {
    stream.respond({ ':status': 413, 'content-length': 0 }, { endStream: true });
    setImmediate(() => stream.close(constants.NGHTTP2_NO_ERROR));
  });
  const plane = await Plane.start(t, before([origin.port]));
  const way = h2(t, plane.port);
  const stream = way.session.request({ ':method': 'POST', ':path': '/' });
  stream.on('error', () => {});
  stream.write(Buffer.alloc(100_000));
  const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
  t.equal(headers[':status'], 413, Buffer.concat(await stream.toArray()).toString());
});

t.test('a backend that takes one request at a time gets them over several connections', async (t) => {
  const origin = await Http2Origin.start(
    t,
    (stream) => setImmediate(ok, stream),
    http2.createServer({ settings: { maxConcurrentStreams: 1 } }),
  );
  const plane = await Plane.start(t, before([origin.port]));
  const way = h2(t, plane.port);
  const told = await Promise.all(Array.from({ length: 10 }, () => way.ask()));
  t.ok(told.every(({ status }) => status === 200));
});

t.test('a slow client does not hold up another one on the same connection', async (t) => {
  const big = Buffer.alloc(2_000_000, 'x');
  const origin = await Http2Origin.start(t, (stream) => {
    stream.respond({ ':status': 200 });
    stream.end(big);
  });
  const plane = await Plane.start(t, before([origin.port]));
  const way = h2(t, plane.port);
  const slow = await RawClient.open(t, plane.port);
  slow.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await slow.until((text) => text.length > 1000);
  slow.socket.pause();
  for (let i = 0; i < 2; i++) t.equal((await way.ask()).body.length, big.length);
  t.equal(origin.sessions.length, 1);
  slow.socket.resume();
  const text = await slow.until((it) => it.endsWith('\r\n0\r\n\r\n'));
  t.ok(text.length > big.length);
});

t.test('a backend that dies: the next request of a client is answered by who takes its place', async (t) => {
  const origin = await Http2Origin.start(t);
  const plane = await Plane.start(t, before([origin.port]));
  const way = http1(t, plane.port);
  await way.ask();
  origin.answer = (stream) => {
    origin.answer = ok;
    stream.session!.destroy();
  };
  t.equal((await way.ask()).status, 200, 'idempotent: sent again');
  t.equal(origin.sessions.length, 2);
});

t.test('a backend of HTTP/1 alone cannot be connected to, and the answer says why', async (t) => {
  const origin = await RawOrigin.start(t, answering('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n'));
  const plane = await Plane.start(t, before([origin.port]));
  const told = await http1(t, plane.port).ask();
  t.equal(told.status, 502);
  t.match(told.body.toString(), /does not speak HTTP\/2/);
  t.equal(plane.control.backendCounter(plane.slot('web/s1'), 'connect_failures'), 1);
});

t.test('a backend that says nothing counts as one that cannot be connected to, in time', async (t) => {
  const origin = await RawOrigin.start(t);
  const plane = await Plane.start(t, before([origin.port], 'timeouts: { connect: 100ms }'));
  const told = await http1(t, plane.port).ask();
  t.match(told.body.toString(), /said nothing of HTTP\/2/);
});

t.test('malformed answers are refused, and the connection goes on', async (t) => {
  const origin = await Http2Origin.start(t, (stream) => {
    stream.respond({ ':status': 200, 'content-length': 3 });
    stream.end('more than three');
  });
  const plane = await Plane.start(t, before([origin.port]));
  const way = http1(t, plane.port);
  t.match((await way.ask()).body.toString(), /Content-Length/);
  origin.answer = ok;
  t.equal((await way.ask()).status, 200);
  t.equal(origin.sessions.length, 1);
});

t.test('a request without an answer in time keeps others off a connection that is dead', async (t) => {
  const origin = await Http2Origin.start(t);
  const plane = await Plane.start(t, before([origin.port], 'timeouts: { connect: 200ms, response: 100ms }'));
  const way = http1(t, plane.port);
  await way.ask();
  origin.sockets[0]!.pause();
  origin.answer = (stream) => {
    if (stream.session !== origin.sessions[0]) ok(stream);
  };
  t.equal((await way.ask()).status, 504);
  t.equal((await way.ask()).status, 200);
  t.equal(origin.sessions.length, 2);
});

t.test('a drained backend lets go of its connection, once nothing goes over it', async (t) => {
  const origin = await Http2Origin.start(t);
  const plane = await Plane.start(t, before([origin.port]));
  const way = http1(t, plane.port);
  origin.answer = (stream) => {
    plane.gate('web/s1', GATE_CLOSED);
    ok(stream);
  };
  t.equal((await way.ask()).status, 200);
  await once(origin.sessions[0]!, 'close');
});

t.test('a reload to another protocol, and one that takes a backend out', async (t) => {
  const origin = await Http2Origin.start(t);
  const other = await RawOrigin.start(t, answering(OK));
  const yaml = (text: string) => text.replaceAll('PORT', String(plane.port));
  const plane = await Plane.start(t, before([origin.port]));
  const way = http1(t, plane.port);
  let finish = () => {};
  const began = new Promise<void>((resolve) => {
    origin.answer = (stream) => {
      finish = () => ok(stream);
      resolve();
    };
  });
  const running = way.ask();
  await began;
  const next = before([other.port]).replace('protocol: h2', '');
  await plane.apply(parseConfig(yaml(next), '/test.yaml', { cpus: 1 }));
  t.equal((await way.ask()).status, 200, 'new ones go elsewhere');
  finish();
  t.equal((await running).status, 200, 'what is under way ends where it began');
  await once(origin.sessions[0]!, 'close');
});

t.test('an upgrade to a pool of HTTP/2 is answered with 501', async (t) => {
  const origin = await Http2Origin.start(t);
  const plane = await Plane.start(t, before([origin.port]));
  const client = await RawClient.open(t, plane.port);
  client.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n');
  t.match(await client.until((text) => text.includes('\r\n\r\n')), /^HTTP\/1\.1 501 /);
});

t.test('as gRPC: both sides speak in turn, and an answer of trailers alone', async (t) => {
  const origin = await Http2Origin.start(t, (stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.on('data', (bytes) => stream.write(`re: ${bytes}`));
    stream.on('end', () => stream.end());
  });
  const plane = await Plane.start(t, before([origin.port]));
  const way = h2(t, plane.port);
  const call = way.session.request({
    ':method': 'POST',
    ':path': '/a.B/C',
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  let trailers: http2.IncomingHttpHeaders = {};
  call.on('trailers', (came) => {
    trailers = came;
  });
  for (const word of ['one', 'two']) {
    call.write(word);
    const [bytes] = await once(call, 'data');
    t.equal(String(bytes), `re: ${word}`);
  }
  call.end();
  await once(call, 'end');
  t.equal(trailers['grpc-status'], '0');
  origin.answer = (stream) => stream.respond({ ':status': 200, 'grpc-status': 12 }, { endStream: true });
  const told = await way.ask({ method: 'POST', body: 'x', headers: { te: 'trailers' } });
  t.match(told, { status: 200, headers: { 'grpc-status': '12' } });
});

import t, { type Test } from 'tap';
import { GATE_CLOSED, GATE_STUCK } from '../../../../lbd/shared/shared.ts';
import { freePort } from '../../../common/free-port.ts';
import { OK, Plane, RawClient, RawOrigin } from '../../harness.ts';
import { always, Exchange, type Reply, yaml } from '../exchange.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const PUT = 'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n';
const LARGE_PUT = `${PUT.replace('5', '20000')}${'x'.repeat(20_000)}`;
const POST = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n';
const CHUNKED = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n';
const EXPECT = 'POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n';

/** Body as the origin got it, behind the head. */
function bodyOf(received: string): string {
  return received.slice(received.indexOf('\r\n\r\n') + 4);
}

/** Answers OK once the request's body has come whole: 5 bytes, or up to the last chunk. */
function afterBody(text: string): Reply {
  return (socket, data) => {
    if (data.endsWith('hello') || data.endsWith('0\r\n\r\n')) socket.write(text);
  };
}

t.test(
  'RFC 9112 §7.1 a chunked request is framed anew: chunk extensions are dropped, and trailers that are framing',
  async (t) => {
    const exchange = await Exchange.start(t);
    exchange.reply = afterBody(OK);
    const body = '5;a=b\r\nhello\r\n6; c="d"\r\n world\r\n0;e\r\nContent-Length: 3\r\n\r\n';
    const client = await exchange.client();
    client.write(CHUNKED + body);
    await client.until((text) => text === OK);
    t.equal(bodyOf(exchange.origin.received[0]!), 'b\r\nhello world\r\n0\r\n\r\n');
    client.text = '';
    await client.trickle(CHUNKED + body);
    await client.until((text) => text === OK);
    // On a machine under load the idle connection is not fresh any more, and the second request gets its own.
    const all = exchange.origin.received.join('');
    const second = bodyOf(bodyOf(all).slice('b\r\nhello world\r\n0\r\n\r\n'.length));
    t.equal(second.replaceAll(/[1-9a-f]\r\n([^\r]+)\r\n/g, '$1'), 'hello world0\r\n\r\n', 'byte by byte');
  },
);

t.test('RFC 9110 §10.1.1 Expect: 100-continue', async (t) => {
  const exchange = await Exchange.start(t, { timeouts: 'body: 200ms' });
  await t.test('continue', async () => {
    exchange.reply = (socket, data) => {
      if (data.startsWith('POST')) socket.write('HTTP/1.1 100 Continue\r\n\r\n');
      if (data.endsWith('hello')) socket.write(OK);
    };
    const client = await exchange.client();
    client.write(EXPECT);
    await client.until((text) => text === 'HTTP/1.1 100 Continue\r\n\r\n');
    t.match(exchange.origin.received[0], '\r\nExpect: 100-continue\r\n');
    client.write('hello');
    await client.until((text) => text.endsWith(OK));
    client.write(GET);
    exchange.reply = always(OK);
    await client.until((text) => text.endsWith(OK + OK));
    t.equal(client.text, `HTTP/1.1 100 Continue\r\n\r\n${OK}${OK}`);
    client.socket.destroy();
  });
  for (const status of ['417 Expectation Failed', '413 Content Too Large'])
    await t.test(
      `an early ${status}: the client is not to send its body, and the connection ends`,
      async (t) => {
        exchange.reply = always(`HTTP/1.1 ${status}\r\nContent-Length: 0\r\n\r\n`);
        t.equal(
          await exchange.once(EXPECT),
          `HTTP/1.1 ${status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
        );
      },
    );
  await t.test('no answer, and no body either: 408', async (t) => {
    exchange.reply = () => {};
    t.match(await exchange.once(EXPECT), /^HTTP\/1\.1 408 /);
  });
  await t.test('no answer: the client sends its body all the same', async (t) => {
    exchange.reply = afterBody(OK);
    const client = await exchange.client();
    client.write(EXPECT);
    await exchange.origin.until(() => exchange.origin.received.at(-1)!.endsWith('\r\n\r\n'));
    client.write('hello');
    t.equal(await client.until((text) => text === OK), OK);
    client.socket.destroy();
  });
  await t.test('HTTP/1.0 does not know it', async (t) => {
    exchange.reply = afterBody(OK);
    const before = exchange.origin.received.at(-1)!.length;
    t.match(await exchange.once(`${EXPECT.replace('1.1', '1.0')}hello`), /^HTTP\/1\.1 200 /);
    t.notMatch(exchange.origin.received.at(-1)!.slice(before), 'Expect');
  });
  t.equal(exchange.plane.active, 0);
});

t.test('RFC 9112 §9.3.2 pipelining', async (t) => {
  const exchange = await Exchange.start(t);
  await t.test('1000 requests at once are answered in order', async (t) => {
    exchange.reply = (socket, data) => {
      for (const [, n = ''] of data.matchAll(/GET \/(\d+) /g))
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${n.length}\r\n\r\n${n}`);
    };
    const client = await exchange.client();
    const numbers = Array.from({ length: 1000 }, (_, n) => `${n}`);
    client.write(numbers.map((n) => `GET /${n} HTTP/1.1\r\nHost: a\r\n\r\n`).join(''));
    const wanted = numbers.map((n) => `HTTP/1.1 200 OK\r\nContent-Length: ${n.length}\r\n\r\n${n}`).join('');
    t.ok((await client.until((text) => text.length >= wanted.length)) === wanted);
    client.socket.destroy();
  });
  await t.test('a request with a body behind one without: the body is waited for', async (t) => {
    for (const [request, body] of [
      [PUT, 'hello'],
      [POST, 'hello'],
      [CHUNKED, '5\r\nhello\r\n0\r\n\r\n'],
    ] as const) {
      exchange.reply = (socket, data) => {
        if (data.startsWith('GET') || data.endsWith('hello') || data.endsWith('0\r\n\r\n')) socket.write(OK);
      };
      const client = await exchange.client();
      client.write(GET + request);
      await client.until((text) => text === OK);
      await exchange.origin.until(() =>
        exchange.origin.received.some((text) => text.includes(request.slice(0, 6))),
      );
      client.write(body);
      t.equal(await client.until((text) => text === OK + OK), OK + OK, request.slice(0, 4));
      client.socket.destroy();
    }
  });
  await t.test('a refused request behind two good ones: answered in its turn', async (t) => {
    exchange.reply = always(OK);
    const client = await exchange.client();
    client.write(`${GET}${GET}GET / HTTP/9.9\r\n\r\n${GET}`);
    const text = await client.end();
    t.ok(text.startsWith(`${OK}${OK}HTTP/1.1 505 `) && text.endsWith('version\n'), text);
    client.socket.destroy();
  });
  await t.test('what follows a request with Connection: close is not read', async (t) => {
    exchange.reply = always(OK);
    const text = await exchange.once(`GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n${GET}`);
    t.equal(text, OK.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
  });
  t.equal(exchange.plane.active, 0);
});

/** How much this client could send before the proxy stopped reading from it. */
async function flood(client: RawClient, text: string, upTo: number): Promise<number> {
  let sent = 0;
  client.socket.pause();
  while (sent < upTo) {
    const stuck = !client.socket.write(text);
    sent += text.length;
    if (!stuck) continue;
    const drained = await Promise.race([
      new Promise<boolean>((resolve) => client.socket.once('drain', () => resolve(true))),
      new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 300)),
    ]);
    if (!drained) break;
  }
  return sent;
}

t.test('a client that sends requests and reads no answer is stopped: memory stays bounded', async (t) => {
  const big = `HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n${'x'.repeat(5000)}`;
  const cases: readonly [string, () => Promise<Plane>][] = [
    [
      'answers of a backend',
      async () => {
        const exchange = await Exchange.start(t);
        exchange.reply = always(big);
        return exchange.plane;
      },
    ],
    [
      'answers of our own',
      async () => {
        const exchange = await Exchange.start(t);
        exchange.plane.gate('web/s1', GATE_CLOSED);
        return exchange.plane;
      },
    ],
  ];
  for (const [name, make] of cases) {
    const plane = await make();
    const client = await RawClient.open(t, plane.port);
    // The kernel keeps up to about 10 MB on loopback for both sides; what is beyond that would be our memory.
    const sent = await flood(client, GET.repeat(2000), 64 << 20);
    t.ok(sent < 64 << 20, `${name}: stopped after ${sent} bytes`);
    client.socket.destroy();
    await closed(plane);
    t.equal(plane.active, 0);
  }
});

/** Resolves once no client connection is open. */
async function closed(plane: Plane): Promise<void> {
  while (plane.control.frontendCounter(0, 'connections') > 0)
    await new Promise((resolve) => setImmediate(resolve));
}

t.test('retry on a reused connection that the backend has just closed', async (t) => {
  const cases: readonly [rule: string, request: string, answer: RegExp, heads: number][] = [
    ['GET is sent again', GET, /^HTTP\/1\.1 200 /, 2],
    ['RFC 9110 §9.2.2 POST is not', `${POST}hello`, /^HTTP\/1\.1 502 /, 1],
    ['PUT whose small body has left whole is', `${PUT}hello`, /^HTTP\/1\.1 200 /, 2],
    ['PUT whose body has left in pieces is not', LARGE_PUT, /^HTTP\/1\.1 502 /, 1],
    ['PUT whose body has not left is', PUT, /^HTTP\/1\.1 200 /, 2],
    ['a method that nobody knows is not', GET.replace('GET', 'BREW'), /^HTTP\/1\.1 502 /, 1],
  ];
  for (const [rule, request, answer, heads] of cases)
    await t.test(rule, async (t) => {
      const exchange = await Exchange.start(t);
      exchange.reply = always(OK);
      const client = await exchange.client();
      client.write(GET);
      await client.until((text) => text === OK);
      client.text = '';
      exchange.reply = (socket, data, connection) => {
        if (connection === 0) socket.destroy();
        else if (data.startsWith('GET') || data.endsWith('hello')) socket.write(OK);
      };
      client.write(request);
      if (request === PUT) {
        await exchange.origin.until(() => exchange.origin.received.length === 2);
        client.write('hello');
      }
      t.match(await client.until((text) => text.includes('\r\n\r\n')), answer);
      const all = exchange.origin.received.join('').replace(/^GET[\s\S]*?\r\n\r\n/, '');
      t.equal(all.match(/ HTTP\/1\.1\r\n/g)?.length, heads, 'heads that left');
      t.equal(exchange.plane.active, 0);
    });
  await t.test('a GET whose answer has begun is not sent again', async (t) => {
    const exchange = await Exchange.start(t);
    exchange.reply = always(OK);
    const client = await exchange.client();
    client.write(GET);
    await client.until((text) => text === OK);
    client.text = '';
    exchange.reply = (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Le');
    client.write(GET);
    t.match(await client.until((text) => text.includes('\r\n\r\n')), /^HTTP\/1\.1 502 /);
    t.equal(exchange.origin.sockets.length, 1);
  });
  await t.test('a stuck client stays with its draining backend', async (t) => {
    const origins = [await RawOrigin.start(t, closesSecond()), await RawOrigin.start(t, closesSecond())];
    const plane = await Plane.start(
      t,
      yaml(
        origins.map(({ port }) => port),
        { stick: 'cookie: S' },
      ),
    );
    plane.gate('web/s1', GATE_STUCK);
    const request = GET.replace('\r\n\r\n', '\r\nCookie: S=s1\r\n\r\n');
    const client = await RawClient.open(t, plane.port);
    client.write(request);
    await client.until((text) => text === OK);
    client.write(request);
    await client.until((text) => text.length >= 2 * OK.length);
    t.equal(client.text, OK + OK);
    t.equal(origins[1]!.sockets.length, 0);
  });
});

/** Keeps a connection alive, and closes it at its second request. */
function closesSecond(): Reply {
  const seen = new Set<number>();
  return (socket, _, connection) => {
    if (seen.has(connection)) socket.destroy();
    else socket.write(OK);
    seen.add(connection);
  };
}

t.test(
  'a backend that sends what nobody asked for, or ends, while idle: its connection is not used',
  async (t) => {
    for (const evil of [OK, '<end>', '<reset>']) {
      const exchange = await Exchange.start(t);
      exchange.reply = always(OK);
      const client = await exchange.client();
      client.write(GET);
      await client.until((text) => text === OK);
      const socket = exchange.origin.sockets[0]!;
      if (evil === '<end>') socket.end();
      else if (evil === '<reset>') socket.resetAndDestroy();
      else socket.write(evil);
      await exchange.origin.until(() => /<(end|reset|close)>/.test(exchange.origin.received[0]!));
      client.text = '';
      client.write(`${POST}hello`);
      exchange.reply = afterBody(OK);
      t.equal(await client.until((text) => text.endsWith('ok')), OK, evil);
      t.equal(exchange.origin.sockets.length, 2, evil);
    }
  },
);

t.test('a backend that cannot be reached', async (t) => {
  const deadPorts = [await freePort(), await freePort(), await freePort()];
  const origin = await RawOrigin.start(t, afterBody(OK));
  for (const request of [`${PUT}hello`, `${POST}hello`, `${CHUNKED}5\r\nhello\r\n0\r\n\r\n`])
    await t.test(`refused: the next one gets it all, ${request.slice(0, 4)}`, async (t) => {
      const plane = await Plane.start(t, yaml([deadPorts[0]!, origin.port]));
      for (let i = 0; i < 4; i++) {
        const client = await RawClient.open(t, plane.port);
        client.write(request);
        t.equal(await client.until((text) => text.endsWith('ok')), OK);
        client.socket.destroy();
      }
      t.ok(plane.control.backendCounter(plane.slot('web/s1'), 'connect_failures') > 0);
      t.equal(plane.active, 0);
    });
  await t.test('all refused: 502, and the client is kept', async (t) => {
    const plane = await Plane.start(t, yaml(deadPorts));
    const client = await RawClient.open(t, plane.port);
    for (let i = 1; i <= 2; i++) {
      client.write(GET);
      await client.until((text) => text.split('backend could').length > i);
    }
    t.match(
      client.text,
      /^HTTP\/1\.1 502 Bad Gateway\r\n[\s\S]*no backend could be reached: ECONNREFUSED\nHTTP\/1\.1 502 /,
    );
    t.equal(plane.control.frontendCounter(0, 'answered_502'), 2);
    t.equal(plane.active, 0);
  });
  await t.test('none eligible: 503 with Retry-After, and the client is kept', async (t) => {
    const plane = await Plane.start(t, yaml(deadPorts));
    for (const name of ['web/s1', 'web/s2', 'web/s3']) plane.gate(name, GATE_CLOSED);
    const client = await RawClient.open(t, plane.port);
    client.write(GET + GET);
    await client.until((text) => text.split('no healthy').length === 3);
    t.match(client.text, /^HTTP\/1\.1 503 Service Unavailable\r\n[\s\S]*\r\nRetry-After: 1\r\n/);
    client.socket.destroy();
    const poster = await RawClient.open(t, plane.port);
    poster.write(`${POST}hel`);
    t.match(
      await poster.end(),
      /\r\nConnection: close\r\n/,
      'a body that is not here yet ends the connection',
    );
    poster.socket.destroy();
    t.equal(plane.active, 0);
  });
});

t.test('a backend that leaves while the body is coming: 502, and the connection ends', async (t) => {
  for (const how of ['end', 'reset'] as const) {
    const exchange = await Exchange.start(t);
    exchange.reply = (socket) => (how === 'end' ? socket.end() : socket.resetAndDestroy());
    const client = await exchange.client();
    client.write(`${POST.replace('5', '500')}hel`);
    t.match(await client.end(), /^HTTP\/1\.1 502 [\s\S]*\r\nConnection: close\r\n/, how);
    client.socket.destroy();
    await closed(exchange.plane);
    t.equal(exchange.origin.sockets.length, 1, 'a body that has begun goes to one backend only');
    t.equal(exchange.plane.active, 0);
  }
});

t.test('RFC 9110 §15.2 1xx without end to a client that does not read: memory is bounded', async (t) => {
  const exchange = await Exchange.start(t);
  let sent = 0;
  exchange.reply = (socket) => {
    const hints = 'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(5000);
    const pump = () => {
      while (sent < 64 << 20) {
        sent += hints.length;
        if (!socket.write(hints)) return;
      }
    };
    socket.on('drain', pump);
    pump();
  };
  const client = await exchange.client();
  client.socket.pause();
  client.write(GET);
  await exchange.origin.until(() => exchange.origin.received.length > 0);
  for (let before = -1; before !== sent; ) {
    before = sent;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  t.ok(sent < 64 << 20, `stopped after ${sent} bytes`);
  client.socket.destroy();
  await closed(exchange.plane);
});

t.test('time-outs', async (t) => {
  const exchange = await Exchange.start(t, {
    timeouts: 'head: 200ms, body: 200ms, keep_alive: 200ms',
    poolTimeouts: 'response: 200ms, keep_alive: 200ms',
  });
  const cases: readonly [rule: string, request: string, reply: Reply, answer: RegExp][] = [
    ['slow head: 408', 'GET / HTTP/1.1\r\n', () => {}, /^HTTP\/1\.1 408 [\s\S]*\r\nConnection: close\r\n/],
    ['slow body: 408', `${POST}hel`, () => {}, /^HTTP\/1\.1 408 [\s\S]*\r\nConnection: close\r\n/],
    ['slow chunk: 408', `${CHUNKED}5\r\nhel`, () => {}, /^HTTP\/1\.1 408 [\s\S]*\r\nConnection: close\r\n/],
    ['a client that says nothing is closed silently', '', () => {}, /^$/],
    ['an idle client is closed silently', GET, always(OK), new RegExp(`^${OK}$`)],
    [
      'the first 100 bytes of a second head: 408 behind the first answer',
      `${GET}GET / HTTP/1.1\r\n`,
      always(OK),
      new RegExp(`^${OK}HTTP/1\\.1 408 `),
    ],
  ];
  for (const [rule, request, reply, answer] of cases) {
    exchange.reply = reply;
    t.match(await exchange.once(request), answer, rule);
  }
  await t.test('slow response: 504, and the client is kept', async (t) => {
    exchange.reply = () => {};
    const client = await exchange.client();
    client.write(GET);
    t.match(await client.until((text) => text.includes('too long')), /^HTTP\/1\.1 504 Gateway Timeout\r\n/);
    exchange.reply = always(OK);
    client.write(GET);
    await client.until((text) => text.endsWith(OK));
    client.socket.destroy();
  });
  await t.test('slow response body: a reset', async (t) => {
    exchange.reply = (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel');
    const client = await exchange.client();
    client.write(GET);
    await client.end();
    t.equal(client.closed, 'reset');
  });
  await t.test('an idle backend connection is closed', async () => {
    exchange.reply = always(OK);
    const client = await exchange.client();
    client.write(GET);
    await client.until((text) => text === OK);
    await exchange.origin.until(
      () =>
        exchange.origin.received.at(-1)!.endsWith('<close>') ||
        exchange.origin.received.at(-1)!.includes('<end>'),
    );
    client.socket.destroy();
  });
  await closed(exchange.plane);
  t.equal(exchange.plane.active, 0);
});

t.test('the start of an answer that came too late is not put before the next answer', async (t) => {
  const exchange = await Exchange.start(t, { poolTimeouts: 'response: 100ms' });
  const client = await exchange.client();
  exchange.reply = (socket) => socket.write('HTTP/1.1 200 OK\r\nX-Of: another\r\nContent-Length: 0\r\n');
  client.write(GET);
  t.match(await client.until((text) => text.includes('too long')), /^HTTP\/1\.1 504 /);
  client.text = '';
  exchange.reply = always(OK);
  client.write(GET);
  t.equal(await client.until((text) => text.endsWith('ok') || text.endsWith('\r\n\r\n')), OK);
});

t.test('connect time-out: 504', async (t) => {
  // Reserved for documentation (RFC 5737): nothing answers there, or the host has no way to it.
  const plane = await Plane.start(
    t,
    yaml([1], { poolTimeouts: 'connect: 100ms' }).replace('"127.0.0.1:1"', '"192.0.2.1:81"'),
  );
  const client = await RawClient.open(t, plane.port);
  client.write(GET);
  const text = await client.until((text) => text.includes('backend could'));
  const unreachable = /ENETUNREACH|EHOSTUNREACH|ECONNREFUSED/.test(text);
  t.match(text, unreachable ? /^HTTP\/1\.1 502 / : /^HTTP\/1\.1 504 [\s\S]*ETIMEDOUT/);
  t.equal(plane.active, 0);
});

t.test('RFC 9112 §9.6 a client that ends its side after its request gets its answer', async (t) => {
  const exchange = await Exchange.start(t);
  const requests = { GET, 'two GETs': GET + GET, POST: `${POST}hello` };
  for (const [name, request] of Object.entries(requests))
    for (const late of [false, true]) {
      exchange.reply = (socket, data) => {
        const answer = () => socket.write(OK.repeat(data.split(' HTTP/1.1').length - 1));
        if (late) setImmediate(answer);
        else answer();
      };
      const client = await exchange.client();
      client.socket.end(request, 'latin1');
      const text = await client.end();
      t.equal(text.replaceAll('Connection: close\r\n', ''), name === 'two GETs' ? OK + OK : OK, name);
      await client.until(() => false);
    }
  for (const half of ['GET / HT', `${POST}hel`, `${CHUNKED}5\r\nhe`]) {
    exchange.reply = () => {};
    const client = await exchange.client();
    client.socket.end(half, 'latin1');
    t.equal(await client.end(), '', `half a request is none: ${JSON.stringify(half)}`);
  }
  await closed(exchange.plane);
  t.equal(exchange.plane.active, 0);
});

t.test(
  'RFC 9112 §9.6 an early answer reaches a client that is still sending, then the connection ends',
  async (t) => {
    const exchange = await Exchange.start(t);
    exchange.reply = (socket, data) =>
      data.startsWith('POST') && socket.end('HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig');
    const client = await exchange.client();
    client.write(POST.replace('5', '800000'));
    client.write('x'.repeat(700_000));
    t.equal(
      await client.end(),
      'HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig',
    );
    t.equal(client.closed, 'no', 'an orderly end');
    client.socket.destroy();
    await closed(exchange.plane);
    t.equal(exchange.plane.active, 0);
  },
);

t.test(
  'an early answer is not lost when a write to its backend fails before the answer is read',
  async (t) => {
    const answers: readonly [name: string, answer: string, expected: string][] = [
      [
        'counted',
        'HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig',
        'HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig',
      ],
      [
        'chunked',
        'HTTP/1.1 413 Content Too Large\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbig\r\n0\r\n\r\n',
        'HTTP/1.1 413 Content Too Large\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nbig\r\n0\r\n\r\n',
      ],
    ];
    for (const [name, answer, expected] of answers)
      for (let i = 0; i < 5; i++) {
        const { origin, plane, client } = await uploading(t);
        // All of it in one turn of the event loop: the proxy hears of the client's bytes first and writes to a backend
        // that is gone, and only then of the answer that waits in its own kernel.
        client.write('x'.repeat(1000));
        origin.sockets[0]!.write(answer);
        origin.sockets[0]!.resetAndDestroy();
        t.equal(await client.end(), expected, name);
        client.socket.destroy();
        await closed(plane);
        t.equal(plane.active, 0);
        t.equal(plane.plane.open, 0);
      }
    await t.test('without an answer: 502', async (t) => {
      const { origin, client } = await uploading(t);
      client.write('x'.repeat(1000));
      origin.sockets[0]!.resetAndDestroy();
      t.match(await client.end(), /^HTTP\/1\.1 502 /);
      client.socket.destroy();
    });
    await t.test('a part of an answer: a reset', async (t) => {
      const { origin, client } = await uploading(t);
      client.write('x'.repeat(1000));
      origin.sockets[0]!.write('HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\n\r\nbig');
      origin.sockets[0]!.resetAndDestroy();
      await client.end();
      t.equal(client.closed, 'reset');
    });
  },
);

/** A client whose upload is on its way, and its backend has got the first of it. */
async function uploading(t: Test): Promise<{ origin: RawOrigin; plane: Plane; client: RawClient }> {
  const exchange = await Exchange.start(t);
  const client = await exchange.client();
  client.write(`${POST.replace('5', '800000')}first`);
  await exchange.origin.until(() => exchange.origin.received[0]?.endsWith('first') ?? false);
  return { origin: exchange.origin, plane: exchange.plane, client };
}

t.test('a client that resets, in every phase: nothing is left behind', async (t) => {
  const exchange = await Exchange.start(t, { poolTimeouts: 'keep_alive: 100ms' });
  const { origin, plane } = exchange;
  const halfResponse = always('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhello');
  const upgrade = GET.replace('\r\n\r\n', '\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n');
  let before = '';
  const arrived = () => origin.received.join('').slice(before.length);
  const phases: readonly [phase: string, request: string, reply: Reply, until: (got: string) => boolean][] = [
    ['connected', '', () => {}, () => true],
    ['within the head', 'GET / HT', () => {}, () => true],
    ['request under way', GET, () => {}, () => arrived().includes('GET')],
    ['within the body', `${POST}hel`, () => {}, () => arrived().endsWith('hel')],
    ['within the response', GET, halfResponse, (got) => got.includes('hello')],
    ['between requests', GET, always(OK), (got) => got === OK],
    ['in a tunnel', upgrade, always('HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n'), (got) => got.includes('101')],
    ['while lingering', 'GET / HTTP/7.0\r\n\r\n', () => {}, (got) => got.includes('505')],
  ];
  for (const [phase, request, reply, until] of phases)
    for (const how of ['reset', 'close'] as const) {
      // An end behind a whole request, or in a tunnel, is a half-close: what the backend says is still wanted.
      if (how === 'close' && ['request under way', 'within the response', 'in a tunnel'].includes(phase))
        continue;
      exchange.reply = reply;
      before = origin.received.join('');
      const accepted = plane.control.frontendCounter(0, 'accepted');
      const client = await exchange.client();
      client.write(request);
      while (plane.control.frontendCounter(0, 'accepted') === accepted)
        await new Promise((resolve) => setImmediate(resolve));
      await Promise.race([client.until(until), origin.until(() => until(client.text))]);
      if (how === 'reset') client.socket.resetAndDestroy();
      else client.socket.destroy();
      await closed(plane);
      t.equal(plane.active, 0, `${phase}, ${how}`);
    }
  const stuck = await RawClient.open(t, plane.port);
  stuck.write(GET);
  stuck.socket.resetAndDestroy();
  await closed(plane);
  t.equal(plane.active, 0, 'at once');
  await origin.until(() => origin.received.every((text) => /<(end|reset|close)>/.test(text)));
  while (plane.plane.open > 0) await new Promise((resolve) => setImmediate(resolve));
  t.equal(plane.plane.open, 0, 'no connection is left');
});

t.test('limits of what a client may send while the connection ends', async (t) => {
  const exchange = await Exchange.start(t);
  const client = await exchange.client();
  client.write('GET / HTTP/7.0\r\n\r\n');
  await client.end();
  const sent = await flood(client, 'x'.repeat(1 << 16), 256 << 20);
  t.ok(sent < 256 << 20, 'cut off');
  await closed(exchange.plane);
});

t.test('RFC 9110 §6.5 trailers go both ways, with what announces them', async (t) => {
  const exchange = await Exchange.start(t);
  const answer =
    'HTTP/1.1 200 OK\r\nTrailer: Digest\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nDigest: b\r\nSet-Cookie: no\r\n\r\n';
  exchange.reply = (socket, data) => {
    if (data.endsWith('Digest: a\r\n\r\n')) socket.write(answer);
  };
  const client = await exchange.client();
  client.write(
    `${CHUNKED.replace('\r\n\r\n', '\r\nTrailer: Digest\r\n\r\n')}5\r\nhello\r\n0\r\nDigest: a\r\n\r\n`,
  );
  await client.until((text) => text.endsWith('Digest: b\r\n\r\n'));
  t.match(
    client.text,
    /^HTTP\/1\.1 200 OK\r\nTrailer: Digest\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nDigest: b\r\n\r\n$/,
  );
  t.match(exchange.origin.received[0], '\r\nTrailer: Digest\r\n');
  t.ok(exchange.origin.received[0]!.endsWith('5\r\nhello\r\n0\r\nDigest: a\r\n\r\n'));
  client.text = '';
  client.write(CHUNKED.replace('1.1', '1.0').replace('Transfer-Encoding: chunked', 'Content-Length: 0'));
  exchange.reply = always(answer);
  t.match(await client.end(), /\r\n\r\nok$/, 'HTTP/1.0 knows no chunks, and gets no trailers');
});

t.test('connections.max_age: a backend connection ends at its age, and never within a request', async (t) => {
  const exchange = await Exchange.start(t, { pool: 'connections: { max_age: 300ms }' });
  exchange.reply = always(OK);
  const client = await exchange.client();
  client.write(GET);
  await client.until((text) => text === OK);
  await exchange.origin.until(() => /<(end|close|reset)>/.test(exchange.origin.received[0]!));
  t.pass('an idle one is closed long before its keep_alive is over');
  let answer = () => {};
  exchange.reply = (socket) => {
    answer = () => socket.write(OK);
  };
  client.text = '';
  client.write(GET);
  await exchange.origin.until(() => exchange.origin.received[1]?.endsWith('\r\n\r\n') === true);
  await new Promise((resolve) => setTimeout(resolve, 400));
  t.notMatch(exchange.origin.received[1], '<', 'older than allowed, and at work');
  answer();
  await client.until((text) => text === OK);
  await exchange.origin.until(() => /<(end|close|reset)>/.test(exchange.origin.received[1]!));
  exchange.reply = always(OK);
  client.text = '';
  client.write(GET);
  t.equal(await client.until((text) => text === OK), OK, 'the next request gets a new one');
  t.equal(exchange.plane.active, 0);
});

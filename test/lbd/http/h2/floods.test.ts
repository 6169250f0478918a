import t, { type Test } from 'tap';
import { always } from '../exchange.ts';
import {
  data,
  encode,
  FLAG,
  FRAME,
  frame,
  GET,
  HOLD,
  type Http2Client,
  headers,
  PREFACE,
  ping,
  request,
  rst,
  SETTING,
  Served,
  settings,
  windowUpdate,
} from './harness.ts';

/** What a client may have lbd do to no end, and what it may ask for honestly (RFC 9113 §10.5). */

const LOG = { more: 'access_log: { path: /access.log }' };
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const MANY = 2000;
const many = (make: (i: number) => Buffer, count = MANY) => Array.from({ length: count }, (_, i) => make(i));
const idOf = (i: number) => 2 * i + 1;

async function start(t: Test, own = {}) {
  const served = await Served.start(t, { ...LOG, ...own });
  return { served, client: await served.open() };
}

/** The connection has been ended for what its client did, the log says so, and the next one is served. */
async function ended(
  t: Test,
  { served, client }: { served: Served; client: Http2Client },
  isLogged: boolean,
): Promise<void> {
  await client.end();
  t.equal(client.goAway, 'enhanceYourCalm');
  t.same(client.wrongs, []);
  if (isLogged)
    for (let reason = ''; reason !== client.debug; ) {
      const line = JSON.parse((await served.plane.accessLines())[0]!);
      if (line.cause === 'http2_error') {
        t.not(line.reason, '');
        ({ reason } = line);
      }
    }
  t.ok(await served.stillServes());
  await served.emptied(client);
  t.equal(served.plane.active, 0);
}

for (const [what, ...frames] of [
  ['CVE-2019-9512 PING', ...many(() => ping())],
  ['CVE-2019-9515 SETTINGS', ...many(() => settings([SETTING.initialWindowSize, 1000]))],
  [
    'CVE-2019-9515 SETTINGS, with an ack between each two',
    ...many((i) => (i % 2 === 0 ? settings() : frame(FRAME.settings, FLAG.ack, 0))),
  ],
  ['CVE-2019-9513 PRIORITY', ...many((i) => frame(FRAME.priority, 0, idOf(i % 50), Buffer.alloc(5)))],
  [
    'CVE-2019-9513 PRIORITY_UPDATE',
    headers(1, HOLD),
    ...many(() => frame(FRAME.priorityUpdate, 0, 0, Buffer.from('\0\0\0\x01u=1'))),
  ],
  ['CVE-2019-9518 empty DATA', headers(1, HOLD, 0), ...many(() => data(1, ''))],
  [
    'CVE-2019-9518 DATA of padding alone',
    headers(1, HOLD, 0),
    ...many(() => data(1, Buffer.of(0), FLAG.padded)),
  ],
  [
    'CVE-2019-9518 empty DATA of a stream that is over',
    headers(1, [[':method', 'GET']], 0),
    ...many(() => data(1, '', FLAG.endStream)),
  ],
  ['WINDOW_UPDATE of the connection', ...many(() => windowUpdate(0, 1))],
  ['WINDOW_UPDATE of streams', headers(1, HOLD), ...many(() => windowUpdate(1, 1))],
  ['WINDOW_UPDATE of a stream that is over', headers(1, HOLD), rst(1), ...many(() => windowUpdate(1, 1))],
  ['RST_STREAM of a stream that is over', headers(1, HOLD), ...many(() => rst(1))],
  ['frames of no known type', ...many(() => frame(0x2a, 0, 0))],
  ['GOAWAY', ...many(() => frame(FRAME.goAway, 0, 0, Buffer.alloc(8)))],
  [
    'HEADERS on a stream that lbd has reset',
    headers(1, [[':method', 'GET']], 0),
    ...many(() => headers(1, GET)),
  ],
  [
    'CVE-2023-44487 streams that are reset at once',
    ...many((i) => Buffer.concat([headers(idOf(i), HOLD), rst(idOf(i))]), 300),
  ],
  [
    'CVE-2025-8671 streams that lbd has to reset: malformed',
    ...many((i) => headers(idOf(i), [[':method', 'GET']]), 300),
  ],
  [
    'CVE-2025-8671 streams that lbd has to reset: WINDOW_UPDATE by nothing',
    ...many((i) => Buffer.concat([headers(idOf(i), HOLD), windowUpdate(idOf(i), 0)]), 300),
  ],
  [
    'CVE-2025-8671 streams that lbd has to reset: windows too large',
    ...many((i) => Buffer.concat([headers(idOf(i), HOLD), windowUpdate(idOf(i), 2 ** 31 - 1)]), 300),
  ],
  [
    'CVE-2025-8671 streams that lbd has to reset: DATA behind their end',
    ...many((i) => Buffer.concat([headers(idOf(i), HOLD), data(idOf(i), 'x')]), 300),
  ],
  [
    'CVE-2025-8671 streams that lbd has to reset: another length',
    ...many(
      (i) =>
        Buffer.concat([
          headers(idOf(i), request('POST', '/hold', ['content-length', '1']), 0),
          data(idOf(i), 'xx'),
        ]),
      300,
    ),
  ],
  [
    'CVE-2025-8671 streams that lbd has to reset: PRIORITY of another size',
    ...many(
      (i) => Buffer.concat([headers(idOf(i), HOLD), frame(FRAME.priority, 0, idOf(i), Buffer.alloc(4))]),
      300,
    ),
  ],
  ['streams that are refused', ...many((i) => headers(idOf(i), HOLD), 400)],
] as const)
  t.test(what, async (t) => {
    const setup = await start(t);
    setup.client.write(...frames);
    // Of requests that are malformed only so many are logged, and then nothing else of the same second.
    await ended(t, setup, !what.endsWith('malformed'));
  });

t.test('CVE-2019-9511 an answer that is taken byte by byte', async (t) => {
  const served = await Served.start(t, LOG);
  served.reply = always(`HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n${'d'.repeat(50_000)}`);
  const client = await served.open([SETTING.initialWindowSize, 0]);
  client.write(headers(1, GET));
  for (let i = 1; i <= 2000 && client.goAway === undefined; i++) {
    client.write(windowUpdate(1, 1));
    await client.until(() => client.received === i || client.goAway !== undefined);
  }
  served.reply = always(OK);
  await ended(t, { served, client }, true);
});

t.test('§5.1.2 a stream above the limit is refused, and may be asked for again', async (t) => {
  const { served, client } = await start(t);
  client.write(...many((i) => headers(idOf(i), HOLD), 100), headers(201, GET));
  t.equal((await client.answered(201)).reset, 'refusedStream');
  client.write(rst(7), headers(203, GET));
  t.match(await client.answered(203), { status: 200, reset: undefined });
  t.equal(served.plane.active, 99);
  await served.emptied(client);
  t.equal(served.plane.active, 0);
});

t.test('a client that asks and reads no answers does not fill the memory with them', async (t) => {
  const { served, client } = await start(t);
  let answers = 0;
  served.reply = (socket, text) => {
    for (const _ of text.matchAll(/\r\n\r\n/g)) {
      answers++;
      socket.write(`HTTP/1.1 204 No Content\r\nX-Pad: ${'p'.repeat(8000)}\r\n\r\n`);
    }
  };
  client.socket.pause();
  for (let i = 0; i < 10_000 && i - answers < 500; i++) {
    client.write(headers(idOf(i), GET));
    await new Promise(setImmediate);
  }
  t.ok(answers < 2500, `${answers} of 8000 bytes each`);
  client.socket.resume();
  await client.until(() => client.goAway !== undefined || client.answers.size > answers - 10);
  t.same(client.wrongs, []);
  await served.emptied(client);
});

t.test(
  'CVE-2026-49975 fields of one byte that stand for much: bounded by what they say, not by what they take',
  async (t) => {
    const { served, client } = await start(t);
    const long = 'v'.repeat(3900);
    // Into the table, and then again and again.
    const kept = Buffer.concat([
      Buffer.of(0x40, 1),
      Buffer.from('a'),
      Buffer.of(0x7f, 0xbd, 0x1d),
      Buffer.from(long),
    ]);
    client.write(frame(FRAME.headers, 5, 1, Buffer.concat([encode(GET), kept, Buffer.alloc(12_000, 0xbe)])));
    t.match(await client.answered(1), { status: 431 });
    t.equal(served.got, '');
    client.write(headers(3, GET));
    t.match(await client.answered(3), { status: 200 });
    client.write(frame(FRAME.headers, 5, 5, Buffer.concat([encode(GET), Buffer.of(0xbe, 0xbe)])));
    t.match(await client.answered(5), { status: 200 });
    t.equal(served.got.match(/v{3900}/g)!.length, 2, 'the table is as it should be');
    await served.emptied(client);
  },
);

t.test('CVE-2026-49975 crumbs of cookies have a limit of their own', async (t) => {
  const { served, client } = await start(t, { limits: 'fields: 20' });
  const crumbs = (count: number) =>
    many((i) => Buffer.from(`c${i}`), count).map((name) => ['cookie', `${name}=1`] as const);
  client.write(headers(1, request('GET', '/', ...crumbs(20), ['x', 'y'])));
  t.match(await client.answered(1), { status: 200 });
  client.write(headers(3, request('GET', '/', ...crumbs(21))));
  t.match(await client.answered(3), { status: 431 });
  client.write(
    headers(5, request('GET', '/', ...many(() => Buffer.of(0), 400).map(() => ['cookie', ''] as const))),
  );
  t.match(await client.answered(5), { status: 431 });
  await served.emptied(client);
});

for (const [what, bytes] of [
  ['a preface', PREFACE.subarray(0, 20)],
  ['SETTINGS', Buffer.concat([PREFACE, settings([1, 1]).subarray(0, 12)])],
] as const)
  t.test(`timeouts.head: ${what} that is never complete`, async (t) => {
    const served = await Served.start(t, { timeouts: 'head: 300ms' });
    const client = await served.connect();
    client.acknowledges = false;
    client.write(bytes);
    await client.end();
    t.ok(await served.stillServes());
    await served.emptied(client);
  });

for (const [what, makes] of [
  ['HEADERS', (id: number) => headers(id, GET)],
  [
    'CONTINUATION',
    (id: number) =>
      Buffer.concat([
        frame(FRAME.headers, 1, id, encode(GET)),
        frame(FRAME.continuation, 4, id, Buffer.alloc(500)),
      ]),
  ],
  ['PING', () => ping()],
] as const)
  for (const isBusy of [false, true])
    t.test(
      `timeouts.head: ${what} a byte at a time on a connection with ${isBusy ? 'a' : 'no'} stream`,
      async (t) => {
        const { served, client } = await start(t, { timeouts: 'head: 300ms' });
        if (isBusy) client.write(headers(1, HOLD));
        const bytes = makes(3);
        // Most of it at once.
        let sent = what === 'PING' ? 5 : bytes.length - 40;
        client.write(bytes.subarray(0, sent));
        const timer = setInterval(() => {
          if (sent < bytes.length - 1) client.write(bytes.subarray(sent, ++sent));
        }, 40);
        await client.end();
        clearInterval(timer);
        t.equal(client.goAway, 'enhanceYourCalm');
        t.equal(client.debug, 'head too slow');
        t.ok(await served.stillServes());
        await served.emptied(client);
      },
    );

t.test(
  'timeouts.head: pieces of frames that are complete in time bother nobody, nor the keep-alive time-out',
  async (t) => {
    const { served, client } = await start(t, { timeouts: 'head: 300ms, keep_alive: 1s' });
    const parts = (bytes: Buffer) => [bytes.subarray(0, 4), bytes.subarray(4, 12), bytes.subarray(12)];
    for (let i = 0; i < 6; i++)
      for (const part of parts(headers(idOf(i), GET))) {
        client.write(part);
        await new Promise((resolve) => setTimeout(resolve, 60));
      }
    t.match(await client.answered(idOf(5)), { status: 200 });
    // Of DATA it is the time of the body.
    client.write(headers(101, request('POST', '/hold'), 0), data(101, 'half a frame').subarray(0, 15));
    await new Promise((resolve) => setTimeout(resolve, 700));
    client.write(data(101, 'half a frame', 0).subarray(15), data(101, '', FLAG.endStream));
    await served.origin.until(() => served.got.endsWith('0\r\n\r\n'));
    t.equal(client.goAway, undefined);
    client.write(rst(101));
    // An idle connection ends in time, whatever comes in pieces meanwhile.
    const timer = setInterval(() => {
      const [first, second, third] = parts(ping());
      client.write(first!);
      setImmediate(() => client.write(second!, third!));
    }, 100);
    await client.end();
    clearInterval(timer);
    t.equal(client.goAway, 'noError');
    await served.emptied(client);
  },
);

t.test('honest: 10,000 requests one after the other', async (t) => {
  const served = await Served.start(t);
  const client = await served.open();
  for (let i = 0; i < 10_000; i++) {
    client.write(headers(idOf(i), GET));
    const { status } = await client.answered(idOf(i));
    if (status !== 200) break;
    if (i % 100 === 0) client.frames.length = 0;
  }
  t.equal(client.answers.size, 10_000);
  t.equal(client.goAway, undefined);
  await served.emptied(client);
});

t.test('honest: 2,000 requests whose streams the client resets behind the answer', async (t) => {
  const served = await Served.start(t);
  const client = await served.open();
  for (let i = 0; i < 2_000; i++) {
    client.write(headers(idOf(i), GET));
    await client.answered(idOf(i));
    client.write(rst(idOf(i), 0));
    if (client.goAway !== undefined) break;
    if (i % 100 === 0) client.frames.length = 0;
  }
  await client.settle();
  t.equal(client.goAway, undefined);
  await served.emptied(client);
});

t.test(
  'honest: a browser that leaves a page with 100 pictures, and the next one, and then stays',
  async (t) => {
    const { served, client } = await start(t);
    let id = 1;
    for (let page = 0; page < 2; page++) {
      const ids = many(() => Buffer.of(0), 100).map(() => (id += 2));
      client.write(...ids.map((it) => headers(it, HOLD)));
      await served.origin.until(() => served.got.match(/\/hold/g)?.length === 100 * (page + 1));
      client.write(...ids.map((it) => rst(it)));
      await client.settle();
    }
    for (let i = 0; i < 50; i++) {
      id += 2;
      client.write(headers(id, GET));
      t.match(await client.answered(id), { status: 200 });
    }
    t.equal(client.goAway, undefined);
    await served.emptied(client);
  },
);

t.test('honest: a download with two WINDOW_UPDATEs for each 4 KiB', async (t) => {
  const { served, client } = await start(t);
  const size = 20 << 20;
  served.reply = (socket, text) =>
    socket.write(
      text.includes('/big') ? `HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n${'d'.repeat(size)}` : OK,
    );
  client.write(headers(1, request('GET', '/big')));
  let given = 0;
  while (!client.ended && client.received < size) {
    const before = client.received;
    for (; given + 4096 <= client.received; given += 4096)
      client.write(windowUpdate(0, 4096), windowUpdate(1, 4096));
    await client.until(() => client.received > before);
    client.frames.length = 0;
    client.answer(1).body = '';
  }
  t.equal(client.received, size);
  t.equal(client.goAway, undefined);
  await served.emptied(client);
});

t.test(
  'honest: gRPC’s way, a small message back and forth, with a PING and WINDOW_UPDATEs for each',
  async (t) => {
    const { served, client } = await start(t);
    let isFirst = true;
    served.reply = (socket, text) => {
      if (isFirst) socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
      isFirst = false;
      for (const _ of text.matchAll(/message/g)) socket.write('5\r\nreply\r\n');
    };
    client.write(
      headers(1, request('POST', '/grpc.S/M', ['te', 'trailers'], ['content-type', 'application/grpc']), 0),
    );
    for (let i = 1; i <= 3000 && client.goAway === undefined; i++) {
      client.write(data(1, 'message'));
      await client.until(() => client.received >= 5 * i);
      client.write(ping('grpcping'));
      client.frames.length = 0;
      client.answer(1).body = '';
    }
    t.equal(client.goAway, undefined);
    t.equal(client.received, 15_000);
    await served.emptied(client);
  },
);

t.test('honest: an upload of 1000 small pieces, and 500 streams that end with their trailers', async (t) => {
  const { served, client } = await start(t);
  client.write(headers(1, request('POST', '/hold'), 0), ...many(() => data(1, 'p'), 1000));
  for (let i = 1; i < 500; i++) {
    client.write(
      headers(idOf(i), request('POST', '/'), 0),
      data(idOf(i), 'body'),
      headers(idOf(i), [['x', 'y']]),
    );
    await client.answered(idOf(i));
  }
  await client.settle();
  t.equal(client.goAway, undefined);
  await served.emptied(client);
});

import t from 'tap';
import {
  data,
  encode,
  type Fields,
  FLAG,
  FRAME,
  frame,
  GET,
  HOLD,
  type Http2Client,
  headers,
  POST,
  ping,
  request,
  rst,
  Served,
  settings,
  uint32,
  windowUpdate,
} from './harness.ts';

/** Sends the same thing again and again until the connection is over. */
async function flood(client: Http2Client, make: (i: number) => Buffer, most = 20_000): Promise<number> {
  let sent = 0;
  while (!client.ended && sent < most) {
    for (let i = 0; i < 100; i++) client.write(make(sent++));
    await new Promise(setImmediate);
  }
  await client.end();
  return sent;
}

t.test(
  'RFC 9113 §5.1.2: more streams at a time than lbd allows are refused, and may come again',
  async (t) => {
    const served = await Served.start(t);
    const client = await served.open();
    for (let i = 0; i < 101; i++) client.write(headers(1 + 2 * i, HOLD));
    t.match(await client.answered(201), { reset: 'refusedStream', status: 0 });
    client.write(rst(1), headers(203, GET));
    t.match(await client.answered(203), { status: 200 });
  },
);

t.test('§10.5: floods end the connection with ENHANCE_YOUR_CALM, and leave a line in the log', async (t) => {
  const served = await Served.start(t, { more: 'access_log: { path: /log }' });
  const update = Buffer.concat([uint32(1), Buffer.from('u=1')]);
  const kinds: [name: string, make: (i: number) => Buffer, why: string][] = [
    [
      'CVE-2023-44487 resets',
      (i) => Buffer.concat([headers(1 + 2 * i, HOLD), rst(1 + 2 * i)]),
      'too many streams are reset',
    ],
    [
      'resets that lbd is made to send',
      (i) => headers(1 + 2 * i, [...GET, ['X', 'y']]),
      'too many streams are reset',
    ],
    [
      'CVE-2025-8671 windows that make lbd reset',
      (i) => Buffer.concat([headers(1 + 2 * i, HOLD), windowUpdate(1 + 2 * i, 0)]),
      'too many streams are reset',
    ],
    ['CVE-2019-9512 PING', () => ping(), 'too many frames to no end'],
    ['CVE-2019-9515 SETTINGS', () => settings(), 'too many frames to no end'],
    [
      'CVE-2019-9513 PRIORITY',
      () => frame(FRAME.priority, 0, 1, Buffer.alloc(5)),
      'too many frames to no end',
    ],
    ['CVE-2019-9511 tiny windows', () => windowUpdate(0, 1), 'too many frames to no end'],
    ['PRIORITY_UPDATE', () => frame(FRAME.priorityUpdate, 0, 0, update), 'too many frames to no end'],
    ['frames that nobody knows', () => frame(0x2a, 0, 0), 'too many frames to no end'],
  ];
  for (const [name, make, why] of kinds) {
    const client = await served.open();
    await flood(client, make);
    t.equal(client.goAway, 'enhanceYourCalm', name);
    t.equal(client.debug, why, name);
    t.ok(await served.stillServes(), name);
  }
  const lines: string[] = [];
  while (!lines.join().includes('too many frames')) lines.push(...(await served.plane.accessLines()));
  t.match(
    lines.find((line) => line.includes('http2_error')),
    '"reason":"too many',
  );
});

t.test('CVE-2019-9518: empty DATA', async (t) => {
  const served = await Served.start(t);
  const client = await served.open();
  client.write(headers(1, POST, 0));
  await flood(client, () => data(1, ''));
  t.equal(client.goAway, 'enhanceYourCalm');
});

t.test('fields: bytes, fields and pieces of cookies have limits of their own', async (t) => {
  const served = await Served.start(t, { limits: 'head: 4KiB, fields: 20' });
  const client = await served.open();
  const many = (count: number, name = 'x'): Fields =>
    Array.from({ length: count }, (_, i) => [name, String(i)] as const);
  const cases: [fields: Fields, status: number][] = [
    [request('GET', '/', ...many(20)), 200],
    [request('GET', '/', ...many(21)), 431],
    [request('GET', '/', ...many(20, 'cookie')), 200],
    [request('GET', '/', ...many(21, 'cookie')), 431],
    [request('GET', '/', ['x', 'y'.repeat(3000)]), 200],
    [request('GET', '/', ['x', 'y'.repeat(4000)]), 431],
    // RFC 9113 §6.5.2: 32 bytes are added to each field.
    [request('GET', `/${'y'.repeat(3840)}`), 200],
    [request('GET', `/${'y'.repeat(3930)}`), 431],
  ];
  for (const [i, [fields, status]] of cases.entries()) {
    client.write(headers(1 + 2 * i, fields));
    t.match(await client.answered(1 + 2 * i), { status }, `${fields.length} fields: ${status}`);
  }
  t.notOk(client.ended, 'what is too large is one request’s');
});

t.test('a request that is refused is in the log with what is known of it', async (t) => {
  const served = await Served.start(t, { more: 'access_log: { path: /log }', limits: 'head: 1KiB' });
  const client = await served.open();
  client.write(headers(1, request('GET', '/large', ['x', 'y'.repeat(1000)])));
  client.write(headers(3, request('GET', '/odd', ['expect', 'nonsense'])));
  t.match(await client.answered(1), { status: 431 });
  t.match(await client.answered(3), { status: 417 });
  const lines = await served.plane.accessLines(2);
  t.match(
    lines[0],
    /"method":"GET".*"target":"\/large","protocol":"HTTP\/2.0","status":431,"cause":"head_too_large"/,
  );
  t.match(
    lines[1],
    /"method":"GET".*"target":"\/odd","protocol":"HTTP\/2.0","status":417,"cause":"bad_request"/,
  );
});

t.test('CVE-2026-49975: a block of one-byte fields is charged while it is decoded', async (t) => {
  const served = await Served.start(t);
  const client = await served.open();
  const value = 'y'.repeat(4000);
  // The first one puts it into the table (RFC 7541 §6.2.1); each byte behind it is the whole field once more.
  const added = encode([['x', value]]);
  added[0] = 0x40;
  const bomb = Buffer.concat([encode(GET), added, Buffer.alloc(12_000, 0xbe)]);
  client.write(frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, bomb));
  t.match(await client.answered(1), { status: 431 });
  client.write(headers(3, GET));
  t.match(await client.answered(3), { status: 200 });
});

t.test('a head that does not come in time', async (t) => {
  const served = await Served.start(t, { timeouts: 'head: 300ms' });
  const silent = await served.connect();
  silent.acknowledges = false;
  await silent.end();
  t.equal(silent.goAway, 'enhanceYourCalm');
  const client = await served.open();
  client.write(frame(FRAME.headers, FLAG.endStream, 1, encode(GET).subarray(0, 5)));
  await client.end();
  t.equal(client.goAway, 'enhanceYourCalm');
  t.equal(client.debug, 'head too slow');
});

t.test('honest use stays far below', async (t) => {
  const served = await Served.start(t);
  await t.test('a browser that leaves a page with a hundred pictures', async (t) => {
    const client = await served.open();
    for (let i = 0; i < 100; i++) client.write(headers(1 + 2 * i, HOLD));
    for (let i = 0; i < 100; i++) client.write(rst(1 + 2 * i));
    client.write(headers(201, GET));
    t.match(await client.answered(201), { status: 200 });
  });
  await t.test('thousands of requests, with an update each', async (t) => {
    const client = await served.open();
    for (let i = 0; i < 3000; i += 50) {
      for (let k = i; k < i + 50; k++) client.write(headers(1 + 2 * k, GET), windowUpdate(0, 2));
      await client.answered(1 + 2 * (i + 49));
    }
    t.equal(client.goAway, undefined);
  });
});

import t from 'tap';
import { answering, OK, Plane, RawOrigin } from '../../harness.ts';
import {
  encode,
  type Fields,
  FLAG,
  FRAME,
  frame,
  GET,
  Http2Client,
  headers,
  request,
  Served,
} from './harness.ts';

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

t.test('a request that is refused is not logged as that of the client before it', async (t) => {
  const origin = await RawOrigin.start(t, answering(OK));
  const plane = await Plane.start(
    t,
    `
access_log: { path: /log }
frontends:
  web: { bind: ["127.0.0.1:PORT"], mode: http, pool: web, protocols: [h2], trusted_proxies: [127.0.0.0/8] }
pools: { web: { backends: { s1: { address: "127.0.0.1:${origin.port}" } } } }
`,
  );
  const client = await Http2Client.open(t, plane.port);
  client.write(headers(1, request('GET', '/', ['x-forwarded-for', '192.0.2.9'])));
  t.match(await client.answered(1), { status: 200 });
  client.write(headers(3, request('GET', '/', ['x', 'a\nb'])));
  t.match(await client.answered(3), { status: 400 });
  const lines = (await plane.accessLines(2)).map((line) => JSON.parse(line));
  t.match(lines, [{ client: '192.0.2.9' }, { client: '127.0.0.1', status: 400 }]);
});

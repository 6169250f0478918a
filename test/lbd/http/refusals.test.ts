import t from 'tap';
import { OK } from '../harness.ts';
import { always, Exchange, send, WAYS } from './exchange.ts';
import { GET, REFUSED } from './h1/refused-heads.ts';

const POST = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n';

for (const way of WAYS)
  t.test(`a refused head, ${way}: answered, closed, and no backend hears of it`, async (t) => {
    const exchange = await Exchange.start(t);
    exchange.reply = always(OK);
    await Promise.all(
      REFUSED.map(async ([rule, text, fault, status = 400]) => {
        const client = await exchange.client();
        await send(client, text, way);
        const answer = await client.end();
        t.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `), rule);
        t.match(answer, '\r\nConnection: close\r\n', rule);
        t.ok(answer.endsWith(`: ${fault}\n`), `${rule}: says ${fault}`);
        client.socket.end();
        await client.until(() => false);
      }),
    );
    t.same(exchange.origin.received, []);
    t.equal(exchange.plane.active, 0);
  });

/** RFC 9112 §7.1: faults in a chunked body; the head was fine and is on its way already. */
const BAD_CHUNKS: readonly [rule: string, body: string][] = [
  ['no size', '\r\nhello\r\n'],
  ['size is no number', 'x\r\n'],
  ['size with 0x', '0x5\r\nhello\r\n0\r\n\r\n'],
  ['size with a sign', '+5\r\nhello\r\n0\r\n\r\n'],
  ['white space before the size', ' 5\r\nhello\r\n0\r\n\r\n'],
  ['white space behind the size', '5 \r\nhello\r\n0\r\n\r\n'],
  ['underscore in the size', '0_5\r\nhello\r\n0\r\n\r\n'],
  ['size too large', 'fffffffff\r\n'],
  ['bare LF behind the size', '5\nhello\r\n0\r\n\r\n'],
  ['bare CR behind the size', '5\rhello\r\n0\r\n\r\n'],
  ['bare LF in an extension', '5;a\nhello\r\n0\r\n\r\n'],
  ['control byte in an extension', '5;\x01\r\nhello\r\n0\r\n\r\n'],
  ['extensions without end', `5;${'a'.repeat(5000)}\r\n`],
  ['extensions without end over many chunks', `${`1;${'a'.repeat(100)}\r\nx\r\n`.repeat(50)}0\r\n\r\n`],
  ['chunk longer than its size', '4\r\nhello\r\n0\r\n\r\n'],
  ['chunk shorter than its size', '6\r\nhello\r\n0\r\n\r\n'],
  ['bare LF behind a chunk', '5\r\nhello\n0\r\n\r\n'],
  ['bare LF at the end', '5\r\nhello\r\n0\r\n\n'],
  ['bare LF behind a trailer', '0\r\nA: b\n\r\n'],
  ['NUL in a trailer', '0\r\nA: \0\r\n\r\n'],
  ['trailer without a colon', '0\r\nGET / HTTP/1.1\r\n\r\n'],
  ['folded trailer', '0\r\nA: b\r\n c\r\n\r\n'],
  ['trailers without end', `0\r\n${'A: b\r\n'.repeat(2000)}\r\n`],
];

for (const way of WAYS)
  t.test(`RFC 9112 §7.1 a refused chunk, ${way}: 400, closed, the backend gets no end of body`, async (t) => {
    const exchange = await Exchange.start(t);
    exchange.reply = (socket, data) => data.endsWith('0\r\n\r\n') && socket.end(OK);
    await Promise.all(
      BAD_CHUNKS.map(async ([rule, body]) => {
        const client = await exchange.client();
        await send(client, POST + body, way);
        const answer = await client.end();
        t.match(answer, /^HTTP\/1\.1 400 /, rule);
        client.socket.end();
        await client.until(() => false);
      }),
    );
    await exchange.origin.until(() => exchange.origin.received.every((text) => /<(end|reset)>/.test(text)));
    for (const text of exchange.origin.received) t.notMatch(text, '\r\n0\r\n\r\n', 'no last chunk');
    t.equal(exchange.plane.active, 0);
  });

t.test('limits of a head', async (t) => {
  const exchange = await Exchange.start(t, { limits: 'head: 1KiB, fields: 5' });
  exchange.reply = always(OK);
  const sized = (bytes: number) => `${GET}X: ${'a'.repeat(bytes - GET.length - 7)}\r\n\r\n`;
  const cases: readonly [string, string, number][] = [
    ['as large as allowed', sized(1024), 200],
    ['one byte more', sized(1025), 431],
    ['an endless field', `${GET}X: ${'a'.repeat(5000)}`, 431],
    ['an endless target', `GET /${'a'.repeat(5000)}`, 431],
    ['an endless target byte by byte', `GET /${'a'.repeat(1100)}`, 431],
    ['as many fields as allowed', `${GET}${'X: y\r\n'.repeat(4)}\r\n`, 200],
    ['one field more', `${GET}${'X: y\r\n'.repeat(5)}\r\n`, 431],
  ];
  for (const [rule, text, status] of cases)
    for (const way of WAYS) {
      const client = await exchange.client();
      await send(client, text, way);
      const answer = await client.until((text) => text.includes('\r\n\r\n'));
      t.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `), `${rule}, ${way}`);
      client.socket.destroy();
    }
});

t.test('RFC 9112 §2.2 empty lines before a request are passed over, between requests too', async (t) => {
  const exchange = await Exchange.start(t);
  exchange.reply = always(OK);
  for (const way of WAYS) {
    const client = await exchange.client();
    await send(client, `\r\n\r\n\r\n${GET}\r\n\r\n\r\n${GET}\r\n`, way);
    t.equal(await client.until((text) => text.length >= 2 * OK.length), OK.repeat(2), way);
  }
});

t.test('RFC 9112 §2.2 an empty line and then silence is no request: nobody gets a 408', async (t) => {
  const exchange = await Exchange.start(t, { timeouts: 'head: 100ms, keep_alive: 100ms' });
  exchange.reply = always(OK);
  for (const way of WAYS)
    for (const [what, text, answer] of [
      ['behind a body', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\r\n', OK],
      ['behind a request', `${GET}\r\n\r\n`, OK],
      ['in the place of a request', '\r\n\r\n', ''],
      ['half of one', `${GET}\r\n\r`, OK],
    ] as const) {
      const client = await exchange.client();
      await send(client, text, way);
      t.equal(await client.end(), answer, `${what}, ${way}`);
      client.socket.destroy();
    }
});

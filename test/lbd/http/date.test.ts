import t from 'tap';
import { dateBlock } from '../../../lbd/http/date.ts';
import { OK } from '../harness.ts';
import { always, Exchange } from './exchange.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const DATE = /\r\nDate: (Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n/;

t.test('RFC 9110 §6.6.1 an answer without Date gets one, whatever its framing', async (t) => {
  const exchange = await Exchange.start(t);
  for (const [what, answer] of [
    ['a length', OK],
    ['chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n'],
    ['until the close', 'HTTP/1.1 200 OK\r\n\r\nok'],
    ['no body', 'HTTP/1.1 304 Not Modified\r\n\r\n'],
    ['HTTP/1.0', 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok'],
  ] as const) {
    exchange.reply = always(answer, true);
    const client = await exchange.client();
    client.write(GET.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
    await client.end();
    t.match(client.raw, DATE, what);
    t.equal(client.raw.split('Date: ').length, 2, `${what}: one`);
    const said = Date.parse(/Date: (.*)\r/.exec(client.raw)![1]!);
    t.ok(said <= Date.now() && said > Date.now() - 3_600_000, `${what}: of today`);
    client.socket.destroy();
  }
});

t.test('RFC 9110 §6.6.1 the Date of a backend is left alone', async (t) => {
  const exchange = await Exchange.start(t);
  const dated = 'HTTP/1.1 200 OK\r\ndate: yesterday\r\nContent-Length: 2\r\n\r\nok';
  exchange.reply = always(dated);
  const client = await exchange.client();
  client.write(GET);
  await client.until((text) => text.endsWith('ok'));
  t.equal(client.raw, dated);
  client.write(GET);
  exchange.reply = always(OK);
  await client.until((text) => text.endsWith(OK));
  t.match(client.raw.slice(dated.length), DATE, 'nothing stays from the answer before');
});

t.test('RFC 9110 §6.6.1 answers of lbd itself have a Date', async (t) => {
  const exchange = await Exchange.start(t);
  exchange.reply = always('HTTP/2.0 200 OK\r\n\r\n');
  for (const [request, status] of [
    [GET, 502],
    ['GET / HTTP/9.9\r\n\r\n', 505],
  ] as const) {
    const client = await exchange.client();
    client.write(request);
    await client.until((text) => text.endsWith('\n'));
    t.match(client.raw, new RegExp(`^HTTP/1.1 ${status} `));
    t.match(client.raw, DATE, `${status}`);
    client.socket.destroy();
  }
});

t.test('a 1xx is passed on as it came', async (t) => {
  const exchange = await Exchange.start(t);
  const early = 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n';
  exchange.reply = always(early + OK);
  const client = await exchange.client();
  client.write(GET);
  await client.until((text) => text.endsWith(OK));
  t.ok(client.raw.startsWith(`${early}HTTP/1.1 200 OK\r\n`));
});

t.test('the line is made of the clock', async (t) => {
  t.match(dateBlock().lines.toString(), /^Date: .* GMT\r\n$/);
});

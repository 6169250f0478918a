import t from 'tap';
import { OK } from '../harness.ts';
import { always, Exchange, pieces, type Reply, random } from './exchange.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

/** What a backend must not send (field/proxy.md): the client gets a 502, the connection is not used again. */
const REFUSED: readonly [rule: string, response: string][] = [
  ['RFC 9112 §2.3 HTTP/2.0', 'HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n'],
  ['RFC 9112 §4 no HTTP at all', 'SSH-2.0-OpenSSH_9.2p1\r\n'],
  ['RFC 9112 §4 status is no number', 'HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n'],
  ['RFC 9112 §4 status below 100', 'HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n'],
  ['RFC 9112 §4 status of four digits', 'HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n'],
  ['RFC 9112 §2.2 bare LF after the start line', 'HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n'],
  ['RFC 9112 §2.2 bare CR in the reason', 'HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n'],
  ['RFC 9112 §2.2 bare LF after a field', 'HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n'],
  ['RFC 9112 §2.2 bare LF as the empty line', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n'],
  ['RFC 9112 §2.2 white space before the first field', 'HTTP/1.1 200 OK\r\n Content-Length: 0\r\n\r\n'],
  ['RFC 9112 §5.1 no colon', 'HTTP/1.1 200 OK\r\nContent-Length\r\n\r\n'],
  ['RFC 9112 §5.1 invalid name', 'HTTP/1.1 200 OK\r\nA(: b\r\nContent-Length: 0\r\n\r\n'],
  ['RFC 9110 §5.5 NUL in a value', 'HTTP/1.1 200 OK\r\nA: \0\r\nContent-Length: 0\r\n\r\n'],
  ['RFC 9112 §5.2 folded line', 'HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n'],
  [
    'RFC 9112 §6.1 both framings',
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
  [
    'RFC 9112 §6.1 Transfer-Encoding in a 1xx',
    'HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
  ],
  [
    'RFC 9110 §8.6 Content-Length in a 1xx: is the answer that follows its body?',
    'HTTP/1.1 100 Continue\r\nContent-Length: 38\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
  ],
  ['RFC 9112 §6.1 in HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['RFC 9112 §6.1 unknown coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n'],
  [
    'RFC 9112 §6.1 chunked twice',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
  ...['', '+5', '-5', '0x5', '5_0', '5, 5', '99999999999999999999'].map((value): [string, string] => [
    `RFC 9112 §6.3 Content-Length "${value}"`,
    `HTTP/1.1 200 OK\r\nContent-Length: ${value}\r\n\r\nhello`,
  ]),
  [
    'RFC 9112 §6.3 two Content-Lengths',
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello',
  ],
  ['RFC 9110 §15.2.2 a 101 that nobody asked for', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n'],
  [
    'RFC 9112 §7.1 invalid chunk right behind the head',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n',
  ],
  ['more fields than allowed', `HTTP/1.1 200 OK\r\n${'A: b\r\n'.repeat(101)}\r\n`],
  ['a head without end', `HTTP/1.1 200 OK\r\nA: ${'b'.repeat(20_000)}`],
];

t.test('a refused response, whole and in pieces: 502, and the backend connection is closed', async (t) => {
  const exchange = await Exchange.start(t);
  for (const [rule, response] of REFUSED)
    for (const cut of [false, true]) {
      // In pieces, an invalid chunk comes after the head has left: see the table below.
      if (cut && rule.includes('§7.1')) continue;
      exchange.reply = cut && response.length < 1000 ? inPieces(response) : always(response);
      const client = await exchange.client();
      client.write(GET);
      await client.until((text) => text.includes('\r\n\r\n'));
      t.match(client.text, /^HTTP\/1\.1 502 Bad Gateway\r\n/, `${rule}${cut ? ', in pieces' : ''}`);
      const last = exchange.origin.sockets.length - 1;
      await exchange.origin.until(() => /<(end|reset|close)>/.test(exchange.origin.received[last]!));
      exchange.reply = always(OK);
      client.write(GET);
      t.ok((await client.until((text) => text.endsWith(OK))).endsWith(OK), `${rule}: the client is kept`);
      client.socket.destroy();
    }
  t.equal(exchange.plane.active, 0);
});

function inPieces(response: string, thenEnd = false): Reply {
  return (socket) => {
    const parts = pieces(response, random(response.length), 9);
    const next = () => {
      const part = parts.shift();
      if (part !== undefined) socket.write(part, 'latin1', next);
      else if (thenEnd) socket.end();
    };
    next();
  };
}

/** After the head has left, only a reset tells the client that the body is not whole (RFC 9112 §8). */
const CUT: readonly [rule: string, head: string, rest: string][] = [
  [
    'RFC 9112 §8 the backend closes within Content-Length',
    'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n',
    'hello',
  ],
  [
    'RFC 9112 §8 the backend closes within a chunk',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
    'a\r\nhello',
  ],
  [
    'RFC 9112 §8 the backend closes before the last chunk',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
    '5\r\nhello\r\n',
  ],
  [
    'RFC 9112 §8 the backend closes before the empty line of the trailers',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
    '5\r\nhello\r\n0\r\n',
  ],
  [
    'RFC 9112 §7.1 an invalid chunk',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n',
    'g\r\n',
  ],
];

for (const version of ['1.0', '1.1'])
  t.test(`a response cut short is a reset, HTTP/${version}`, async (t) => {
    const exchange = await Exchange.start(t);
    for (const [rule, head, rest] of CUT) {
      exchange.reply = (socket) => socket.write(head, 'latin1');
      const client = await exchange.client();
      client.write(`GET / HTTP/${version}\r\nHost: a\r\n\r\n`);
      await client.until((text) => text.includes('\r\n\r\n'));
      exchange.origin.sockets.at(-1)!.end(rest, 'latin1');
      await client.end();
      t.equal(client.closed, 'reset', rule);
    }
    t.equal(exchange.plane.active, 0);
  });

t.test('RFC 9112 §8 a backend that resets while it answers until its close: a reset', async (t) => {
  const exchange = await Exchange.start(t);
  exchange.reply = (socket) => socket.write('HTTP/1.1 200 OK\r\n\r\nhello');
  for (const version of ['1.0', '1.1']) {
    const client = await exchange.client();
    client.write(`GET / HTTP/${version}\r\nHost: a\r\n\r\n`);
    await client.until((text) => text.includes('hello'));
    exchange.origin.sockets.at(-1)!.resetAndDestroy();
    await client.end();
    t.equal(client.closed, 'reset', version);
  }
});

interface Framing {
  readonly rule: string;
  readonly method?: string;
  readonly response: string;
  /** The backend ends its side behind the response. */
  readonly ends?: boolean;
  /** What an HTTP/1.1 client gets, and whether it may go on. */
  readonly to11: string;
  readonly keeps11?: boolean;
  /** The same for HTTP/1.0, which asked for keep-alive. */
  readonly to10: string;
  readonly keeps10?: boolean;
  /** The backend connection is used again. */
  readonly reused?: boolean;
}

const KEEP = 'Connection: keep-alive\r\n';
const CLOSE = 'Connection: close\r\n';
const CHUNKED = 'Transfer-Encoding: chunked\r\n';

/** RFC 9112 §6.3: how long is the body, for each pair of peers. */
const FRAMINGS: readonly Framing[] = [
  {
    rule: 'length',
    response: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
    to11: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
    to10: `HTTP/1.1 200 OK\r\nContent-Length: 5\r\n${KEEP}\r\nhello`,
  },
  {
    rule: 'length 0',
    response: 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
    to11: 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
    to10: `HTTP/1.1 200 OK\r\nContent-Length: 0\r\n${KEEP}\r\n`,
  },
  {
    rule: 'length, the backend closes',
    response: `HTTP/1.1 200 OK\r\nContent-Length: 5\r\n${CLOSE}\r\nhello`,
    ends: true,
    to11: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
    to10: `HTTP/1.1 200 OK\r\nContent-Length: 5\r\n${KEEP}\r\nhello`,
    reused: false,
  },
  {
    rule: 'length from HTTP/1.0',
    response: 'HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello',
    ends: true,
    to11: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
    to10: `HTTP/1.1 200 OK\r\nContent-Length: 5\r\n${KEEP}\r\nhello`,
    reused: false,
  },
  {
    rule: 'length from HTTP/1.0 kept alive',
    response: `HTTP/1.0 200 OK\r\nContent-Length: 5\r\n${KEEP}\r\nhello`,
    to11: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
    to10: `HTTP/1.1 200 OK\r\nContent-Length: 5\r\n${KEEP}\r\nhello`,
  },
  {
    rule: 'chunked',
    response: `HTTP/1.1 200 OK\r\n${CHUNKED}\r\n5\r\nhello\r\n0\r\n\r\n`,
    to11: `HTTP/1.1 200 OK\r\n${CHUNKED}\r\n5\r\nhello\r\n0\r\n\r\n`,
    to10: `HTTP/1.1 200 OK\r\n${CLOSE}\r\nhello`,
    keeps10: false,
  },
  {
    rule: 'chunked, §7.1.1 extension dropped, trailers but for framing passed',
    response: `HTTP/1.1 200 OK\r\nTrailer: A\r\n${CHUNKED}\r\n5;a=b;c="d"\r\nhello\r\n0;x\r\nA: b\r\nContent-Length: 9\r\n\r\n`,
    to11: `HTTP/1.1 200 OK\r\nTrailer: A\r\n${CHUNKED}\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n`,
    to10: `HTTP/1.1 200 OK\r\n${CLOSE}\r\nhello`,
    keeps10: false,
  },
  {
    rule: 'chunked, empty',
    response: `HTTP/1.1 200 OK\r\n${CHUNKED}\r\n0\r\n\r\n`,
    to11: `HTTP/1.1 200 OK\r\n${CHUNKED}\r\n0\r\n\r\n`,
    to10: `HTTP/1.1 200 OK\r\n${CLOSE}\r\n`,
    keeps10: false,
  },
  {
    rule: 'until close',
    response: 'HTTP/1.1 200 OK\r\n\r\nhello',
    ends: true,
    to11: `HTTP/1.1 200 OK\r\n${CHUNKED}\r\n5\r\nhello\r\n0\r\n\r\n`,
    to10: `HTTP/1.1 200 OK\r\n${CLOSE}\r\nhello`,
    keeps10: false,
    reused: false,
  },
  {
    rule: 'until close, empty',
    response: 'HTTP/1.1 200 OK\r\n\r\n',
    ends: true,
    to11: `HTTP/1.1 200 OK\r\n${CHUNKED}\r\n0\r\n\r\n`,
    to10: `HTTP/1.1 200 OK\r\n${CLOSE}\r\n`,
    keeps10: false,
    reused: false,
  },
  ...['HEAD', 'GET'].map((method): Framing => {
    const status = method === 'HEAD' ? '200 OK' : '304 Not Modified';
    return {
      rule: `no body for ${method} ${status}, with a length`,
      method,
      response: `HTTP/1.1 ${status}\r\nContent-Length: 5\r\n\r\n`,
      to11: `HTTP/1.1 ${status}\r\nContent-Length: 5\r\n\r\n`,
      to10: `HTTP/1.1 ${status}\r\nContent-Length: 5\r\n${KEEP}\r\n`,
    };
  }),
  {
    rule: 'no body for HEAD, chunked',
    method: 'HEAD',
    response: `HTTP/1.1 200 OK\r\n${CHUNKED}\r\n`,
    to11: 'HTTP/1.1 200 OK\r\n\r\n',
    to10: `HTTP/1.1 200 OK\r\n${KEEP}\r\n`,
  },
  {
    rule: 'no body for HEAD, no framing',
    method: 'HEAD',
    response: 'HTTP/1.1 200 OK\r\n\r\n',
    to11: 'HTTP/1.1 200 OK\r\n\r\n',
    to10: `HTTP/1.1 200 OK\r\n${KEEP}\r\n`,
  },
  {
    rule: 'no body for 204',
    response: 'HTTP/1.1 204 No Content\r\n\r\n',
    to11: 'HTTP/1.1 204 No Content\r\n\r\n',
    to10: `HTTP/1.1 204 No Content\r\n${KEEP}\r\n`,
  },
  {
    rule: 'RFC 9110 §8.6 no Content-Length in a 204; the body that came is nobody\u2019s',
    response: 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello',
    to11: 'HTTP/1.1 204 No Content\r\n\r\n',
    to10: `HTTP/1.1 204 No Content\r\n${KEEP}\r\n`,
    reused: false,
  },
  {
    rule: 'RFC 9110 §15.2 1xx before the answer, which HTTP/1.0 does not know',
    response:
      'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: keep-alive\r\n\r\n' +
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
    to11:
      'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n' +
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
    to10: `HTTP/1.1 200 OK\r\nContent-Length: 5\r\n${KEEP}\r\nhello`,
  },
  {
    rule: 'RFC 9112 §4 no reason, and no space before it',
    response: 'HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello',
    to11: 'HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello',
    to10: `HTTP/1.1 200\r\nContent-Length: 5\r\n${KEEP}\r\nhello`,
  },
  {
    rule: 'RFC 9112 §5.1 white space before a colon is stripped',
    response: 'HTTP/1.1 200 OK\r\nX \t: y\r\nContent-Length : 5\r\n\r\nhello',
    to11: 'HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 5\r\n\r\nhello',
    to10: `HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 5\r\n${KEEP}\r\nhello`,
  },
  {
    rule: 'RFC 9110 §7.6.1 fields of this hop',
    response:
      'HTTP/1.1 200 OK\r\nConnection: X-Secret, keep-alive\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 5\r\nUpgrade: h2\r\nX: y\r\n\r\nhello',
    to11: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello',
    to10: `HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n${KEEP}\r\nhello`,
  },
  {
    rule: 'RFC 9110 §7.6.1 several Connection lines, all counting',
    response:
      'HTTP/1.1 200 OK\r\nConnection: X-Secret, close\r\nX-Secret: 1\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello',
    to11: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
    to10: `HTTP/1.1 200 OK\r\nContent-Length: 5\r\n${KEEP}\r\nhello`,
    reused: false,
  },
  {
    rule: 'RFC 9110 §7.6.1 a token that only contains "close" closes nothing',
    response: 'HTTP/1.1 200 OK\r\nConnection: x-close-x\r\nContent-Length: 5\r\n\r\nhello',
    to11: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
    to10: `HTTP/1.1 200 OK\r\nContent-Length: 5\r\n${KEEP}\r\nhello`,
  },
  {
    rule: 'RFC 9110 §7.6.1 Connection cannot strip Content-Length',
    response: 'HTTP/1.1 200 OK\r\nConnection: Content-Length\r\nContent-Length: 5\r\n\r\nhello',
    to11: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
    to10: `HTTP/1.1 200 OK\r\nContent-Length: 5\r\n${KEEP}\r\nhello`,
  },
  {
    rule: 'RFC 9112 §2.3 the proxy speaks for itself, whatever minor version the backend has',
    response: 'HTTP/1.7 200 OK\r\nContent-Length: 5\r\n\r\nhello',
    to11: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
    to10: `HTTP/1.1 200 OK\r\nContent-Length: 5\r\n${KEEP}\r\nhello`,
  },
  {
    rule: 'RFC 9112 §9.2 bytes behind the response belong to nobody',
    response:
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil',
    to11: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
    to10: `HTTP/1.1 200 OK\r\nContent-Length: 5\r\n${KEEP}\r\nhello`,
    reused: false,
  },
];

for (const cut of [false, true])
  for (const version of ['1.1', '1.0'])
    t.test(`RFC 9112 §6.3 framing to HTTP/${version}${cut ? ', response in pieces' : ''}`, async (t) => {
      const exchange = await Exchange.start(t);
      for (const framing of FRAMINGS) {
        const { rule, method = 'GET', response, ends = false, reused = true } = framing;
        const wanted = version === '1.1' ? framing.to11 : framing.to10;
        const keeps = (version === '1.1' ? framing.keeps11 : framing.keeps10) ?? true;
        const reply = cut ? inPieces(response, ends) : always(response, ends);
        let used = -1;
        exchange.reply = (socket, data, connection) => {
          used = connection;
          reply(socket, data, connection);
        };
        const client = await exchange.client();
        client.write(`${method} /x HTTP/${version}\r\nHost: a\r\n${version === '1.0' ? KEEP : ''}\r\n`);
        const got = await client.until((text) => keeps && unchunked(text).length >= unchunked(wanted).length);
        t.equal(unchunked(got), unchunked(wanted), rule);
        if (keeps) {
          exchange.reply = always(OK);
          client.write('GET /next HTTP/1.1\r\nHost: a\r\n\r\n');
          await client.until((text) => text.endsWith(OK));
          t.ok(client.text.endsWith(OK), `${rule}: the client connection goes on`);
        } else t.equal(client.closed, 'no', `${rule}: an orderly end`);
        client.socket.destroy();
        const { received, sockets } = exchange.origin;
        if (!reused) {
          await exchange.origin.until(() => /<(end|reset|close)>/.test(received[used]!));
          continue;
        }
        const before = sockets.length;
        exchange.reply = always(OK);
        const second = await exchange.client();
        second.write(GET);
        await second.until((text) => text === OK);
        t.equal(sockets.length, before, `${rule}: the backend connection is used again`);
        second.socket.destroy();
      }
      t.equal(exchange.plane.active, 0);
    });

/** A response in pieces may come in other chunks; that is the one thing that may differ. */
function unchunked(text: string): string {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0 || !text.slice(0, end).includes('Transfer-Encoding')) return text;
  return (
    text.slice(0, end + 4) +
    text
      .slice(end + 4)
      .replaceAll(/(?<=^|\r\n)([0-9a-f]+)\r\n/g, '')
      .replaceAll('\r\n', '')
  );
}

t.test('RFC 9110 §15 a status above 599 passes as it came, and counts as a 5xx', async (t) => {
  const exchange = await Exchange.start(t);
  const slot = exchange.plane.slot('web/s1');
  for (const status of ['600 Odd', '999 Request Denied', '799']) {
    const answer = `HTTP/1.1 ${status}\r\nContent-Length: 2\r\n\r\nno`;
    exchange.reply = always(answer);
    const client = await exchange.client();
    client.write(GET);
    t.equal(await client.until((text) => text.endsWith('\r\n\r\nno')), answer);
    client.socket.destroy();
  }
  t.equal(exchange.plane.shared.backendCounter(slot, 'status_5xx'), 3);
});

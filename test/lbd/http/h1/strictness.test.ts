import t from 'tap';
import { OK } from '../../harness.ts';
import { Exchange, send, WAYS, withoutIds } from '../exchange.ts';

const HOST = 'Host: a\r\n';
const PROXIED = 'X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n';
const TAIL = `${PROXIED}X-Forwarded-Host: a\r\n\r\n`;
const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n';
const CHUNKED = 'Transfer-Encoding: chunked\r\n';

/**
 * What a strict proxy makes of messages that look dangerous and are fine (field/proxy.md): byte by byte what
 * reaches the backend. What it refuses is in `refused-heads.ts`. Each one is followed by another request on the same
 * connection, which must arrive as the next one and as nothing else.
 */
const ACCEPTED: readonly [rule: string, sent: string, arrived: string][] = [
  [
    'RFC 9112 §2.2 one empty line before it',
    `\r\nGET / HTTP/1.1\r\n${HOST}\r\n`,
    `GET / HTTP/1.1\r\n${HOST}${TAIL}`,
  ],
  [
    'RFC 3986 §3.2.3 an empty port in Host',
    'GET / HTTP/1.1\r\nHost: a:\r\n\r\n',
    `GET / HTTP/1.1\r\nHost: a:\r\n${PROXIED}X-Forwarded-Host: a:\r\n\r\n`,
  ],
  [
    'RFC 3986 §3.2.3 an empty port in an absolute target',
    `GET http://a:/b HTTP/1.1\r\n${HOST}\r\n`,
    `GET /b HTTP/1.1\r\nHost: a:\r\n${PROXIED}X-Forwarded-Host: a:\r\n\r\n`,
  ],
  [
    'RFC 9112 §2.3 a later minor version',
    `GET / HTTP/1.9\r\n${HOST}\r\n`,
    `GET / HTTP/1.1\r\n${HOST}${TAIL}`,
  ],
  [
    'RFC 9112 §3.1 a method that nobody knows',
    `PURGE / HTTP/1.1\r\n${HOST}\r\n`,
    `PURGE / HTTP/1.1\r\n${HOST}${TAIL}`,
  ],
  [
    'RFC 9112 §3.2.1 a target is sent on as it came',
    `GET /a/../b//c;d?e=%0d%0a&f HTTP/1.1\r\n${HOST}\r\n`,
    `GET /a/../b//c;d?e=%0d%0a&f HTTP/1.1\r\n${HOST}${TAIL}`,
  ],
  [
    'RFC 9112 §3.2.2 an absolute target: its host counts, and Host is said anew',
    'GET http://a/b?c HTTP/1.1\r\nHost: evil\r\n\r\n',
    `GET /b?c HTTP/1.1\r\n${HOST}${TAIL}`,
  ],
  [
    'RFC 9112 §3.2.2 an absolute target without a path',
    'GET HTTP://a HTTP/1.1\r\nHost: evil\r\n\r\n',
    `GET / HTTP/1.1\r\n${HOST}${TAIL}`,
  ],
  [
    'RFC 9112 §3.2.4 asterisk form',
    `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`,
    `OPTIONS * HTTP/1.1\r\n${HOST}${TAIL}`,
  ],
  [
    'RFC 9112 §5 white space around a value: space and tab, nothing else',
    `GET / HTTP/1.1\r\nHost:\t a \t\r\nX:\xa0b\xa0\r\n\r\n`,
    `GET / HTTP/1.1\r\nHost:\t a \t\r\nX:\xa0b\xa0\r\n${TAIL}`,
  ],
  [
    'RFC 9112 §5 an empty value',
    `GET / HTTP/1.1\r\n${HOST}X:\r\n\r\n`,
    `GET / HTTP/1.1\r\n${HOST}X:\r\n${TAIL}`,
  ],
  [
    'RFC 9112 §6.1 the coding is said anew',
    `POST / HTTP/1.1\r\n${HOST}transfer-encoding:\t Chunked \t\r\n\r\n0\r\n\r\n`,
    `POST / HTTP/1.1\r\n${HOST}${CHUNKED}${TAIL}0\r\n\r\n`,
  ],
  [
    'RFC 9112 §6.2 a request within the body is body',
    `POST / HTTP/1.1\r\n${HOST}Content-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`,
    `POST / HTTP/1.1\r\n${HOST}Content-Length: ${SMUGGLED.length}\r\n${TAIL}${SMUGGLED}`,
  ],
  [
    'RFC 9112 §6.3 a length on a request without a body',
    `GET / HTTP/1.1\r\n${HOST}Content-Length: 0\r\n\r\n`,
    `GET / HTTP/1.1\r\n${HOST}Content-Length: 0\r\n${TAIL}`,
  ],
  [
    'RFC 9112 §6.3 a GET with a body',
    `GET / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nabc`,
    `GET / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n${TAIL}abc`,
  ],
  [
    'RFC 9112 §7.1 a size in capitals and with zeros before it is said anew',
    `POST / HTTP/1.1\r\n${HOST}${CHUNKED}\r\n0000000A\r\n0123456789\r\n000\r\n\r\n`,
    `POST / HTTP/1.1\r\n${HOST}${CHUNKED}${TAIL}a\r\n0123456789\r\n0\r\n\r\n`,
  ],
  [
    'RFC 9112 §7.1.1 extensions are dropped, also those that hide a line in quotes',
    `POST / HTTP/1.1\r\n${HOST}${CHUNKED}\r\n3;a="b c";d\r\nabc\r\n0;e\r\n\r\n`,
    `POST / HTTP/1.1\r\n${HOST}${CHUNKED}${TAIL}3\r\nabc\r\n0\r\n\r\n`,
  ],
  [
    'RFC 9110 §6.5.1 trailers of framing, routing and authentication are dropped',
    `POST / HTTP/1.1\r\n${HOST}Trailer: Host\r\n${CHUNKED}\r\n3\r\nabc\r\n0\r\nHost: b\r\nContent-Length: 9\r\nAuthorization: x\r\n\r\n`,
    `POST / HTTP/1.1\r\n${HOST}Trailer: Host\r\n${CHUNKED}${TAIL}3\r\nabc\r\n0\r\n\r\n`,
  ],
  [
    'RFC 9112 §7.1 a chunk that looks like the end is data',
    `POST / HTTP/1.1\r\n${HOST}${CHUNKED}\r\n5\r\n0\r\n\r\n\r\n0\r\n\r\n`,
    `POST / HTTP/1.1\r\n${HOST}${CHUNKED}${TAIL}5\r\n0\r\n\r\n\r\n0\r\n\r\n`,
  ],
  [
    'RFC 9110 §7.6.1 fields that Connection names end here',
    `GET / HTTP/1.1\r\n${HOST}X-Secret: 1\r\nConnection: x-secret,, "x" ,X-Other\r\nx-other: 2\r\nY: 3\r\n\r\n`,
    `GET / HTTP/1.1\r\n${HOST}Y: 3\r\n${TAIL}`,
  ],
  [
    'RFC 9110 §7.6.1 what is no token between its commas is no option',
    `GET / HTTP/1.1\r\n${HOST}Connection:\xff upgrade, x close, close;q=1, "close"\r\nUpgrade: websocket\r\n\r\n`,
    `GET / HTTP/1.1\r\n${HOST}${TAIL}`,
  ],
  [
    'GHSA-ggv3-7p47-pfv8 Connection cannot take framing or Host away',
    `POST / HTTP/1.1\r\n${HOST}Connection: Content-Length, Host\r\nContent-Length: 3\r\n\r\nabc`,
    `POST / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n${TAIL}abc`,
  ],
  [
    'GHSA-ggv3-7p47-pfv8 Connection cannot take the coding away',
    `POST / HTTP/1.1\r\n${HOST}Connection: Transfer-Encoding\r\n${CHUNKED}\r\n3\r\nabc\r\n0\r\n\r\n`,
    `POST / HTTP/1.1\r\n${HOST}${CHUNKED}${TAIL}3\r\nabc\r\n0\r\n\r\n`,
  ],
  [
    'RFC 9110 §7.6.1 Connection cannot take away who asked',
    `GET / HTTP/1.1\r\n${HOST}Connection: X-Forwarded-For, X-Forwarded-Proto, X-Request-Id\r\n\r\n`,
    `GET / HTTP/1.1\r\n${HOST}${TAIL}`,
  ],
  [
    'RFC 9110 §7.6.1 fields of one hop end here, named or not',
    `GET / HTTP/1.1\r\n${HOST}Keep-Alive: 5\r\nProxy-Connection: close\r\nTE: gzip\r\nTrailer: X\r\n\r\n`,
    `GET / HTTP/1.1\r\n${HOST}${TAIL}`,
  ],
  [
    'RFC 9110 §7.8 no upgrade to HTTP/2 in the clear',
    `GET / HTTP/1.1\r\n${HOST}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n`,
    `GET / HTTP/1.1\r\n${HOST}${TAIL}`,
  ],
  [
    'RFC 9110 §7.8 no upgrade with a body',
    `POST / HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc`,
    `POST / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n${TAIL}abc`,
  ],
];

const NEXT = `GET /next HTTP/1.1\r\n${HOST}\r\n`;
const NEXT_ARRIVED = `GET /next HTTP/1.1\r\n${HOST}${TAIL}`;

for (const way of WAYS)
  t.test(`what is let through arrives as one request and nothing is smuggled, ${way}`, async (t) => {
    const exchange = await Exchange.start(t);
    const { origin } = exchange;
    let arrived = '';
    let answer = () => {};
    exchange.reply = (socket, data) => {
      arrived += data;
      answer = () => socket.write(OK, 'latin1');
    };
    for (const [rule, sent, wanted] of ACCEPTED) {
      const client = await exchange.client();
      void send(client, sent + NEXT, way);
      for (const whole of [wanted, NEXT_ARRIVED]) {
        arrived = '';
        const came = origin.until(() => asOneChunk(withoutIds(arrived)) === whole || arrived.length > 2000);
        await Promise.race([came, client.end()]);
        t.equal(asOneChunk(withoutIds(arrived)), whole, rule);
        answer();
      }
      t.equal(await client.until((text) => text.length >= 2 * OK.length), OK + OK, rule);
      client.socket.destroy();
    }
    t.notMatch(origin.received.join(''), /<(end|reset)>/, 'no backend connection was spoilt');
    t.equal(exchange.plane.active, 0);
  });

/** A chunked body as one chunk, because one that came in pieces is sent on in pieces. */
function asOneChunk(text: string): string {
  const start = text.indexOf('\r\n\r\n') + 4;
  if (!text.slice(0, start).includes(CHUNKED)) return text;
  let data = '';
  for (let rest = text.slice(start); ; ) {
    const size = /^([0-9a-f]+)\r\n/.exec(rest);
    if (size === null) return text;
    const length = Number.parseInt(size[1]!, 16);
    const body = size[0].length;
    if (length === 0) {
      const chunk = data === '' ? '' : `${data.length.toString(16)}\r\n${data}\r\n`;
      return text.slice(0, start) + chunk + rest;
    }
    data += rest.slice(body, body + length);
    rest = rest.slice(body + length + 2);
  }
}

/** Well-formed requests from which mutations start. */
export const REQUESTS: readonly string[] = [
  'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET /a/b?c=d&e HTTP/1.1\r\nHost: shop.example:8080\r\nUser-Agent: x/1 (y)\r\nAccept: */*\r\nCookie: a=b; c=d\r\n\r\n',
  'POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello',
  'POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /2 HTTP/1.1\r\nHost: a\r\n\r\n',
  'POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  'POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
  'PUT /x HTTP/1.0\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc',
  'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET http://a.example/b HTTP/1.1\r\nHost: a.example\r\n\r\n',
  'HEAD / HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close, x\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n',
];

/** Well-formed answers to one request, some with a 1xx before them. */
export const RESPONSES: readonly string[] = [
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5;a=b\r\nhello\r\n2\r\nyy\r\n0\r\nX: y\r\n\r\n',
  'HTTP/1.1 204 No Content\r\nServer: x/1 (y)\r\n\r\n',
  'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 5\r\n\r\n',
  'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end',
  'HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc',
  'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
  'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 301 \r\nLocation: /b\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 500\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 4\r\n\r\noops',
];

/** What mutations put in: bytes and lines over which parsers are known to differ. */
const SPICE = [
  ...['\r', '\n', '\r\n', '\r\n\r\n', '\n\n', '\n\r\n', '\r\r\n', ' ', '\t', '\x0b', '\x0c', '\0', '\x7f'],
  ...[
    '\x80',
    '\xa0',
    '\xff',
    ':',
    ';',
    ',',
    '#',
    '"',
    '_',
    '/',
    'http://',
    'HTTP/1.1',
    'HTTP/1.0',
    'HTTP/0.9',
  ],
  'Content-Length: 3\r\n',
  'Content-Length: +3\r\n',
  'Content-Length: 0x3\r\n',
  'Content-Length: 03\r\n',
  'Content-Length: 3 \r\n',
  'Content-Length:\r\n',
  'content-length:5\r\n',
  'Content-Length: 5, 5\r\n',
  'Content-Length : 5\r\n',
  'Content_Length: 5\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding: CHUNKED\r\n',
  'Transfer-Encoding: identity\r\n',
  'Transfer-Encoding:\tchunked\r\n',
  'Transfer-Encoding:\r\n chunked\r\n',
  'Transfer-Encoding: chunked, x\r\n',
  'Transfer-Encoding: x, chunked\r\n',
  'Transfer-Encoding: xchunked\r\n',
  'Transfer-Encoding: chunked;q=1\r\n',
  'Transfer-Encoding: "chunked"\r\n',
  'Transfer-Encoding : chunked\r\n',
  'Transfer_Encoding: chunked\r\n',
  'Host: b\r\n',
  'Host:\r\n',
  'X:\r\n y\r\n',
  'X\r\n',
  ': y\r\n',
  'Connection: close\r\n',
  'Connection: keep-alive\r\n',
  'Connection: content-length\r\n',
  'Connection: transfer-encoding, host\r\n',
  'Expect: 100-continue\r\n',
  'Upgrade: h2c\r\n',
  'GET /3 HTTP/1.1\r\nHost: a\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
  ...['0\r\n\r\n', '0', '00', '0x5', '-1', '5', 'a', 'fffffffff', '5 \r\n', '5 ;\r\n', '5;\r\n', '0;a\r\n'],
];

/** One to three small changes at random places. */
export function mutate(text: string, next: () => number): string {
  let out = text;
  for (let n = 1 + Math.floor(next() * 3); n > 0; n--) {
    const at = Math.floor(next() * (out.length + 1));
    const spice = SPICE[Math.floor(next() * SPICE.length)]!;
    switch (Math.floor(next() * 6)) {
      case 0:
        out = out.slice(0, at) + out.slice(at + 1);
        break;
      case 1:
        out = out.slice(0, at) + String.fromCharCode(Math.floor(next() * 256)) + out.slice(at + 1);
        break;
      case 2:
      case 3:
        out = out.slice(0, at) + spice + out.slice(at);
        break;
      case 4: {
        // A line put in at a line's start hits more often than at any byte.
        const lines = out.split('\r\n');
        lines.splice(Math.floor(next() * lines.length), 0, spice.replace(/\r\n$/, ''));
        out = lines.join('\r\n');
        break;
      }
      default: {
        const end = at + Math.floor(next() * 20);
        out = out.slice(0, end) + out.slice(at);
      }
    }
  }
  return out;
}

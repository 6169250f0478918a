import t from 'tap';
import { BODY, RequestHead } from '../../../lbd/http/request-head.ts';

const head = new RequestHead(100);

function parse(text: string): number {
  const bytes = Buffer.from(text, 'latin1');
  return head.parse(bytes, 0, bytes.length, 100);
}

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n';

/** What a strict proxy refuses: field/proxy.md, rule by rule. */
const REFUSED: readonly [rule: string, text: string, fault: string, status?: number][] = [
  ['RFC 9112 §2.2 bare LF after the start line', 'GET / HTTP/1.1\nHost: a\r\n\r\n', 'bare line feed'],
  ['RFC 9112 §2.2 bare LF after a field', 'GET / HTTP/1.1\r\nHost: a\n\r\n', 'bare line feed'],
  ['RFC 9112 §2.2 bare LF as the empty line', 'GET / HTTP/1.1\r\nHost: a\r\n\n', 'bare line feed'],
  [
    'RFC 9112 §2.2 bare CR in a value',
    'GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n',
    'bare carriage return',
  ],
  [
    'RFC 9112 §2.2 space before the first field',
    'GET / HTTP/1.1\r\n Host: a\r\n\r\n',
    'white space before the first field',
  ],
  ['RFC 9112 §2.2 two leading empty lines', '\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n', 'invalid method'],
  ['RFC 9112 §2.3 HTTP/2.0', 'GET / HTTP/2.0\r\nHost: a\r\n\r\n', 'unsupported HTTP version', 505],
  ['RFC 9112 §2.3 lower case', 'GET / http/1.1\r\nHost: a\r\n\r\n', 'unsupported HTTP version'],
  ['RFC 9112 §2.3 HTTP/1.10', 'GET / HTTP/1.10\r\nHost: a\r\n\r\n', 'invalid start line'],
  ['RFC 9112 §3 no version (HTTP/0.9)', 'GET /\r\nHost: a\r\n\r\n', 'invalid target'],
  ['RFC 9112 §3 two spaces', 'GET  / HTTP/1.1\r\nHost: a\r\n\r\n', 'invalid target'],
  ['RFC 9112 §3 tab for a space', 'GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n', 'invalid method'],
  ['RFC 9112 §3 space at the end', 'GET / HTTP/1.1 \r\nHost: a\r\n\r\n', 'invalid start line'],
  ['RFC 9112 §3.1 method is no token', 'G@T / HTTP/1.1\r\nHost: a\r\n\r\n', 'invalid method'],
  ['RFC 9112 §3.1 empty method', ' / HTTP/1.1\r\nHost: a\r\n\r\n', 'invalid method'],
  ['RFC 9112 §3.2 control byte in the target', 'GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n', 'invalid target'],
  ['RFC 9112 §3.2 non-ASCII in the target', 'GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n', 'invalid target'],
  ['RFC 9112 §3.2 fragment in the target', 'GET /#a HTTP/1.1\r\nHost: a\r\n\r\n', 'invalid target'],
  ['RFC 9112 §3.2 relative target', 'GET a HTTP/1.1\r\nHost: a\r\n\r\n', 'invalid target'],
  ['RFC 9112 §3.2 no Host', 'GET / HTTP/1.1\r\n\r\n', 'missing Host'],
  ['RFC 9112 §3.2 two Hosts', `${GET}Host: a\r\n\r\n`, 'repeated Host'],
  ['RFC 9112 §3.2 empty Host', 'GET / HTTP/1.1\r\nHost:\r\n\r\n', 'invalid Host'],
  ['RFC 9112 §3.2 Host with a path', 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n', 'invalid Host'],
  ['RFC 9112 §3.2 Host with userinfo', 'GET / HTTP/1.1\r\nHost: u@a\r\n\r\n', 'invalid Host'],
  ['RFC 9112 §3.2 Host with a list', 'GET / HTTP/1.1\r\nHost: a, b\r\n\r\n', 'invalid Host'],
  [
    'RFC 9112 §3.2.2 absolute target with userinfo',
    'GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n',
    'invalid target',
  ],
  [
    'RFC 9112 §3.2.3 authority form without CONNECT',
    'GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n',
    'invalid target',
  ],
  ['RFC 9112 §3.2.3 CONNECT', 'CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n', 'CONNECT is not supported', 501],
  ['RFC 9112 §3.2.4 asterisk without OPTIONS', 'GET * HTTP/1.1\r\nHost: a\r\n\r\n', 'invalid target'],
  ['RFC 9112 §5.1 space before the colon', `${GET}X : b\r\n\r\n`, 'white space before the colon'],
  ['RFC 9112 §5.1 empty name', `${GET}: b\r\n\r\n`, 'invalid field name'],
  ['RFC 9112 §5.1 no colon', `${GET}X\r\n\r\n`, 'field line without a colon'],
  ['RFC 9112 §5.1 invalid name', `${GET}X(: b\r\n\r\n`, 'invalid field name'],
  ['RFC 9110 §5.5 NUL in a value', `${GET}X: a\0b\r\n\r\n`, 'invalid byte in a field value'],
  ['RFC 9112 §5.2 folded line', `${GET}X: a\r\n b\r\n\r\n`, 'folded field line'],
  [
    'RFC 9112 §6.1 both framings',
    `${GET}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n`,
    'Transfer-Encoding with Content-Length',
  ],
  [
    'RFC 9112 §6.1 in HTTP/1.0',
    'POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n',
    'Transfer-Encoding in HTTP/1.0',
  ],
  [
    'RFC 9112 §6.1 unknown coding',
    `${GET}Transfer-Encoding: gzip, chunked\r\n\r\n`,
    'unsupported Transfer-Encoding',
    501,
  ],
  [
    'RFC 9112 §6.1 chunked twice in one field',
    `${GET}Transfer-Encoding: chunked, chunked\r\n\r\n`,
    'unsupported Transfer-Encoding',
    501,
  ],
  [
    'RFC 9112 §6.1 chunked in two fields',
    `${GET}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`,
    'repeated Transfer-Encoding',
  ],
  [
    'RFC 9112 §6.1 chunked with a control byte',
    `${GET}Transfer-Encoding: \x0bchunked\r\n\r\n`,
    'invalid byte in a field value',
  ],
  ...['', '+1', '-1', '0x1', '1_0', '1 1', '1,1', '9007199254740993', '99999999999999999999'].map(
    (value): [string, string, string] => [
      `RFC 9112 §6.3 Content-Length "${value}"`,
      `${GET}Content-Length: ${value}\r\n\r\n`,
      'invalid Content-Length',
    ],
  ),
  [
    'RFC 9112 §6.3 two Content-Lengths',
    `${GET}Content-Length: 1\r\nContent-Length: 2\r\n\r\n`,
    'differing Content-Length',
  ],
  ['RFC 9110 §10.1.1 unknown expectation', `${GET}Expect: fish\r\n\r\n`, 'unsupported Expect', 417],
  ['more fields than allowed', `${GET}${'X: y\r\n'.repeat(100)}\r\n`, 'too many fields', 431],
];

t.test('refuses, whole and byte by byte', (t) => {
  for (const [rule, text, fault, status = 400] of REFUSED) {
    t.equal(parse(text), -1, rule);
    t.equal(head.fault, fault, `${rule}: fault`);
    t.equal(head.status, status, `${rule}: status`);
    const bytes = Buffer.from(text, 'latin1');
    let after = 0;
    for (let end = 1; end <= bytes.length && after === 0; end++) after = head.parse(bytes, 0, end, 100);
    t.equal(after, -1, `${rule}: byte by byte`);
  }
  t.end();
});

t.test('a complete head is incomplete until its last byte', (t) => {
  const bytes = Buffer.from(`\r\n${GET}Content-Length: 5\r\nConnection: close\r\n\r\nhello`, 'latin1');
  const size = bytes.length - 5;
  for (let end = 0; end < size; end++) t.equal(head.parse(bytes, 0, end, 100), 0, `first ${end} bytes`);
  t.equal(head.parse(bytes, 0, bytes.length, 100), size);
  t.equal(head.body, BODY.length);
  t.equal(head.contentLength, 5);
  t.equal(head.keepAlive, false);
  t.end();
});

t.test('bytes behind the end of what was read do not count', (t) => {
  const bytes = Buffer.from(`${GET}\r\n`, 'latin1');
  t.equal(head.parse(bytes, 0, bytes.length - 1, 100), 0);
  t.end();
});

t.test('facts for the router', (t) => {
  parse(
    'GET /a/b?x=1&y=2 HTTP/1.1\r\nhOsT: Shop.Example:8080\r\nCookie: a=1\r\nX-A: 1\r\ncookie: b=2\r\nx-a: 2\r\n\r\n',
  );
  t.equal(head.method, 'GET');
  t.equal(head.host, 'shop.example');
  t.equal(head.path, '/a/b');
  t.equal(head.query, 'x=1&y=2');
  t.equal(head.header('x-a'), '1, 2');
  t.equal(head.header('cookie'), 'a=1; b=2');
  t.equal(head.header('x-b'), undefined);
  parse('GET http://Other.Example/p?q HTTP/1.1\r\nHost: shop.example\r\n\r\n');
  t.equal(head.host, 'other.example', 'RFC 9112 §3.2.2: the host of an absolute target counts');
  t.equal(head.path, '/p');
  parse('GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n');
  t.equal(head.host, '[::1]');
  t.end();
});

function rendered(text: string): string {
  t.ok(parse(text) > 0, JSON.stringify(text));
  return head.render('192.0.2.1', 'http', 'id-1', '10.0.0.1:80');
}

const TAIL =
  'X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nX-Request-Id: id-1\r\n\r\n';

t.test('render', (t) => {
  t.equal(rendered(`${GET}\r\n`), GET + TAIL, 'adds who asked');
  t.equal(rendered(`${GET}X: 1\r\n\r\n`), `${GET}X: 1\r\n${TAIL}`);
  t.equal(
    rendered(
      `${GET}Connection: close, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nX: 1\r\n\r\n`,
    ),
    `${GET}X: 1\r\n${TAIL}`,
    'RFC 9110 §7.6.1: fields of this hop go',
  );
  t.equal(
    rendered(`${GET}Connection: Content-Length, Host, Transfer-Encoding\r\nContent-Length: 3\r\n\r\n`),
    `${GET}Content-Length: 3\r\n${TAIL}`,
    'framing fields and Host stay, whatever Connection names',
  );
  t.equal(
    rendered(`${GET}Transfer-Encoding: Chunked\r\nX: 1\r\n\r\n`),
    `${GET}X: 1\r\nTransfer-Encoding: chunked\r\n${TAIL}`,
  );
  t.equal(
    rendered(
      `${GET}X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n\r\n`,
    ),
    GET + TAIL.replace('192.0.2.1', '198.51.100.7, 192.0.2.1'),
    'the chain is kept, the rest is ours to say',
  );
  t.equal(rendered(`${GET}X-Request-Id: mine\r\n\r\n`), GET + TAIL.replace('id-1', 'mine'));
  t.equal(rendered(`${GET}X-Request-Id: a b\r\n\r\n`), GET + TAIL, 'an unusable request id is replaced');
  t.equal(
    rendered(`${GET}Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n`),
    `${GET}Connection: upgrade\r\nUpgrade: websocket\r\n${TAIL}`,
  );
  t.equal(
    rendered(`${GET}Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: x\r\n\r\n`),
    GET + TAIL,
    'no h2c',
  );
  t.equal(
    rendered(`${GET}Upgrade: websocket\r\n\r\n`),
    GET + TAIL,
    'RFC 9110 §7.8: only with Connection: upgrade',
  );
  t.equal(
    rendered('GET http://a/p HTTP/1.1\r\nHost: b\r\nX: 1\r\n\r\n'),
    `GET /p HTTP/1.1\r\nHost: a\r\nX: 1\r\n${TAIL}`,
    'RFC 9112 §3.2.2',
  );
  t.equal(rendered('GET http://a?q HTTP/1.1\r\nHost: b\r\n\r\n'), `GET /?q HTTP/1.1\r\nHost: a\r\n${TAIL}`);
  t.equal(
    rendered('GET / HTTP/1.0\r\nX: 1\r\n\r\n'),
    `GET / HTTP/1.1\r\nHost: 10.0.0.1:80\r\nX: 1\r\n${TAIL.replace('X-Forwarded-Host: a\r\n', '')}`,
    'HTTP/1.0 without Host',
  );
  t.equal(
    rendered(`GET / HTTP/1.0\r\n\r\n`),
    `GET / HTTP/1.1\r\nHost: 10.0.0.1:80\r\n${TAIL.replace('X-Forwarded-Host: a\r\n', '')}`,
  );
  t.end();
});

import t from 'tap';
import { BODY } from '../../../../lbd/http/h1/body.ts';
import { RequestHead } from '../../../../lbd/http/h1/request-head.ts';
import { Message } from '../../../../lbd/http/message.ts';
import { matchedPath } from '../../../../lbd/route/route-path.ts';
import { renderSent } from '../sent.ts';
import { GET, REFUSED } from './refused-heads.ts';

const head = new RequestHead(100);

function parse(text: string): number {
  const bytes = Buffer.from(text, 'latin1');
  return head.parse(bytes, 0, bytes.length, 100);
}

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

t.test('a path that is called plain is its own normal form', (t) => {
  const pieces = ['/', '//', '/.', '/..', '.', 'a', '%41', '%', '\\', '~', '*', ';x', '-'];
  const wrong: string[] = [];
  let plain = 0;
  for (const one of pieces)
    for (const two of pieces)
      for (const three of pieces)
        for (const before of ['/', 'http://h/', 'http://h'])
          for (const query of ['', '?/../%41//']) {
            const target = `${before}${one}${two}${three}${query}`;
            if (parse(`GET ${target} HTTP/1.1\r\nHost: h\r\n\r\n`) <= 0 || !head.plainPath) continue;
            plain++;
            if (matchedPath(head.path) !== head.path) wrong.push(target);
          }
  t.same(wrong, []);
  t.ok(plain > 100, `${plain} are plain`);
  t.end();
});

function rendered(text: string): string {
  t.ok(parse(text) > 0, JSON.stringify(text));
  const out = new Message(512);
  renderSent(head, out, head.requestId ?? 'id-1', '10.0.0.1:80');
  return out.toString();
}

const TAIL =
  'X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nX-Request-Id: id-1\r\n\r\n';
/** Of a request that has passed a proxy. */
const LOOPED = TAIL.replace(/\r\n$/, 'CDN-Loop: lbd.web\r\n\r\n');

t.test('render', (t) => {
  t.equal(rendered(`${GET}\r\n`), GET + TAIL, 'adds who asked');
  t.equal(rendered(`${GET}X: 1\r\n\r\n`), `${GET}X: 1\r\n${TAIL}`);
  t.equal(
    rendered(`${GET}Connection: close, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nTE: gzip\r\nX: 1\r\n\r\n`),
    `${GET}X: 1\r\n${TAIL}`,
    'RFC 9110 §7.6.1: fields of this hop go',
  );
  const takesTrailers = `Connection: TE\r\nTE: trailers\r\n`;
  for (const te of ['trailers', 'gzip;q=0.5, Trailers', 'trailers , gzip', 'gzip\r\nTE: trailers\r\nTE: br'])
    for (const connection of ['', 'Connection: TE\r\n', 'Connection: keep-alive, te\r\n'])
      t.equal(
        rendered(`${GET}${connection}TE: ${te}\r\nX: 1\r\n\r\n`),
        `${GET}X: 1\r\n${takesTrailers}${TAIL}`,
        `RFC 9110 §10.1.4: a client that takes trailers, ${connection}${te}`,
      );
  for (const te of ['', 'trailer', 'x-trailers', 'gzip;q=trailers', 'trailers;q=0'])
    t.equal(rendered(`${GET}TE: ${te}\r\n\r\n`), GET + TAIL, `of these it says nothing: ${te}`);
  t.equal(
    rendered('GET / HTTP/1.0\r\nHost: a\r\nTE: trailers\r\n\r\n'),
    GET + TAIL,
    'HTTP/1.0 gets no trailers',
  );
  t.equal(
    rendered(`${GET}Upgrade: websocket\r\nConnection: Upgrade, TE\r\nTE: trailers\r\n\r\n`),
    `${GET}Connection: upgrade\r\nUpgrade: websocket\r\n${TAIL}`,
    'an upgrade is all that its Connection field says',
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
      `${GET}X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nForwarded: for=6\r\n\r\n`,
    ),
    GET + TAIL,
    'who asked is ours to say',
  );
  t.equal(rendered(`${GET}X-Request-Id: mine\r\n\r\n`), GET + LOOPED.replace('id-1', 'mine'));
  t.equal(rendered(`${GET}X-Request-Id: a b\r\n\r\n`), GET + LOOPED, 'an unusable request id is replaced');
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

import t from 'tap';
import { BODY } from '../../../../lbd/http/h1/body.ts';
import { ResponseHead } from '../../../../lbd/http/h1/response-head.ts';
import { Message } from '../../../../lbd/http/message.ts';

const head = new ResponseHead(100);

function parse(text: string, toHead = false): number {
  const bytes = Buffer.from(text, 'latin1');
  return head.parse(bytes, 0, bytes.length, 100, toHead);
}

function rendered(extra: string, upgraded: boolean): string {
  const out = new Message(512);
  head.render(out, extra, upgraded, false);
  return out.toString();
}

t.test('a complete head is incomplete until its last byte, wherever it lies in the buffer', (t) => {
  const text = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\n';
  const bytes = Buffer.from(`junk${text}hello`, 'latin1');
  for (let end = 4; end < 4 + text.length; end++) t.equal(head.parse(bytes, 4, end, 100, false), 0, `${end}`);
  t.equal(head.parse(bytes, 4, bytes.length, 100, false), 4 + text.length);
  t.equal(rendered('', false), text);
  t.end();
});

t.test('RFC 9112 §6.3 body and §9.3 persistence', (t) => {
  const cases: readonly [text: string, body: number, keepAlive: boolean, toHead?: boolean][] = [
    ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', BODY.length, true],
    ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', BODY.none, true, true],
    ['HTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\n\r\n', BODY.chunked, true],
    ['HTTP/1.1 200 OK\r\n\r\n', BODY.untilClose, false],
    ['HTTP/1.1 204 No Content\r\n\r\n', BODY.none, true],
    ['HTTP/1.1 304 Not Modified\r\n\r\n', BODY.none, true],
    ['HTTP/1.1 100 Continue\r\n\r\n', BODY.none, true],
    ['HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n', BODY.length, false],
    ['HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 5\r\n\r\n', BODY.length, true],
    ['HTTP/1.1 200 OK\r\nConnection: x,Close\r\nContent-Length: 5\r\n\r\n', BODY.length, false],
    [
      'HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n',
      BODY.length,
      false,
    ],
    ['HTTP/1.1 200 OK\r\nConnection: disclose\r\nContent-Length: 5\r\n\r\n', BODY.length, true],
  ];
  for (const [text, body, keepAlive, toHead] of cases) {
    t.equal(parse(text, toHead), text.length, text);
    t.equal(head.body, body, text);
    t.equal(head.keepAlive, keepAlive, text);
  }
  t.end();
});

t.test('cookie: the value that a response sets', (t) => {
  parse(
    'HTTP/1.1 200 OK\r\nSet-Cookie: AB=0\r\nset-cookie: A = x=y ; Path=/; A=z\r\nContent-Length: 0\r\n\r\n',
  );
  t.equal(head.cookie('A'), 'x=y');
  t.equal(head.cookie('Path'), undefined);
  t.equal(head.cookie('B'), undefined);
  parse('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
  t.equal(head.cookie('A'), undefined, 'nothing stays from the head before');
  t.end();
});

t.test('render: fields of this hop go, framing is not lost, extra lines come last', (t) => {
  parse(
    'HTTP/1.1 200 OK\r\nConnection: x, content-length, close\r\nX: 1\r\nContent-Length: 5\r\nKeep-Alive: 5\r\nProxy-Connection: y\r\nTrailer: z\r\nUpgrade: h2c\r\nY: 2\r\n\r\n',
  );
  t.equal(rendered('Z: 3\r\n', false), 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nY: 2\r\nZ: 3\r\n\r\n');
  parse('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n');
  t.match(rendered('', true), '\r\nUpgrade: websocket\r\n');
  t.end();
});

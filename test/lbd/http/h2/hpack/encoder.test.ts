import t from 'tap';
import { HpackDecoder } from '../../../../../lbd/http/h2/hpack/decoder.ts';
import {
  encodeField,
  HpackEncoder,
  writeAuthority,
  writeField,
  writeMethod,
  writePath,
  writeScheme,
  writeStatus,
  writeText,
} from '../../../../../lbd/http/h2/hpack/encoder.ts';
import { Message } from '../../../../../lbd/http/message.ts';
import { Collected, decode } from './collected.ts';

/** What a callback writes. */
function written(write: (out: Message) => void): Buffer {
  const out = new Message(16);
  write(out);
  return Buffer.copyBytesFrom(out.bytes, 0, out.length);
}

function field(out: Message, name: string, value: string, sensitive = false): void {
  const line = Buffer.from(`${name}: ${value}\r\n`, 'latin1');
  const valueStart = name.length + 2;
  writeField(out, line, 0, name.length, line, valueStart, valueStart + value.length, sensitive);
}

t.test('C.2.2 the literal without indexing', (t) => {
  t.equal(written((out) => writePath(out, '/sample/path')).toString('hex'), '040c2f73616d706c652f70617468');
  t.end();
});

t.test('C.2.3 the literal never indexed', (t) => {
  const block = written((out) => field(out, 'Password', 'secret', true));
  t.equal(block.toString('hex'), '100870617373776f726406736563726574');
  t.end();
});

t.test('pseudo-fields of requests', (t) => {
  const requestOf = (method: string, scheme: 'http' | 'https', path: string) =>
    written((out) => {
      writeMethod(out, method);
      writeScheme(out, scheme);
      writePath(out, path);
      writeAuthority(out, 'shop.example');
    });
  t.equal(requestOf('GET', 'http', '/').subarray(0, 3).toString('hex'), '828684', 'C.3.1');
  for (const method of ['GET', 'POST', 'HEAD', 'PROPFIND'])
    for (const scheme of ['http', 'https'] as const)
      for (const path of ['/', '/index.html', '*', '/a?b=c', `/${'x'.repeat(300)}`])
        t.strictSame(decode(new HpackDecoder(), requestOf(method, scheme, path)), [
          [':method', method],
          [':scheme', scheme],
          [':path', path],
          [':authority', 'shop.example'],
        ]);
  t.end();
});

t.test('every status, in one byte where the static table has it', (t) => {
  const statuses = Array.from({ length: 900 }, (_, i) => 100 + i);
  const blocks = statuses.map((status) => written((out) => writeStatus(out, status)));
  t.strictSame(
    decode(new HpackDecoder(), Buffer.concat(blocks)),
    statuses.map((status) => [':status', `${status}`]),
  );
  t.strictSame(
    statuses.filter((_, i) => blocks[i]!.length === 1),
    [200, 204, 206, 304, 400, 404, 500],
  );
  t.end();
});

t.test('fields come out in lower case, whatever their name, and as sensitive as they came', (t) => {
  const long = 'v'.repeat(70_000);
  const fields = [
    ['Content-Type', 'text/html; charset=utf-8'],
    ['Set-Cookie', 'a=b'],
    ['X-Frame-Options', 'DENY'],
    ['ETAG', ''],
    ['Via', '1.1 caf\xe9'],
    ['x'.repeat(200), long],
    ['Www-Authenticate', 'v'.repeat(127)],
  ] as const;
  const block = written((out) => {
    for (const [name, value] of fields) field(out, name, value, name === 'Set-Cookie');
  });
  const collected = new Collected();
  t.equal(new HpackDecoder().decode(block, 0, block.length, collected), '');
  t.strictSame(
    collected.fields,
    fields.map(([name, value]) => [name.toLowerCase(), value]),
  );
  t.strictSame(collected.sensitive, ['set-cookie']);
  t.end();
});

t.test('fields of our own, written each time or once', (t) => {
  for (const [name, value] of [
    ['date', 'Mon, 21 Oct 2013 20:13:21 GMT'],
    ['x-request-id', 'x'.repeat(300)],
    ['strict-transport-security', ''],
    ['via', '<<<\xff>>>'],
  ] as const) {
    t.strictSame(
      decode(
        new HpackDecoder(),
        written((out) => writeText(out, name, value)),
      ),
      [[name, value]],
    );
    t.strictSame(decode(new HpackDecoder(), encodeField(name, value)), [[name, value]]);
  }
  t.equal(encodeField('vary', 'accept-encoding').length, 2 + 1 + 11, 'in Huffman code where that is shorter');
  t.end();
});

t.test('RFC 9113 §4.3.1 a peer that makes its table smaller is told once, before the next block', (t) => {
  const encoder = new HpackEncoder();
  const begun = () => written((out) => encoder.begin(out)).toString('hex');
  t.equal(begun(), '', 'nobody has said anything');
  encoder.tableSize(65_536);
  encoder.tableSize(4096);
  t.equal(begun(), '');
  encoder.tableSize(100);
  encoder.tableSize(4096);
  t.equal(begun(), '20', '§4.2: the smallest since the last block counts');
  t.equal(begun(), '');
  encoder.tableSize(0);
  t.equal(begun(), '', 'nothing is below 0');
  t.end();
});

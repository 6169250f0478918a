import fc from 'fast-check';
import t from 'tap';
import { ChunkDecoder } from '../../../../lbd/http/h1/chunked.ts';

/** Feeds a text in pieces, each in its own buffer, as reads do. */
function decode(
  text: string,
  sizes: readonly number[] = [text.length],
): { body: string; rest: string; fault: string; trailers: string } {
  const chunks = new ChunkDecoder();
  let body = '';
  let at = 0;
  for (let turn = 0; at < text.length && !chunks.done; turn++) {
    const piece = Buffer.from(text.slice(at, at + sizes[turn % sizes.length]!), 'latin1');
    const end = chunks.feed(piece, 0, piece.length);
    if (end < 0) return { body, rest: '', fault: chunks.fault, trailers: '' };
    body += piece.latin1Slice(chunks.dataStart, chunks.dataStart + chunks.dataLength);
    at += end;
  }
  return {
    body,
    rest: chunks.done ? text.slice(at) : '(not done)',
    fault: chunks.fault,
    trailers: chunks.trailers,
  };
}

t.test('any body in any chunks and any pieces comes out as it was, and nothing behind it is touched', (t) => {
  const chunk = fc.record({
    data: fc.string({ minLength: 1, maxLength: 40, unit: 'binary-ascii' }),
    extension: fc.constantFrom('', ';a', ';a=b', ';a="b c"', '; \t'),
    upper: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.array(chunk, { maxLength: 10 }),
      fc.constantFrom('', 'A: b\r\n', 'A:\r\nB: c \r\n'),
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 5 }),
      fc.constantFrom('', 'GET / HTTP/1.1\r\n'),
      (parts, trailers, sizes, rest) => {
        const text = parts
          .map(({ data, extension, upper }) => {
            const size = data.length.toString(16);
            return `${upper ? size.toUpperCase() : size}${extension}\r\n${data}\r\n`;
          })
          .join('');
        const decoded = decode(`${text}0\r\n${trailers}\r\n${rest}`, sizes);
        const body = parts.map(({ data }) => data).join('');
        return decoded.fault === '' && decoded.body === body && decoded.rest === rest;
      },
    ),
    { numRuns: 2000 },
  );
  t.end();
});

t.test('limits', (t) => {
  t.equal(decode('ffffffff\r\n').fault, '', '4 GiB a chunk');
  t.equal(decode('100000000\r\n').fault, 'chunk size too large');
  t.equal(decode(`5;${'a'.repeat(4096)}\r\nhello\r\n0\r\n\r\n`).body, 'hello');
  t.equal(decode(`5;${'a'.repeat(4097)}\r\n`).fault, 'chunk extensions too large');
  t.equal(decode(`0\r\nA: ${'b'.repeat(8000)}\r\n\r\n`).rest, '');
  t.equal(decode(`0\r\n${'A:\r\n'.repeat(3000)}\r\n`).fault, 'trailers too large', 'empty ones count too');
  t.end();
});

t.test('RFC 9110 §6.5 trailers come out as they are; what means something before a body is left out', (t) => {
  const trailersOf = (lines: string, sizes?: readonly number[]) =>
    decode(`2\r\nhi\r\n0\r\n${lines}\r\n`, sizes).trailers;
  for (const sizes of [undefined, [1], [3, 7]]) {
    t.equal(trailersOf('Digest: sha-256=x\r\nX-A:b \r\n', sizes), 'Digest: sha-256=x\r\nX-A:b \r\n');
    t.equal(trailersOf('A: b\r\nContent-Length: 9\r\nC: d\r\n', sizes), 'A: b\r\nC: d\r\n');
  }
  for (const name of [
    ...[
      'Content-Length',
      'content_length',
      'Transfer-Encoding',
      'TRANSFER_ENCODING',
      'Host',
      'Connection',
      'TE',
    ],
    ...[
      'Trailer',
      'Upgrade',
      'Keep-Alive',
      'Proxy-Authorization',
      'Expect',
      'Authorization',
      'Cookie',
      'Set-Cookie',
    ],
    ...['X-Forwarded-For', 'x_forwarded_proto', 'X-Request-Id', 'Forwarded', 'CDN-Loop', 'Content-Encoding'],
    ...['Content-Type', 'Cache-Control', 'Age', 'Date', 'Location', 'WWW-Authenticate', 'If-Match', 'Range'],
  ])
    t.equal(trailersOf(`${name}: x\r\n`), '', name);
  const chunks = new ChunkDecoder(new Set(['x-client-subject']));
  const bytes = Buffer.from('0\r\nX_Client-Subject: CN=root\r\nA: b\r\n\r\n');
  chunks.feed(bytes, 0, bytes.length);
  t.equal(chunks.trailers, 'A: b\r\n', 'fields that no client may send');
  t.equal(trailersOf(''), '');
  t.end();
});

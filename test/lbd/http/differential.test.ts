import http from 'node:http';
import { Duplex } from 'node:stream';
import t from 'tap';
import { ChunkDecoder } from '../../../lbd/http/chunked.ts';
import { BODY, RequestHead } from '../../../lbd/http/request-head.ts';
import { random } from './exchange.ts';

/**
 * The same bytes to our parser and to Node's own. What we let through and Node refuses, or reads otherwise, is
 * how requests are smuggled; where we are the stricter ones, nobody is harmed.
 *
 * DIFFERENTIAL_CASES and DIFFERENTIAL_SEED make it longer or another one.
 */
const CASES = Number(process.env.DIFFERENTIAL_CASES ?? 4000);
const SEED = Number(process.env.DIFFERENTIAL_SEED ?? 1);

const CORPUS = [
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

/** What mutations put in: bytes and lines over which parsers are known to differ. */
const SPICE = [
  '\r',
  '\n',
  '\r\n',
  '\r\n\r\n',
  '\n\n',
  ' ',
  '\t',
  '\x0b',
  '\x0c',
  '\0',
  '\x7f',
  '\x80',
  '\xa0',
  '\xff',
  ':',
  ';',
  ',',
  '#',
  '"',
  'Content-Length: 3\r\n',
  'Content-Length: +3\r\n',
  'content-length:5\r\n',
  'Content-Length: 5, 5\r\n',
  'Content-Length : 5\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding: identity\r\n',
  'Transfer-Encoding:\tchunked\r\n',
  'Transfer-Encoding: chunked, x\r\n',
  'Transfer-Encoding: xchunked\r\n',
  'Transfer-Encoding : chunked\r\n',
  'Host: b\r\n',
  'Host:\r\n',
  'X:\r\n y\r\n',
  'Connection: close\r\n',
  'Connection: content-length\r\n',
  'Expect: 100-continue\r\n',
  '0\r\n\r\n',
  '0',
  '00',
  '0x5',
  '-1',
  '5',
  'a',
  'fffffffff',
  '5 \r\n',
  '5 ;\r\n',
  'HTTP/1.1',
  'HTTP/0.9',
  '/',
  'http://',
];

interface Reading {
  /** Each request that was read whole: method, target, body. */
  readonly requests: readonly string[];
  readonly refused: boolean;
}

function ours(bytes: Buffer, next: () => number): Reading {
  const head = new RequestHead(100);
  const requests: string[] = [];
  let at = 0;
  while (at < bytes.length) {
    const after = head.parse(bytes, at, bytes.length, 100);
    if (after < 0) return { requests, refused: true };
    if (after === 0) break;
    const name = `${head.method} ${bytes.latin1Slice(at, after).trimStart().split(' ')[1]}`;
    let body = '';
    at = after;
    if (head.body === BODY.length) {
      if (at + head.contentLength > bytes.length) break;
      body = bytes.latin1Slice(at, at + head.contentLength);
      at += head.contentLength;
    } else if (head.body === BODY.chunked) {
      const chunks = new ChunkDecoder();
      // In random pieces, each in a buffer of its own, because the decoder moves data within it.
      while (!chunks.done && at < bytes.length) {
        const piece = Buffer.from(bytes.subarray(at, at + 1 + Math.floor(next() * 16)));
        const end = chunks.feed(piece, 0, piece.length);
        if (end < 0) return { requests, refused: true };
        body += piece.latin1Slice(chunks.dataStart, chunks.dataStart + chunks.dataLength);
        at += end;
      }
      if (!chunks.done) break;
    }
    requests.push(`${name} ${body}`);
    if (!head.keepAlive || head.upgrade) break;
  }
  return { requests, refused: false };
}

class Wire extends Duplex {
  override _read(): void {}
  override _write(_chunk: Buffer, _encoding: string, done: () => void): void {
    done();
  }
}

/** Node's reading of the same bytes, in one piece. */
async function nodes(bytes: Buffer): Promise<Reading> {
  const requests: string[] = [];
  let refused = false;
  const server = http.createServer({ requireHostHeader: false, insecureHTTPParser: false });
  const bodies: Promise<void>[] = [];
  const take = (request: http.IncomingMessage, response?: http.ServerResponse) => {
    const parts: Buffer[] = [];
    bodies.push(
      new Promise((resolve) => {
        request.on('data', (part: Buffer) => parts.push(part));
        request.on('end', () => {
          requests.push(`${request.method} ${request.url} ${Buffer.concat(parts).toString('latin1')}`);
          response?.end();
          resolve();
        });
        request.on('close', resolve);
      }),
    );
  };
  server.on('request', take);
  server.on('checkContinue', take);
  server.on('checkExpectation', take);
  server.on('upgrade', (request) => {
    requests.push(`${request.method} ${request.url} `);
  });
  server.on('connect', () => {
    refused = true;
  });
  server.on('clientError', () => {
    refused = true;
  });
  const wire = new Wire();
  wire.on('error', () => {});
  server.emit('connection', wire);
  wire.push(bytes);
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
  wire.destroy();
  await Promise.all(bodies);
  server.close();
  return { requests, refused };
}

function mutate(text: string, next: () => number): string {
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

/**
 * Where we let more through than Node, on purpose: the reason why that harms nobody, and the same request without
 * it, which both must then read alike.
 */
const KNOWN: readonly (readonly [reason: string, without: (text: string) => string])[] = [
  [
    'RFC 9112 §2.3: HTTP/1.2 and later are read as HTTP/1.1, and sent on as that',
    (text) => text.replaceAll(/ HTTP\/1\.[2-9]\r\n/g, ' HTTP/1.1\r\n'),
  ],
  [
    'RFC 9110 §7.8: an upgrade with a body is an ordinary request for us, and Upgrade is not sent on',
    (text) =>
      /^(content-length|transfer-encoding):/im.test(text)
        ? text.replaceAll(/^upgrade:[^\r\n]*\r\n/gim, '')
        : text,
  ],
  [
    'RFC 9112 §7.1.1: chunk extensions are dropped, whatever they say; Node looks at their grammar',
    (text) => text.replaceAll(/(\r\n[0-9A-Fa-f]+);[^\r\n]*(?=\r\n)/g, '$1'),
  ],
  [
    'RFC 9112 §7.1.2: trailers are dropped, framing fields among them; Node refuses those',
    (text) => text.replaceAll(/(\r\n0+(?:;[^\r\n]*)?\r\n)(?:[^\r\n:]+:[^\r\n]*\r\n)+(?=\r\n)/g, '$1'),
  ],
];

interface Comparison {
  readonly ours: Reading;
  readonly node: Reading;
  /** We took a request that Node refuses or reads otherwise. */
  readonly differs: boolean;
}

async function compare(text: string, next: () => number): Promise<Comparison> {
  const bytes = Buffer.from(text, 'latin1');
  const mine = ours(bytes, next);
  const node = await nodes(bytes);
  // RFC 9110 §9.1: a method is any token; Node knows a list and reads nothing behind one that is not in it.
  const odd = mine.requests.findIndex(
    (request) => !http.METHODS.includes(request.slice(0, request.indexOf(' '))),
  );
  const comparable = odd < 0 ? mine.requests : mine.requests.slice(0, odd);
  const agreed = comparable.every((request, n) => node.requests[n] === request);
  const fewer = odd < 0 && !mine.refused && node.requests.length > mine.requests.length;
  return { ours: mine, node, differs: !agreed || fewer };
}

t.test(`Node reads what we let through as we do, ${CASES} mutated requests, seed ${SEED}`, async (t) => {
  const next = random(SEED);
  let accepted = 0;
  let stricter = 0;
  const differences: string[] = [];
  for (let i = 0; i < CASES; i++) {
    const seed = CORPUS[i % CORPUS.length]!;
    const text = i < CORPUS.length ? seed : mutate(seed, next);
    const comparison = await compare(text, next);
    if (comparison.ours.requests.length > 0) accepted++;
    if (comparison.ours.refused && !comparison.node.refused) stricter++;
    if (!comparison.differs) continue;
    const plain = KNOWN.reduce((plain, [, without]) => without(plain), text);
    if (plain === text || (await compare(plain, next)).differs)
      differences.push(JSON.stringify({ text, ...comparison }));
  }
  t.same(differences.slice(0, 5), []);
  t.ok(accepted > CASES / 10, `${accepted} had a request that we took`);
  t.comment(`${stricter} were refused by us alone`);
});

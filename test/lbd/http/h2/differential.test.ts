import { once } from 'node:events';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { random } from '../exchange.ts';
import { data, encode, type Fields, FLAG, FRAME, frame, Http2Client, request, Served } from './harness.ts';

/**
 * The same fields of requests to lbd and to Node's server of HTTP/2, which is nghttp2: nothing that it
 * refuses do we let through. Where we are the stricter ones, nobody is harmed.
 *
 * DIFFERENTIAL_CASES and DIFFERENTIAL_SEED make it longer or another one.
 */
const CASES = Number(process.env.DIFFERENTIAL_CASES ?? 3000);
const SEED = Number(process.env.DIFFERENTIAL_SEED ?? 1);
/** Of them on one connection, so that what is sent belongs to no frame but one. */
const A_CONNECTION = 40;

const REQUESTS: readonly Fields[] = [
  request('GET', '/'),
  request('GET', '/a?b=c', ['user-agent', 'x'], ['cookie', 'a=b'], ['cookie', 'c=d'], ['te', 'trailers']),
  request('POST', '/', ['content-length', '2']),
  request('HEAD', '/', ['host', 'a.example'], ['accept', '*/*']),
  request('OPTIONS', '*', ['x-empty', '']),
  [
    [':method', 'GET'],
    [':scheme', 'https'],
    [':path', '/'],
    ['host', 'b'],
  ],
  [
    [':method', 'CONNECT'],
    [':authority', 'a:443'],
  ],
];

const NAMES = [
  'connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'te',
  'host',
  'content-length',
  ':path',
  ':status',
  'X',
  '',
  ':',
  ':authority',
  'a b',
  'expect',
  'proxy-connection',
  ':protocol',
];
const VALUES = [
  '',
  ' ',
  '\r\n',
  'a\nb',
  '\0',
  'chunked',
  'gzip',
  '1',
  '2',
  '-1',
  '2, 2',
  'b.example',
  'a@b',
  '/',
  '*',
  'a',
  '\xff',
  '\x7f',
  '\t',
  '100-continue',
  'http://a/b',
  '/a b',
  '/#',
];

function mutate(fields: Fields, next: () => number): Fields {
  const below = (end: number) => Math.floor(next() * end);
  const some = <T>(list: readonly T[]): T => list[below(list.length)]!;
  const list = fields.map(([name, value]) => [name, value] as [string, string]);
  for (let edits = 1 + Math.floor(3 * next() ** 3); edits > 0 && list.length > 0; edits--) {
    const at = below(list.length);
    const it = list[at]!;
    switch (below(7)) {
      case 0:
        list.splice(at, 1);
        break;
      case 1:
        list.splice(below(list.length + 1), 0, [...it]);
        break;
      case 2:
        list.splice(at, 1);
        list.splice(below(list.length + 1), 0, it);
        break;
      case 3:
        list.splice(below(list.length + 1), 0, [some(NAMES), some(VALUES)]);
        break;
      case 4:
        it[1] = some(VALUES);
        break;
      case 5:
        it[0] = some(NAMES);
        break;
      default: {
        const place = below(it[1].length + 1);
        it[1] = it[1].slice(0, place) + some(VALUES) + it[1].slice(place);
      }
    }
  }
  return list;
}

type Verdict = 'taken' | 'refused';

/** @returns what becomes of each, 40 streams a connection, a new one where it breaks */
async function verdicts(t: Test, port: number, cases: readonly Fields[], body: boolean): Promise<Verdict[]> {
  const all: Verdict[] = [];
  let client = await Http2Client.open(t, port);
  let id = -1;
  for (const fields of cases) {
    id += 2;
    if (client.ended || client.goAway !== undefined || id > 2 * A_CONNECTION) {
      client.socket.destroy();
      client = await Http2Client.open(t, port);
      id = 1;
    }
    client.write(frame(FRAME.headers, FLAG.endHeaders | (body ? 0 : FLAG.endStream), id, encode(fields)));
    if (body) client.write(data(id, 'ok', FLAG.endStream));
    const { status, reset } = await client.answered(id);
    all.push(
      status >= 200 && status < 400 && (reset === undefined || reset === 'noError') ? 'taken' : 'refused',
    );
  }
  client.socket.destroy();
  return all;
}

async function startNode(t: Test): Promise<number> {
  const server = http2.createServer({ settings: { enableConnectProtocol: true } });
  server.on('sessionError', () => {});
  server.on('stream', (stream: http2.ServerHttp2Stream) => {
    stream.on('error', () => {});
    stream.respond({ ':status': 200 }, { endStream: true });
    stream.resume();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

for (const body of [false, true])
  t.test(`${CASES} requests ${body ? 'with' : 'without'} a body, seed ${SEED}`, { timeout: 0 }, async (t) => {
    const served = await Served.start(t);
    served.reply = (socket, text) => {
      for (const _ of text.matchAll(/\r\n\r\n/g))
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    };
    const node = await startNode(t);
    const next = random(SEED);
    const cases = Array.from({ length: CASES }, (_, i) =>
      i < REQUESTS.length ? REQUESTS[i]! : mutate(REQUESTS[i % REQUESTS.length]!, next),
    );
    const [ours, theirs] = await Promise.all([
      verdicts(t, served.plane.port, cases, body),
      verdicts(t, node, cases, body),
    ]);
    const isAt = (ourVerdict: Verdict) => (_: Fields, i: number) =>
      ours[i] === ourVerdict && ours[i] !== theirs[i];
    const stricter = cases.filter(isAt('refused')).length;
    const differences = cases.filter(isAt('taken'));
    t.same(differences.slice(0, 8), []);
    t.ok(ours.filter((it) => it === 'taken').length > CASES / 20);
    t.comment(`${stricter} × stricter than Node`);
  });

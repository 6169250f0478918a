import {
  type Came,
  data,
  ERROR,
  encode,
  type Fields,
  FLAG,
  FRAME,
  frame,
  GET,
  headers,
  ping,
  request,
  rst,
  SETTING,
  settings,
  uint32,
  windowUpdate,
} from './harness.ts';

type Frame = { -readonly [key in keyof Came]: Came[key] };

const END = FLAG.endStream;
const post = (...more: Fields) => request('POST', '/echo', ...more);
const connect: Fields = [
  [':protocol', 'websocket'],
  ...request('CONNECT', '/chat', ['sec-websocket-version', '13']),
];
const block = encode(GET);

/** What clients say that keep to the rules, behind the preface. */
const CONVERSATIONS: readonly (readonly Buffer[])[] = [
  [settings(), headers(1, GET)],
  [
    settings([SETTING.initialWindowSize, 100], [SETTING.maxFrameSize, 20_000]),
    headers(1, request('GET', '/big')),
    windowUpdate(0, 5000),
    windowUpdate(1, 70_000),
    windowUpdate(0, 100_000),
  ],
  [
    settings([SETTING.headerTableSize, 0]),
    headers(1, request('GET', '/chunks')),
    frame(FRAME.settings, FLAG.ack, 0),
    headers(3, request('GET', '/chunks', ['te', 'trailers'])),
  ],
  [
    settings(),
    headers(1, post(), 0),
    data(1, 'hello '),
    data(1, 'world', END),
    headers(3, request('HEAD', '/')),
  ],
  [settings(), headers(1, post(['content-length', '5']), 0), data(1, 'hel'), data(1, 'lo', END)],
  [
    settings(),
    headers(1, post(), 0),
    data(1, Buffer.from('\x02hello\0\0'), FLAG.padded),
    headers(1, [['x-sum', '1']]),
  ],
  [
    settings(),
    headers(1, request('GET', '/hold')),
    headers(3, request('GET', '/none')),
    rst(1),
    headers(5, GET),
  ],
  [
    settings(),
    frame(FRAME.headers, END, 1, block.subarray(0, 20)),
    frame(FRAME.continuation, 0, 1, block.subarray(20, 30)),
    frame(FRAME.continuation, FLAG.endHeaders, 1, block.subarray(30)),
  ],
  [
    settings(),
    frame(FRAME.headers, 0x2d, 1, Buffer.concat([Buffer.of(1), Buffer.alloc(5), block, Buffer.of(0)])),
    ping(),
    ping('pingback', FLAG.ack),
  ],
  [settings(), headers(1, connect, 0), data(1, 'some frames'), data(1, 'more', END)],
  [settings(), headers(1, connect, 0), data(1, 'some frames'), rst(1, ERROR.cancel)],
  [
    settings(),
    headers(
      1,
      request(
        'GET',
        '/',
        ['cookie', 'a=b'],
        ['cookie', 'c=d'],
        ['host', 'a.example'],
        ['priority', 'u=1, i'],
      ),
    ),
  ],
  [
    settings(),
    frame(FRAME.priorityUpdate, 0, 0, Buffer.concat([uint32(1), Buffer.from('u=7')])),
    headers(1, request('GET', '/big')),
    headers(3, request('GET', '/big', ['priority', 'u=0'])),
  ],
  [
    settings(),
    headers(1, request('GET', '/big')),
    settings([SETTING.initialWindowSize, 0]),
    settings([SETTING.initialWindowSize, 200_000]),
    windowUpdate(0, 200_000),
  ],
  [
    settings(),
    headers(1, request('GET', '/cut')),
    headers(3, post(['expect', '100-continue']), 0),
    data(3, 'x', END),
  ],
  [
    settings(),
    headers(1, request('POST', '/early'), 0),
    data(1, Buffer.alloc(16_000)),
    data(1, Buffer.alloc(16_000)),
    data(1, Buffer.alloc(16_000), END),
  ],
  [
    settings([SETTING.initialWindowSize, 2]),
    headers(1, request('GET', '/slow')),
    settings([SETTING.initialWindowSize, 0]),
  ],
  [settings(), headers(1, GET), frame(FRAME.goAway, 0, 0, uint32(0, 0)), frame(0x2a, 3, 1, 'unknown')],
  // Into the table, out of it, and Huffman code of `www.example.com` (RFC 7541 §C.4.1).
  [
    settings(),
    frame(FRAME.headers, 5, 1, Buffer.from('828684418cf1e3c2e5f23a6ba0ab90f4ff400178017a', 'hex')),
    frame(FRAME.headers, 5, 3, Buffer.from('3fe11f828684bfbe', 'hex')),
    frame(FRAME.headers, 5, 5, Buffer.from('20828684418cf1e3c2e5f23a6ba0ab90f4ff', 'hex')),
  ],
];

function read(bytes: Buffer): Frame {
  return {
    type: bytes[3]!,
    flags: bytes[4]!,
    stream: bytes.readUInt32BE(5),
    payload: bytes.subarray(9),
  };
}

/** To be changed; `lie` is added to its length. */
function copyOf(it: Frame): Frame & { lie: number } {
  return { ...it, payload: Buffer.from(it.payload), lie: 0 };
}

const CORPUS = CONVERSATIONS.map((frames) => frames.map(read));
const ALL = CORPUS.flat();

/** Bytes that parsers are known to stumble over. */
const SPICE = [0, 1, 9, 10, 13, 32, 58, 0x7f, 0x80, 0xff, 65, 0x20, 0x40, 0x10, 0x82];
const LONG = [0, 1, 4, 100, 16_384, 65_535, 65_536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];

export const CORPUS_SIZE = CORPUS.length;

/**
 * One of the conversations, or what has become of it.
 *
 * @param turn the first ones are as they should be
 * @param next numbers in [0, 1)
 */
export function conversation(turn: number, next: () => number): Buffer[] {
  const below = (end: number) => Math.floor(next() * end);
  const some = <T>(list: readonly T[]): T => list[below(list.length)]!;
  const frames = CORPUS[turn % CORPUS.length]!.map(copyOf);
  const edits = turn < CORPUS.length ? 0 : 1 + Math.floor(3 * next() ** 3);
  for (let i = 0; i < edits; i++) {
    const at = below(frames.length);
    const it = frames[at];
    if (it === undefined) break;
    const { payload } = it;
    const place = below(payload.length);
    switch (below(14)) {
      case 0:
        it.type = below(12);
        break;
      case 1:
        it.flags ^= 1 << below(6);
        break;
      case 2:
        it.stream = some([0, 1, 2, 3, 5, 99, it.stream + 2, 2 ** 31 - 1]);
        break;
      case 3:
        it.lie = below(20) - 10;
        break;
      case 4:
        frames.splice(at, 0, { ...copyOf(it), lie: it.lie });
        break;
      case 5:
        frames.splice(at, 1);
        break;
      case 6:
        frames.splice(at, 0, copyOf(some(ALL)));
        break;
      case 7: {
        const other = below(frames.length);
        frames[at] = frames[other]!;
        frames[other] = it;
        break;
      }
      case 8:
        it.payload = payload.subarray(0, place);
        break;
      case 9:
        it.payload = Buffer.concat([payload, some(ALL).payload]);
        break;
      case 10:
        if (payload.length >= 4) payload.writeUInt32BE(some(LONG), below(payload.length - 3));
        break;
      case 11:
        it.payload = Buffer.concat([
          payload.subarray(0, place),
          Buffer.of(some(SPICE)),
          payload.subarray(place),
        ]);
        break;
      case 12:
        frames.push(...Array.from({ length: below(payload.length > 100 ? 8 : 300) }, () => ({ ...it })));
        break;
      default:
        if (payload.length > 0) payload[place] = next() < 0.5 ? some(SPICE) : below(256);
    }
  }
  return frames.map(({ type, flags, stream, payload, lie }) =>
    frame(type, flags, stream, payload, Math.max(0, payload.length + lie)),
  );
}

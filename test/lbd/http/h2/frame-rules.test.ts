import t from 'tap';
import {
  data,
  encode,
  FLAG,
  FRAME,
  frame,
  GET,
  HOLD,
  headers,
  holdRules,
  POST,
  PREFACE,
  ping,
  rst,
  SETTING,
  settings,
  uint32,
  windowUpdate,
} from './harness.ts';

/** What clients can do wrong in frames, by the section of RFC 9113 that says so, and what they are told. */

const MOST_WINDOW = 2 ** 31 - 1;
const WINDOW = 65_535;
const GOING = 'pingpong';
const block = encode(GET);
const open = headers(1, HOLD);
/** Its body is still to come. */
const upload = headers(1, POST, 0);
const closed = [headers(1, HOLD), rst(1)];
const firstHalf = frame(FRAME.headers, FLAG.endStream, 1, block.subarray(0, 5));
const rest = (flags: number, stream = 1) => frame(FRAME.continuation, flags, stream, block.subarray(5));
const hello = [PREFACE, settings()];
const empties = (count: number, make: (i: number) => Buffer) =>
  Buffer.concat(Array.from({ length: count }, (_, i) => make(i)));

t.test('the beginning', (t) => {
  holdRules(
    t,
    [
      ['§3.4 HTTP/1', 'connection protocol', 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'],
      ['§3.4 a preface that ends otherwise', 'connection protocol', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r'],
      ['§3.4 the first frame is none of SETTINGS', 'connection protocol', PREFACE, headers(1, GET)],
      [
        '§3.4 the first frame is an ack of SETTINGS',
        'connection protocol',
        PREFACE,
        frame(FRAME.settings, FLAG.ack, 0),
      ],
      ['§3.4 the first frame is PING', 'connection protocol', PREFACE, ping()],
      ['§3.4 a request in the same piece as the preface', 'answer 1 200', ...hello, headers(1, GET)],
    ],
    {},
    true,
  );
  t.end();
});

t.test('frames of any kind', (t) => {
  holdRules(t, [
    [
      '§4.1 a frame of a type that nobody knows',
      'ignored',
      frame(0x2a, 0xff, 0, 'whatever'),
      frame(0x2a, 0, 7, ''),
    ],
    ['§4.1 flags that mean nothing', 'answer 1 200', headers(1, GET, FLAG.endStream | 0xc2)],
    ['§4.1 the reserved bit of a stream', 'answer 1 200', frame(FRAME.headers, 5, 0x80000001, block)],
    ['§4.2 the largest frame there may be', 'ignored', frame(0x2a, 0, 0, Buffer.alloc(16_384))],
    ['§4.2 DATA larger than that', 'connection frameSize', upload, frame(FRAME.data, 0, 1, '', 16_385)],
    ['§4.2 HEADERS larger than that', 'connection frameSize', frame(FRAME.headers, 5, 1, '', 16_385)],
    ['§4.2 an unknown frame larger than that', 'connection frameSize', frame(0x2a, 0, 0, '', 16_385)],
    [
      '§4.3 a block that ends within a field',
      'connection compression',
      frame(FRAME.headers, 5, 1, Buffer.of(0x00, 5, 97)),
    ],
    [
      '§4.3 also of a stream that is refused',
      'connection compression',
      ...closed,
      frame(FRAME.headers, 5, 1, Buffer.of(0x80)),
    ],
    [
      '§4.3 also in trailers',
      'connection compression',
      upload,
      frame(FRAME.headers, 5, 1, Buffer.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff)),
    ],
    ['§4.3 another stream within a block', 'connection protocol', firstHalf, headers(3, GET)],
    ['§4.3 DATA within a block', 'connection protocol', firstHalf, data(1, 'x')],
    ['§4.3 PING within a block', 'connection protocol', firstHalf, ping()],
    ['§4.3 an unknown frame within a block', 'connection protocol', firstHalf, frame(0x2a, 0, 0)],
    ['§4.3 CONTINUATION of another stream', 'connection protocol', firstHalf, rest(FLAG.endHeaders, 3)],
    [
      'RFC 7541 §4.2 a table larger than allowed',
      'connection compression',
      frame(FRAME.headers, 5, 1, Buffer.concat([Buffer.of(0x3f, 0xe2, 0x1f), block])),
    ],
    [
      'RFC 7541 §4.2 a table as large as allowed',
      'answer 1 200',
      frame(FRAME.headers, 5, 1, Buffer.concat([Buffer.of(0x3f, 0xe1, 0x1f), block])),
    ],
    [
      'RFC 7541 §4.2 a table size update behind a field',
      'connection compression',
      frame(FRAME.headers, 5, 1, Buffer.concat([block, Buffer.of(0x20)])),
    ],
    ['RFC 7541 §6.1 index 0', 'connection compression', frame(FRAME.headers, 5, 1, Buffer.of(0x80))],
    [
      'RFC 7541 §6.1 an index beyond the table',
      'connection compression',
      frame(FRAME.headers, 5, 1, Buffer.of(0xbe)),
    ],
    [
      'RFC 7541 §5.2 EOS in a Huffman string',
      'connection compression',
      frame(FRAME.headers, 5, 1, Buffer.of(0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0)),
    ],
    [
      'RFC 7541 §5.2 padding of more than 7 bits',
      'connection compression',
      frame(FRAME.headers, 5, 1, Buffer.of(0x00, 0x82, 0x1f, 0xff, 0)),
    ],
  ]);
  t.end();
});

t.test('streams', (t) => {
  holdRules(t, [
    ['§5.1 DATA on an idle stream', 'connection protocol', data(1, 'x')],
    ['§5.1 RST_STREAM of an idle stream', 'connection protocol', rst(1)],
    ['§5.1 WINDOW_UPDATE of an idle stream', 'connection protocol', windowUpdate(1, 1)],
    ['§5.1 CONTINUATION on an idle stream', 'connection protocol', rest(FLAG.endHeaders)],
    ['§5.1 PRIORITY of an idle stream', 'ignored', frame(FRAME.priority, 0, 1, Buffer.alloc(5))],
    ['§5.1 DATA on a half-closed stream', 'stream 1 streamClosed', open, data(1, 'x')],
    ['§5.1 HEADERS on a half-closed stream', 'stream 1 streamClosed', open, headers(1, [['x', 'y']])],
    ['§5.1 CONTINUATION on a half-closed stream', 'connection protocol', open, rest(FLAG.endHeaders)],
    [
      '§5.1 WINDOW_UPDATE, PRIORITY on a half-closed stream',
      'ignored',
      open,
      windowUpdate(1, 1),
      frame(FRAME.priority, 0, 1, Buffer.alloc(5)),
    ],
    ['§5.1 DATA on a stream that the client has reset', 'connection streamClosed', ...closed, data(1, 'x')],
    [
      '§5.1 HEADERS on a stream that the client has reset',
      'connection streamClosed',
      ...closed,
      headers(1, GET),
    ],
    [
      '§5.1 WINDOW_UPDATE, RST_STREAM, PRIORITY on a closed stream',
      'ignored',
      ...closed,
      windowUpdate(1, 1),
      rst(1),
      frame(FRAME.priority, 0, 1, Buffer.alloc(5)),
    ],
    [
      '§5.1 what comes behind a reset of lbd may have been sent before',
      'stream 1 protocol',
      headers(1, [[':method', 'GET']], 0),
      data(1, 'x'),
      windowUpdate(1, 1),
      headers(1, [['x', 'y']]),
      rst(1),
    ],
    ['§5.1.1 a stream of an even number', 'connection protocol', headers(2, GET)],
    ['§5.1.1 a stream that was passed over', 'connection streamClosed', headers(5, HOLD), headers(3, GET)],
  ]);
  t.end();
});

t.test('DATA, HEADERS, PRIORITY, RST_STREAM', (t) => {
  holdRules(t, [
    ['§6.1 DATA on stream 0', 'connection protocol', data(0, 'x')],
    ['§6.1 all of a frame is padding', 'ignored', upload, data(1, Buffer.from([3, 0, 0, 0]), FLAG.padded)],
    [
      '§6.1 padding longer than its frame',
      'connection protocol',
      upload,
      data(1, Buffer.from([4, 0, 0, 0]), FLAG.padded),
    ],
    ['§6.1 padded without its length', 'connection frameSize', upload, data(1, '', FLAG.padded)],
    ['§6.2 HEADERS on stream 0', 'connection protocol', headers(0, GET)],
    [
      '§6.2 padding',
      'answer 1 200',
      frame(FRAME.headers, 0xd, 1, Buffer.concat([Buffer.of(2), block, Buffer.alloc(2)])),
    ],
    [
      '§6.2 padding longer than its frame',
      'connection protocol',
      frame(FRAME.headers, 0xd, 1, Buffer.concat([Buffer.of(200), block])),
    ],
    ['§6.2 padded without its length', 'connection frameSize', frame(FRAME.headers, 0xd, 1)],
    ['§6.2 priority', 'answer 1 200', frame(FRAME.headers, 0x25, 1, Buffer.concat([Buffer.alloc(5), block]))],
    [
      '§6.2 priority and padding',
      'answer 1 200',
      frame(FRAME.headers, 0x2d, 1, Buffer.concat([Buffer.of(1), Buffer.alloc(5), block, Buffer.of(0)])),
    ],
    [
      '§4.2 too short for its priority',
      'connection frameSize',
      frame(FRAME.headers, 0x25, 1, Buffer.alloc(4)),
    ],
    [
      '§6.2 padding over its priority',
      'connection protocol',
      frame(FRAME.headers, 0x2d, 1, Buffer.concat([Buffer.of(1), Buffer.alloc(5)])),
    ],
    ['§6.3 PRIORITY on stream 0', 'connection protocol', frame(FRAME.priority, 0, 0, Buffer.alloc(5))],
    [
      '§6.3 PRIORITY of another size',
      'stream 1 frameSize',
      open,
      frame(FRAME.priority, 0, 1, Buffer.alloc(4)),
    ],
    [
      '§6.3 PRIORITY of another size, of an idle stream, which cannot be reset',
      'connection frameSize',
      frame(FRAME.priority, 0, 1, Buffer.alloc(4)),
    ],
    [
      '§6.3 PRIORITY of another size, of a closed stream',
      'ignored',
      ...closed,
      frame(FRAME.priority, 0, 1, Buffer.alloc(4)),
    ],
    ['§6.4 RST_STREAM on stream 0', 'connection protocol', rst(0)],
    [
      '§6.4 RST_STREAM of another size',
      'connection frameSize',
      open,
      frame(FRAME.rstStream, 0, 1, Buffer.alloc(5)),
    ],
    ['§7 RST_STREAM of a code that nobody knows', 'ignored', open, rst(1, 0xdead)],
  ]);
  t.end();
});

t.test('SETTINGS, PUSH_PROMISE, PING, GOAWAY', (t) => {
  holdRules(t, [
    ['§6.5 SETTINGS on a stream', 'connection protocol', frame(FRAME.settings, 0, 1)],
    [
      '§6.5 an ack with something in it',
      'connection frameSize',
      frame(FRAME.settings, FLAG.ack, 0, Buffer.alloc(6)),
    ],
    [
      '§6.5 SETTINGS of no multiple of 6',
      'connection frameSize',
      frame(FRAME.settings, 0, 0, Buffer.alloc(5)),
    ],
    ['§6.5.2 ENABLE_PUSH 2', 'connection protocol', settings([SETTING.enablePush, 2])],
    ['§6.5.2 ENABLE_PUSH 0, 1', 'ignored', settings([SETTING.enablePush, 0], [SETTING.enablePush, 1])],
    [
      '§6.5.2 INITIAL_WINDOW_SIZE 2^31',
      'connection flowControl',
      settings([SETTING.initialWindowSize, 2 ** 31]),
    ],
    [
      '§6.5.2 INITIAL_WINDOW_SIZE 2^31 - 1',
      'answer 1 200',
      settings([SETTING.initialWindowSize, MOST_WINDOW]),
      headers(1, GET),
    ],
    ['§6.5.2 MAX_FRAME_SIZE 16383', 'connection protocol', settings([SETTING.maxFrameSize, 16_383])],
    ['§6.5.2 MAX_FRAME_SIZE 2^24', 'connection protocol', settings([SETTING.maxFrameSize, 2 ** 24])],
    [
      '§6.5.2 MAX_FRAME_SIZE 16384, 2^24 - 1',
      'answer 1 200',
      settings([SETTING.maxFrameSize, 16_384], [SETTING.maxFrameSize, 2 ** 24 - 1]),
      headers(1, GET),
    ],
    [
      '§6.5.2 HEADER_TABLE_SIZE 0, 2^32 - 1',
      'answer 1 200',
      settings([SETTING.headerTableSize, 0], [SETTING.headerTableSize, 2 ** 32 - 1]),
      headers(1, GET),
    ],
    [
      '§6.5.2 MAX_CONCURRENT_STREAMS 0, which is of our streams',
      'answer 1 200',
      settings([SETTING.maxConcurrentStreams, 0]),
      headers(1, GET),
    ],
    ['§6.5.2 a setting that nobody knows', 'ignored', settings([0xfe, 7])],
    [
      '§6.5.3 an ack that nobody waits for',
      'ignored',
      frame(FRAME.settings, FLAG.ack, 0),
      frame(FRAME.settings, FLAG.ack, 0),
    ],
    [
      'RFC 9218 §2.1 NO_RFC7540_PRIORITIES 2',
      'connection protocol',
      settings([SETTING.noRfc7540Priorities, 2]),
    ],
    ['RFC 9218 §2.1 NO_RFC7540_PRIORITIES 1', 'ignored', settings([SETTING.noRfc7540Priorities, 1])],
    [
      '§6.6 PUSH_PROMISE',
      'connection protocol',
      open,
      frame(FRAME.pushPromise, FLAG.endHeaders, 1, Buffer.concat([uint32(2), block])),
    ],
    ['§6.7 PING on a stream', 'connection protocol', open, frame(FRAME.ping, 0, 1, GOING)],
    ['§6.7 PING of another size', 'connection frameSize', frame(FRAME.ping, 0, 0, 'seven b')],
    ['§6.7 a PING back that nobody waits for', 'ignored', ping('tandem->', FLAG.ack)],
    ['§6.8 GOAWAY on a stream', 'connection protocol', open, frame(FRAME.goAway, 0, 1, uint32(0, 0))],
    ['§6.8 GOAWAY too short', 'connection frameSize', frame(FRAME.goAway, 0, 0, uint32(0))],
    [
      '§6.8 GOAWAY, and requests behind it',
      'answer 1 200',
      frame(FRAME.goAway, 0, 0, Buffer.concat([uint32(0, 0), Buffer.from('bye')])),
      headers(1, GET),
    ],
  ]);
  t.end();
});

t.test('WINDOW_UPDATE and windows', (t) => {
  const full = empties(4, () => data(1, Buffer.alloc(16_383)));
  holdRules(t, [
    [
      '§6.9 WINDOW_UPDATE of another size',
      'connection frameSize',
      frame(FRAME.windowUpdate, 0, 0, Buffer.alloc(3)),
    ],
    ['§6.9 the connection’s by nothing', 'connection protocol', windowUpdate(0, 0)],
    ['§6.9 a stream’s by nothing', 'stream 1 protocol', open, windowUpdate(1, 0)],
    ['§6.9 the reserved bit', 'ignored', open, windowUpdate(1, 0x80000001)],
    [
      '§6.9.1 the connection’s beyond 2^31 - 1',
      'connection flowControl',
      windowUpdate(0, MOST_WINDOW - WINDOW + 1),
    ],
    ['§6.9.1 the connection’s up to 2^31 - 1', 'ignored', windowUpdate(0, MOST_WINDOW - WINDOW)],
    [
      '§6.9.1 a stream’s beyond 2^31 - 1',
      'stream 1 flowControl',
      open,
      windowUpdate(1, MOST_WINDOW - WINDOW + 1),
    ],
    ['§6.9.1 a stream’s up to 2^31 - 1', 'ignored', open, windowUpdate(1, MOST_WINDOW - WINDOW)],
    [
      '§6.9.1 DATA for more than the connection’s window',
      'connection flowControl',
      ...[1, 3, 5].flatMap((id) => [
        headers(id, POST, 0),
        data(id, Buffer.alloc(16_384)),
        data(id, Buffer.alloc(16_384)),
      ]),
    ],
    ['§6.9.1 DATA up to the connection’s window', 'ignored', upload, full, data(1, 'xyz')],
    [
      '§6.9.2 a setting that makes a stream’s window too large',
      'connection flowControl',
      open,
      windowUpdate(1, 1),
      settings([SETTING.initialWindowSize, MOST_WINDOW]),
    ],
    [
      '§6.9.2 a setting that takes windows back',
      'ignored',
      open,
      settings([SETTING.initialWindowSize, 0]),
      settings([SETTING.initialWindowSize, WINDOW]),
    ],
  ]);
  t.end();
});

t.test('CONTINUATION', (t) => {
  const pieces = [...block].map((byte, i) =>
    frame(FRAME.continuation, i === block.length - 1 ? FLAG.endHeaders : 0, 1, Buffer.of(byte)),
  );
  const start = frame(FRAME.headers, FLAG.endStream, 1);
  holdRules(t, [
    ['§6.10 a block in two', 'answer 1 200', firstHalf, rest(FLAG.endHeaders)],
    [
      '§6.10 the second half of it is empty',
      'answer 1 200',
      frame(FRAME.headers, FLAG.endStream, 1, block),
      frame(FRAME.continuation, FLAG.endHeaders, 1),
    ],
    [
      '§6.10 an END_STREAM of it means nothing',
      'answer 1 200',
      firstHalf,
      rest(FLAG.endHeaders | FLAG.endStream),
    ],
    [
      '§6.10 CONTINUATION behind the end of its block',
      'connection protocol',
      headers(1, HOLD),
      rest(FLAG.endHeaders),
    ],
    [
      '§6.10 CONTINUATION on stream 0',
      'connection protocol',
      frame(FRAME.continuation, FLAG.endHeaders, 0, block),
    ],
    ['§10.5.1 more pieces than anybody needs', 'connection enhanceYourCalm', start, ...pieces.slice(0, 17)],
    [
      'CVE-2024-27316 empty pieces without end',
      'connection enhanceYourCalm',
      start,
      empties(1000, () => frame(FRAME.continuation, 0, 1)),
    ],
    [
      'CVE-2024-27316 more bytes than a head may have',
      'connection enhanceYourCalm',
      start,
      empties(3, () => frame(FRAME.continuation, 0, 1, Buffer.alloc(16_384, 'a'))),
    ],
    [
      '§6.10 trailers in two',
      'ignored',
      upload,
      frame(FRAME.headers, FLAG.endStream, 1, encode([['a', 'y']])),
      frame(FRAME.continuation, FLAG.endHeaders, 1, encode([['z', 'y']])),
    ],
  ]);
  t.end();
});

t.test('RFC 9218 §7.1 PRIORITY_UPDATE', (t) => {
  const update = (id: number, text = 'u=1') => Buffer.concat([uint32(id), Buffer.from(text)]);
  holdRules(t, [
    ['on a stream', 'connection protocol', open, frame(FRAME.priorityUpdate, 0, 1, update(1))],
    ['of stream 0', 'connection protocol', frame(FRAME.priorityUpdate, 0, 0, update(0))],
    ['too short', 'connection frameSize', frame(FRAME.priorityUpdate, 0, 0, uint32(1).subarray(1))],
    [
      'of a stream that runs, is to come, or is closed',
      'ignored',
      open,
      rst(1),
      headers(3, HOLD),
      ...[1, 3, 5].map((id) => frame(FRAME.priorityUpdate, 0, 0, update(id))),
    ],
    [
      'of a stream that only a server could open',
      'connection protocol',
      frame(FRAME.priorityUpdate, 0, 0, update(2)),
    ],
    [
      'of what nobody can read',
      'ignored',
      open,
      frame(FRAME.priorityUpdate, 0, 0, update(1, '\x00=;;,"u=9')),
    ],
  ]);
  t.end();
});

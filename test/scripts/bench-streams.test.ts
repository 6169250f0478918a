import t from 'tap';
import { complaints, outcomeOf } from '../../scripts/bench/data/outcome.ts';
import { ResponseReader } from '../../scripts/bench/data/response-reader.ts';
import { CLIENT_FRAME, FrameCounter, SERVER_FRAME } from '../../scripts/bench/data/websocket-frame.ts';

const ANSWER = Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 5\r\nDate: now\r\n\r\nhello');

t.test('an answer is whole with its last byte, however it comes', async (t) => {
  for (let size = 1; size <= ANSWER.length; size++) {
    const reader = new ResponseReader();
    const statuses: (number | undefined)[] = [];
    for (let round = 0; round < 2; round++)
      for (let at = 0; at < ANSWER.length; at += size) {
        const part = ANSWER.subarray(at, at + size);
        statuses.push(reader.take(part, part.length));
      }
    const parts = Math.ceil(ANSWER.length / size);
    t.same(
      statuses.map((status) => status ?? 0),
      Array.from({ length: 2 * parts }, (_, i) => ((i + 1) % parts === 0 ? 200 : 0)),
      `${size} bytes at a time`,
    );
  }
});

t.test('only the first bytes of a buffer are read', async (t) => {
  const reader = new ResponseReader();
  t.equal(reader.take(Buffer.concat([ANSWER, Buffer.from('old')]), ANSWER.length), 200);
});

t.test('what is no answer', async (t) => {
  const cases: readonly [what: string, bytes: string][] = [
    ['no HTTP', 'SSH-2.0-x\r\n\r\n'],
    ['no length', 'HTTP/1.1 200 OK\r\n\r\n'],
    ['bytes beyond it', `${ANSWER.toString()}x`],
    ['a head without an end', 'x'.repeat(10_000)],
  ];
  for (const [what, text] of cases) {
    const bytes = Buffer.from(text);
    t.throws(() => new ResponseReader().take(bytes, bytes.length), what);
  }
});

t.test('frames are counted, however they come', async (t) => {
  const stream = Buffer.concat([CLIENT_FRAME, CLIENT_FRAME, CLIENT_FRAME]);
  for (let size = 1; size <= stream.length; size++) {
    const counter = new FrameCounter(CLIENT_FRAME);
    let frames = 0;
    for (let at = 0; at < stream.length; at += size) frames += counter.take(stream.subarray(at, at + size));
    t.equal(frames, 3, `${size} bytes at a time`);
  }
});

t.test('a frame with another byte is refused', async (t) => {
  const counter = new FrameCounter(SERVER_FRAME);
  const other = Buffer.from(SERVER_FRAME);
  other[SERVER_FRAME.length - 1]! ^= 1;
  t.equal(counter.take(SERVER_FRAME.subarray(0, 3)), 0);
  t.throws(() => counter.take(other.subarray(3)));
});

t.test('what is wrong with an outcome', async (t) => {
  const good = { units: 10, bytes: 1000, seconds: 1, failures: { read: 0 } };
  t.same(complaints(good, 100), []);
  t.same(complaints({ ...good, failures: { read: 2, write: 0 } }, 100), ['2 × read']);
  t.same(complaints({ ...good, units: 0 }, 100), ['no answer']);
  t.match(complaints({ ...good, bytes: 999 }, 100), [/999 bytes/]);
});

t.test('the last line of a generator counts', async (t) => {
  t.match(outcomeOf('Running 1s test\n\n{"units":3,"seconds":1,"failures":{}}\n'), { units: 3 });
  t.throws(() => outcomeOf('unable to connect\n'), /unable to connect/);
  t.throws(() => outcomeOf(''));
});

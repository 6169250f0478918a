import fc from 'fast-check';
import t from 'tap';
import { RECORD_WORDS } from '../../../lbd/session/scan.ts';
import {
  bytesFrame,
  checkRecords,
  FRAME,
  FRAME_HEAD,
  FrameReader,
  type FrameType,
  MAX_PAYLOAD,
  MAX_RECORDS,
  ProtocolError,
  sequenceFrom,
  sequenceWords,
  UPDATES_HEAD,
  wordsFrame,
} from '../../../lbd/session/sync-frame.ts';

type Frame = [type: FrameType, hex: string];

/** Reads a stream in these pieces. */
function read(reader: FrameReader, pieces: Uint8Array[]): Frame[] {
  const frames: Frame[] = [];
  for (const piece of pieces)
    reader.push(piece, (type, length) => {
      frames.push([type, reader.bytes(length).toString('hex')]);
      return false;
    });
  return frames;
}

/** Cuts bytes at the given places. */
function cut(bytes: Buffer, places: number[]): Buffer[] {
  const sorted = [
    0,
    ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b),
    bytes.length,
  ];
  return sorted.slice(1).map((end, i) => bytes.subarray(sorted[i], end));
}

const anyFrame = fc.oneof(
  fc.constant<Frame>([FRAME.ping, '']),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes): Frame => [FRAME.ack, hex(bytes)]),
  fc.uint8Array({ minLength: 2, maxLength: 300 }).map((bytes): Frame => [FRAME.register, hex(bytes)]),
);

t.test('frames come out as they went in, whatever the pieces', async () => {
  fc.assert(
    fc.property(fc.array(anyFrame, { maxLength: 20 }), fc.array(fc.nat(5000)), (frames, places) => {
      const stream = Buffer.concat(
        frames.map(([type, payload]) => bytesFrame(type, Buffer.from(payload, 'hex'))),
      );
      const got = read(new FrameReader(), cut(stream, places));
      return JSON.stringify(got) === JSON.stringify(frames);
    }),
  );
});

t.test('a stream cut short gives the whole frames only', async (t) => {
  const stream = Buffer.concat([wordsFrame(FRAME.ping), wordsFrame(FRAME.ack, [1, 2, 3, 4])]);
  for (let end = 0; end < stream.length; end++)
    t.equal(read(new FrameReader(), [stream.subarray(0, end)]).length, end < FRAME_HEAD ? 0 : 1);
});

t.test('any bytes end in frames within their bounds or in a ProtocolError', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 4000 }), fc.array(fc.nat(4000)), (bytes, places) => {
      try {
        return read(new FrameReader(), cut(Buffer.from(bytes), places)).every(
          ([, hex]) => hex.length <= MAX_PAYLOAD * 2,
        );
      } catch (error) {
        return error instanceof ProtocolError;
      }
    }),
  );
});

t.test('a flipped bit in a head is found, or the frame has another legal type or length', async () => {
  const frame = wordsFrame(FRAME.ack, [1, 2, 3, 4]);
  fc.assert(
    fc.property(fc.nat(FRAME_HEAD * 8 - 1), (bit) => {
      const damaged = Buffer.from(frame);
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      try {
        const [got] = read(new FrameReader(), [damaged]);
        return got === undefined || got[0] !== FRAME.ack;
      } catch (error) {
        return error instanceof ProtocolError;
      }
    }),
  );
});

const illegal: [string, FrameType | number, number][] = [
  ['an unknown type', 99, 0],
  ['an acknowledgement that is too long', FRAME.ack, 20],
  ['updates beyond the limit', FRAME.updates, MAX_PAYLOAD + 4],
  ['a length of 4 GiB', FRAME.entries, 0xffffffff],
];
for (const [what, type, length] of illegal)
  t.test(`${what} is refused by its head alone`, async (t) => {
    const head = Buffer.alloc(FRAME_HEAD);
    head.writeUInt32LE(length);
    head.writeUInt32LE(type, 4);
    t.throws(() => read(new FrameReader(), [head]), ProtocolError);
  });

t.test('reading stops where the callback says so', async (t) => {
  const reader = new FrameReader();
  const two = Buffer.concat([wordsFrame(FRAME.ping), wordsFrame(FRAME.ping)]);
  t.equal(
    reader.push(two, () => true),
    FRAME_HEAD,
  );
});

t.test('sequence numbers beyond 32 bits survive', async (t) => {
  for (const sequence of [0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 5])
    t.equal(sequenceFrom(Int32Array.from(sequenceWords(sequence)), 0), sequence);
  t.throws(() => sequenceFrom(Int32Array.of(-1, -1), 0), ProtocolError);
});

t.test('records: the largest frame is legal, each bad field is not', async (t) => {
  const record = [1, 2, 3, 4, 7, 1, 5, 3, 100];
  const words = new Int32Array(UPDATES_HEAD + MAX_RECORDS * RECORD_WORDS);
  for (let i = 0; i < MAX_RECORDS; i++) words.set(record, UPDATES_HEAD + i * RECORD_WORDS);
  t.ok(words.byteLength <= MAX_PAYLOAD);
  t.same(checkRecords(words, UPDATES_HEAD, words.byteLength), { count: MAX_RECORDS, version: record[7] });
  t.throws(() => checkRecords(words, UPDATES_HEAD, words.byteLength - 4), /no whole number/);
  for (const [field, value] of [
    [4, 0],
    [5, 0],
    [5, 3],
    [7, 0],
    [7, -1],
    [8, 0],
    [8, -5],
    [8, 0x40000000],
  ] as const) {
    const bad = Int32Array.from(record);
    bad[field] = value;
    t.throws(() => checkRecords(bad, 0, bad.byteLength), ProtocolError, `word ${field} = ${value}`);
  }
});

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

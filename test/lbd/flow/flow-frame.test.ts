import fc from 'fast-check';
import t from 'tap';
import {
  type FlowFrame,
  type FlowRecord,
  flowFrame,
  KIND,
  parseFlowFrame,
  RECORDS_PER_FRAME,
  RecordsBuilder,
} from '../../../lbd/flow/flow-frame.ts';
import { FRAME, FRAME_HEAD, MAX_PAYLOAD, ProtocolError } from '../../../lbd/session/sync-frame.ts';
import { tuplesOf, webFlow } from './flows.ts';

const IPV6 = tuplesOf('udp', '[fd00::50]:1234', '[fd00::100]:80', '[fd01::1]:8080');

function recordsFrame(first: number, records: readonly FlowRecord[]): Buffer {
  const builder = new RecordsBuilder();
  builder.begin(first);
  for (const record of records) builder.add(record);
  return builder.finish();
}

const payloadOf = (frame: Buffer) => frame.subarray(FRAME_HEAD);

t.test('records go round', async (t) => {
  const told = { ended: false, mark: 0xffffffff, status: 6, timeoutS: 432_000 };
  const records = [
    { ...told, tuples: webFlow(1).tuples },
    { ...told, tuples: IPV6, mark: 0 },
    { tuples: webFlow(2).tuples.slice(0, 13), ended: true, mark: 0, status: 0, timeoutS: 0 },
    { tuples: IPV6.slice(0, 37), ended: true, mark: 0, status: 0, timeoutS: 0 },
  ];
  const frame = recordsFrame(2 ** 40, records);
  t.equal(frame.readUInt32LE(4), FRAME.flows);
  t.strictSame(parseFlowFrame(payloadOf(frame)), { kind: KIND.records, first: 2 ** 40, records });
});

t.test('the largest frame fits', async (t) => {
  const record = { tuples: IPV6, ended: false, mark: 1, status: 6, timeoutS: 600 };
  const frame = recordsFrame(0, Array(RECORDS_PER_FRAME).fill(record));
  t.ok(payloadOf(frame).length <= MAX_PAYLOAD);
  t.match(parseFlowFrame(payloadOf(frame)), { records: { length: RECORDS_PER_FRAME } });
});

const FRAMES: Exclude<FlowFrame, { kind: typeof KIND.records }>[] = [
  { kind: KIND.state, usable: true, why: '' },
  { kind: KIND.state, usable: false, why: 'there is no program "nft"' },
  { kind: KIND.begin, addresses: [] },
  { kind: KIND.begin, addresses: ['\n\0\0d', `\xfd${'\0'.repeat(15)}`] },
  { kind: KIND.end, digest: { count: 3, sum: 0xffffffff } },
  { kind: KIND.digest, digest: { count: 0, sum: 0 } },
  { kind: KIND.ack, applied: 2 ** 50, filled: true },
  { kind: KIND.again },
];

for (const frame of FRAMES)
  t.test(`kind ${frame.kind} goes round, and not when it is cut short`, async (t) => {
    const payload = payloadOf(flowFrame(frame));
    t.strictSame(parseFlowFrame(payload), frame);
    // The cause is as long as it is.
    const least = frame.kind === KIND.state ? 8 : payload.length;
    for (let length = 4; length < least; length++)
      t.throws(() => parseFlowFrame(payload.subarray(0, length)), ProtocolError, `${length} bytes`);
    t.throws(() => parseFlowFrame(Buffer.concat([payload, Buffer.alloc(300)])), ProtocolError);
  });

t.test('what breaks the rules is refused', async (t) => {
  const good = payloadOf(
    recordsFrame(0, [{ tuples: webFlow(1).tuples, ended: false, mark: 0, status: 6, timeoutS: 1 }]),
  );
  const changed = (change: (bytes: Buffer) => void) => {
    const bytes = Buffer.from(good);
    change(bytes);
    return bytes;
  };
  for (const [name, payload] of [
    ['an unknown kind', Buffer.from([99, 0, 0, 0])],
    ['no records', changed((it) => it.writeUInt32LE(0, 12)).subarray(0, 16)],
    ['more records than there are', changed((it) => it.writeUInt32LE(2, 12))],
    ['fewer', Buffer.concat([good, good.subarray(16)])],
    ['a sequence that is no number', changed((it) => it.writeDoubleLE(Number.NaN, 4))],
    ['a negative one', changed((it) => it.writeDoubleLE(-1, 4))],
    ['unknown bits', changed((it) => it.writeUInt32LE(0x80, 16))],
    ['a status that only the kernel may set', changed((it) => it.writeUInt32LE(0x0100, 16))],
    ['a life of years', changed((it) => it.writeUInt32LE(1e9, 24))],
    ['another protocol', changed((it) => it.writeUInt8(1, 28))],
    ['an address of 5 bytes', Buffer.from([KIND.begin, 0, 0, 0, 1, 0, 0, 0, 5, 1, 2, 3, 4, 5])],
  ] as const)
    t.throws(() => parseFlowFrame(payload), ProtocolError, name);
});

t.test('whatever comes, it is read or refused', async () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), fc.uint8Array({ maxLength: 200 }), (kind, rest) => {
      try {
        parseFlowFrame(Buffer.concat([Buffer.from([kind, 0, 0, 0]), rest]));
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
      }
    }),
    { numRuns: 2000 },
  );
});

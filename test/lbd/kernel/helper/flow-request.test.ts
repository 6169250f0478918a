import fc from 'fast-check';
import t from 'tap';
import { RequestBatch } from '../../../../lbd/flow/conntrack-request.ts';
import { keyOf } from '../../../../lbd/flow/flow.ts';
import { FlowScope } from '../../../../lbd/flow/flow-scope.ts';
import {
  admitFlows,
  type FlowRights,
  MAX_FRAME_BYTES,
  MAX_RECORDS,
  RecentRights,
  TypedBatch,
} from '../../../../lbd/kernel/helper/flow-request.ts';
import { MalformedRequest } from '../../../../lbd/kernel/helper/requests.ts';
import { FRONTENDS, readRequests, tuplesOf, VIP, webFlow } from '../../flow/flows.ts';

const MARKS = 0xff00;
const RIGHTS: FlowRights = { scopes: [new FlowScope(FRONTENDS)], marks: MARKS };
const flow = { ...webFlow(1), timeoutS: 600 };
const six = {
  tuples: tuplesOf('tcp', '[fd00::50]:1234', '[fd00::100]:80', '[fd00::21]:80', '[fd00::100]:4321'),
  mark: 0,
  status: 0,
  timeoutS: 1,
};

/** Records of a batch, and what of them reaches the kernel. */
function admit(
  fill: (batch: TypedBatch) => void,
  change: (records: Buffer) => void = () => {},
  rights = RIGHTS,
) {
  const typed = new TypedBatch(MAX_RECORDS);
  fill(typed);
  const records = Buffer.copyBytesFrom(typed.take(), 4);
  change(records);
  const batch = new RequestBatch(MAX_RECORDS);
  const refused = admitFlows(records, rights, 0, batch);
  return { refused, count: batch.count, bytes: batch.count === 0 ? undefined : batch.take() };
}

t.test('what is about our flows reaches the kernel as lbd itself would write it', async (t) => {
  const fill = (batch: Pick<TypedBatch, 'insert' | 'update' | 'delete' | 'dump' | 'nothing'>) => {
    batch.insert(1, { ...flow, mark: 0x1200 });
    batch.update(2, { ...flow, mark: 0x0100 }, 6, MARKS);
    batch.delete(3, keyOf(flow.tuples));
    batch.insert(4, six);
    batch.delete(5, keyOf(six.tuples));
    batch.dump(6);
    batch.nothing(2 ** 32 - 1);
  };
  const { refused, bytes } = admit(fill);
  const direct = new RequestBatch(7);
  fill(direct);
  t.strictSame(refused, []);
  t.strictSame(bytes, direct.take());
});

t.test('a batch is empty again when it was taken', async (t) => {
  const batch = new TypedBatch(2);
  batch.nothing(1);
  t.equal(batch.room, 1);
  batch.take();
  t.equal(batch.count, 0);
  batch.nothing(2);
  t.equal(batch.take().readUInt32LE(0), 20);
});

t.test('flows that are not ours, or not as they may be, are refused', async (t) => {
  const to = (service: string, backend: string, translated?: string) =>
    tuplesOf('tcp', '10.1.0.9:4000', service, backend, translated);
  const elsewhere: Record<string, string> = {
    'another port of the VIP': to(`${VIP}:22`, '10.0.0.21:22'),
    'another address of this host': to('10.0.0.1:80', '10.0.0.21:80'),
    'a host that is no backend': to(`${VIP}:80`, '10.9.9.9:80'),
    'another port of a backend': to(`${VIP}:80`, '10.0.0.21:22'),
    'answers to a third': to(`${VIP}:80`, '10.0.0.21:80', '10.0.0.77:4000'),
    'another protocol': `\u0001${flow.tuples.slice(1)}`,
  };
  for (const [name, tuples] of Object.entries(elsewhere)) {
    t.match(
      admit((batch) => batch.insert(7, { ...flow, tuples })),
      { refused: [7], count: 0 },
      `insert: ${name}`,
    );
    t.match(
      admit((batch) => batch.update(8, { ...flow, tuples }, 0, 0)),
      { refused: [8], count: 0 },
      name,
    );
  }
  for (const name of ['another port of the VIP', 'another address of this host', 'another protocol'])
    t.match(
      admit((batch) => batch.delete(9, keyOf(elsewhere[name]!))),
      { refused: [9], count: 0 },
      `delete: ${name}`,
    );
  t.match(
    admit((batch) => batch.insert(1, { ...flow, mark: 1 })),
    { refused: [1] },
    'a mark that is not ours',
  );
  t.match(
    admit((batch) => batch.update(1, flow, 0, 0x1ff00)),
    { refused: [1] },
    'bits that are not ours',
  );
  t.match(
    admit((batch) => batch.insert(1, { ...flow, timeoutS: 0 })),
    { refused: [1] },
    'no life',
  );
  t.match(
    admit((batch) => batch.insert(1, { ...flow, timeoutS: 604_801 })),
    { refused: [1] },
    'a life too long',
  );
  t.match(
    admit(
      (batch) => batch.insert(1, flow),
      (it) => it.writeUInt8(0xff, 2),
    ),
    { refused: [1] },
    'a status',
  );
  t.match(
    admit(
      (batch) => batch.insert(1, flow),
      (it) => it.writeUInt8(0x80, 3),
    ),
    { refused: [1] },
    'it has a status',
  );
});

t.test('the others of a batch are carried out', async (t) => {
  const { refused, bytes } = admit((batch) => {
    batch.insert(1, flow);
    batch.insert(2, { ...flow, mark: 1 });
    batch.nothing(3);
  });
  t.strictSame(refused, [2]);
  t.strictSame(
    readRequests(bytes!.subarray(0, bytes!.length - 20)).map(({ sequence }) => sequence),
    [1],
  );
});

t.test('what lbd wants of the config before a reload is ours for a moment', async (t) => {
  const rights = new RecentRights();
  const wants = (nowMs: number) =>
    admit(
      (batch) => {
        batch.update(1, { ...flow, mark: 0x0100 }, 0, MARKS);
        batch.delete(2, keyOf(flow.tuples));
      },
      undefined,
      rights.at(nowMs),
    ).refused;
  t.strictSame(wants(0), [1, 2], 'before there is any');
  rights.change(FRONTENDS, MARKS, 0);
  t.strictSame(wants(0), []);
  t.strictSame(wants(1e9), []);
  rights.change([], 0, 1e9);
  t.strictSame(wants(1e9 + 9_999), []);
  t.strictSame(wants(1e9 + 10_000), [1, 2]);
});

t.test('a frame that is none', async (t) => {
  const records = (fill: (batch: TypedBatch) => void) => {
    const batch = new TypedBatch(MAX_RECORDS + 1);
    fill(batch);
    return Buffer.copyBytesFrom(batch.take(), 4);
  };
  const one = records((batch) => batch.insert(1, flow));
  const changed = (at: number, value: number) => {
    const bytes = Buffer.from(one);
    bytes[at] = value;
    return bytes;
  };
  for (const [name, bytes] of Object.entries({
    empty: Buffer.alloc(0),
    'cut in its head': one.subarray(0, 19),
    'cut in its flow': one.subarray(0, one.length - 1),
    'more than there is': changed(1, 255),
    'no flow': changed(1, 0),
    'an operation of 0': changed(0, 0),
    'an operation of 6': changed(0, 6),
    'a dump with a flow': changed(0, 4),
    'a deletion with both directions': changed(0, 3),
    'too many': records((batch) => {
      for (let i = 0; i <= MAX_RECORDS; i++) batch.nothing(i);
    }),
  }))
    t.throws(() => admitFlows(bytes, RIGHTS, 0, new RequestBatch(MAX_RECORDS + 1)), MalformedRequest, name);
});

t.test('whatever comes, no more reaches the kernel than is ours', async () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          head: fc.uint8Array({ minLength: 20, maxLength: 20 }),
          operation: fc.integer({ min: 1, max: 5 }),
          tuples: fc.oneof(
            fc.constant(flow.tuples),
            fc.constant(keyOf(flow.tuples)),
            fc.string({ unit: 'binary-ascii', maxLength: 80 }),
          ),
        }),
        { maxLength: 8 },
      ),
      (all) => {
        const bytes = Buffer.concat(
          all.map(({ head, operation, tuples }) => {
            const record = Buffer.concat([head, Buffer.from(tuples, 'latin1')]);
            record[0] = operation;
            record[1] = tuples.length;
            return record;
          }),
        );
        const batch = new RequestBatch(MAX_RECORDS);
        try {
          admitFlows(bytes, RIGHTS, 0, batch);
        } catch (error) {
          return error instanceof MalformedRequest;
        }
        const keys = new Set([flow.tuples, keyOf(flow.tuples)]);
        return (
          bytes.length <= MAX_FRAME_BYTES &&
          readRequests(batch.take()).every(
            ({ type, tuples }) => type === 1 || tuples === '' || keys.has(tuples),
          )
        );
      },
    ),
  );
});

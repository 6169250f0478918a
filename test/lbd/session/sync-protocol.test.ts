import t from 'tap';
import { Registers } from '../../../lbd/session/registers.ts';
import type { SyncCompanion } from '../../../lbd/session/sync-companion.ts';
import { FRAME, wordsFrame } from '../../../lbd/session/sync-frame.ts';
import { type Hello, helloFrame } from '../../../lbd/session/sync-hello.ts';
import { SyncProtocol } from '../../../lbd/session/sync-protocol.ts';
import { SessionTable } from '../../../lbd/session/table.ts';

function node(nowMs: number, companion?: SyncCompanion) {
  const table = new SessionTable(SessionTable.create(1024), 0, {
    hashKey: Uint32Array.of(1, 2, 3, 4),
    nowMs: () => nowMs,
  });
  const registers = new Registers('a');
  const protocol = new SyncProtocol({
    table,
    registers,
    companion,
    cluster: 'shop',
    node: 'a',
    peer: 'b',
    boot: '0000000000000001',
  });
  protocol.connect(nowMs);
  const hello: Hello = {
    cluster: 'shop',
    node: 'b',
    boot: '0000000000000002',
    capacity: 1024,
    keyFingerprint: table.keyFingerprint,
    clock: 1,
    known: null,
  };
  return { table, registers, protocol, hello };
}

const start = wordsFrame(FRAME.start, [0, 0, 0]);

const refused: [what: string, change: (hello: Hello) => Hello, why: RegExp][] = [
  ['another cluster', (hello) => ({ ...hello, cluster: 'bank' }), /cluster "bank", this node of "shop"/],
  ['another name', (hello) => ({ ...hello, node: 'c' }), /"c" called, "a" expects "b"/],
  ['itself', (hello) => ({ ...hello, boot: '0000000000000001' }), /expects/],
  ['other session keys', (hello) => ({ ...hello, keyFingerprint: 1 }), /same secret/],
  ['a malformed hello', (hello) => ({ ...hello, boot: 'x' }), /malformed hello: boot/],
  [
    'a malformed name of a table',
    (hello) => ({ ...hello, flowTable: 'x'.repeat(16) }),
    /malformed hello: flowTable/,
  ],
];
for (const [what, change, why] of refused)
  t.test(`refuses ${what}, and tells it why`, async (t) => {
    const { protocol, hello } = node(0);
    protocol.receive(helloFrame(change(hello)), 0);
    t.match(protocol.failure, why);
    t.match(protocol.pull(0)?.toString('latin1'), why);
    t.equal(protocol.pull(0), undefined, 'and nothing more');
    t.match(protocol.status(0), { state: 'connecting', why });
  });

t.test('refuses another version before it reads anything else', async (t) => {
  const { protocol, hello } = node(0);
  protocol.receive(helloFrame(hello, 2), 0);
  t.match(protocol.failure, /version 2 of session sync, this node 1/);
});

t.test('shows why the peer refused, without control characters', async (t) => {
  const { protocol } = node(0);
  const text = Buffer.from('no\x1b[2Jway');
  const head = Buffer.from([text.length, 0, 0, 0, FRAME.refused, 0, 0, 0]);
  protocol.receive(Buffer.concat([head, text]), 0);
  t.equal(protocol.failure, 'b refused: no?[2Jway');
});

/** The hello of a node that has sessions by this hash key, and the key itself. */
const THEIRS = new SessionTable(SessionTable.create(1024), 0, { hashKey: Uint32Array.of(9, 8, 7, 6) });
const theirHello = (hello: Hello): Buffer =>
  helloFrame({ ...hello, keyFingerprint: THEIRS.keyFingerprint, takesHashKey: false });
const theirKey = wordsFrame(FRAME.hashKey, [...THEIRS.hashKey]);

t.test('a hash key comes before all else, once, and only as the hello said', async (t) => {
  const { protocol, hello, table } = node(0);
  const former = table.keyFingerprint;
  protocol.receive(theirHello(hello), 0);
  t.match(protocol.pull(0)?.toString('latin1'), /"takesHashKey":true/);
  t.equal(protocol.pull(0), undefined, 'nothing is said by the former key');
  protocol.receive(theirKey, 0);
  t.equal(protocol.failure, undefined);
  t.equal(table.keyFingerprint, THEIRS.keyFingerprint);
  t.not(table.keyFingerprint, former);
  protocol.receive(theirKey, 0);
  t.match(protocol.failure, /nobody asked for/);
});

t.test('a hash key is refused where it is not the one that was said, or comes too late', async (t) => {
  const cases: [frame: Buffer, before: (table: SessionTable) => void, why: RegExp][] = [
    [wordsFrame(FRAME.hashKey, [1, 1, 1, 1]), () => {}, /another key of the hashes/],
    [start, () => {}, /start before the key/],
    [
      theirKey,
      (table) => {
        table.keyOfSource(7, '192.0.2.1');
        table.store(1, 60_000);
      },
      /sessions came meanwhile/,
    ],
  ];
  for (const [frame, before, why] of cases) {
    const { protocol, hello, table } = node(0);
    const former = table.keyFingerprint;
    protocol.receive(theirHello(hello), 0);
    before(table);
    protocol.receive(frame, 0);
    t.match(protocol.failure, why);
    t.equal(table.keyFingerprint, former);
  }
});

t.test('a peer of the last release, which takes no hash key, is sent none', async (t) => {
  const { protocol, hello } = node(0);
  protocol.receive(helloFrame({ ...hello, keyFingerprint: 1 }), 0);
  t.match(protocol.failure, /session keys differ/);
  t.match(protocol.pull(0)?.readUInt32LE(4), FRAME.refused);
});

t.test(
  'registers about engines go to a peer that takes them; the last release takes them for a breach',
  async (t) => {
    for (const engines of [true, undefined]) {
      const { protocol, hello, registers } = node(0);
      registers.set('engine/a/db', { engine: 'user', why: 'x' });
      registers.set('backend/db/s1', { admin: 'drain' });
      protocol.receive(helloFrame({ ...hello, engines }), 0);
      protocol.receive(start, 0);
      let sent = '';
      for (let frame = protocol.pull(0); frame !== undefined; frame = protocol.pull(0))
        sent += frame.toString('latin1');
      t.match(sent, 'backend/db/s1');
      t.equal(sent.includes('engine/a/db'), engines === true);
      registers.set('engine/a/db', { engine: 'kernel', why: 'x' });
      t.equal(protocol.pull(0)?.toString('latin1').includes('engine/a/db') ?? false, engines === true);
    }
  },
);

const breaches: [what: string, frames: Buffer[]][] = [
  ['updates before the start', [wordsFrame(FRAME.updates, [0, 0, 1, 1])]],
  ['a second start', [start, start]],
  ['a resume that was not offered', [wordsFrame(FRAME.start, [1, 5, 0])]],
  ['updates out of sequence', [start, wordsFrame(FRAME.updates, [5, 0, 1, 1])]],
  ['an acknowledgement of what was never sent', [start, wordsFrame(FRAME.ack, [9, 0, 0, 0])]],
  ['an acknowledgement of registers that were never sent', [start, wordsFrame(FRAME.ack, [0, 0, 1, 0])]],
  ['an acknowledgement of a round that was never ended', [start, wordsFrame(FRAME.ack, [0, 0, 0, 1])]],
  ['the end of a round that is not under way', [start, wordsFrame(FRAME.done, [1, 0])]],
  ['digests out of turn', [start, wordsFrame(FRAME.digests, [1, 0, 5, 1, 0, 0])]],
  ['digests that are not there', [start, wordsFrame(FRAME.digests, [1, 0, 0, 9, 0, 0])]],
  ['an entry without a pool', [start, wordsFrame(FRAME.entries, [1, 1, 2, 3, 4, 0, 1, 5, 3, 100])]],
  ['a hash key that nobody asked for', [wordsFrame(FRAME.hashKey, [1, 2, 3, 4])]],
  ['a clock of nought', [start, wordsFrame(FRAME.entries, [0])]],
];
for (const [what, frames] of breaches)
  t.test(`drops the link at ${what}`, async (t) => {
    const { protocol, hello, table } = node(0);
    protocol.receive(helloFrame(hello), 0);
    for (const frame of frames) {
      t.equal(protocol.failure, undefined);
      protocol.receive(frame, 0);
    }
    t.type(protocol.failure, 'string');
    t.equal(table.size, 0);
  });

t.test('pings when it has nothing to say, and gives up a silent peer', async (t) => {
  const { protocol, hello } = node(0);
  protocol.receive(helloFrame(hello), 0);
  protocol.receive(start, 0);
  for (let nowMs = 0; nowMs <= 3000; nowMs += 100) {
    protocol.tick(nowMs);
    while (protocol.pull(nowMs));
  }
  t.equal(protocol.failure, undefined);
  protocol.tick(3100);
  t.match(protocol.failure, /silent for 3000 ms/);
});

t.test('says how long it has nothing to do', async (t) => {
  const { protocol, hello, table, registers } = node(0);
  const rest = (nowMs: number) => {
    while (protocol.pull(nowMs));
    return protocol.idleMs(nowMs);
  };
  protocol.receive(helloFrame(hello), 0);
  protocol.receive(start, 0);
  t.equal(protocol.idleMs(0), 0, 'its answer waits');
  t.equal(rest(0), 1000, 'the peer is at work: a ping is next');
  t.equal(rest(400), 600);

  table.keyOfSource(7, '192.0.2.1');
  table.store(1, 60_000);
  t.equal(protocol.idleMs(400), 600, 'a change has to be taken in first');
  t.equal(protocol.tick(400), 1);
  t.equal(protocol.idleMs(400), 0);
  t.equal(rest(400), 1000, 'an acknowledgement comes by itself');
  t.equal(protocol.tick(400), 0);

  registers.set('admin/web/s1', 'drain');
  t.equal(protocol.idleMs(500), 0, 'a register');
  t.equal(rest(500), 1000);

  protocol.receive(wordsFrame(FRAME.done, [1, 0]), 600);
  t.equal(protocol.idleMs(600), 0, 'an acknowledgement');
  const againMs = rest(600);
  t.ok(againMs > 0 && againMs < 1000, 'the next comparison');
  protocol.receive(wordsFrame(FRAME.round), 600);
  t.equal(protocol.idleMs(600), 0, 'one that the peer asks for');
  protocol.disconnect();
  t.equal(protocol.idleMs(600), Number.POSITIVE_INFINITY, 'without a link nothing is due');
});

t.test('what else travels on the link keeps it awake', async (t) => {
  let dueMs = 0;
  const marks: (string | undefined)[] = [];
  const companion = {
    ...{ tableMark: '00000000000000aa', connect: (_nowMs: number, mark?: string) => void marks.push(mark) },
    ...{ idleMs: () => dueMs, onNews: undefined, complete: true, mark: () => 0, reached: () => true },
    ...{ disconnect() {}, receive() {}, pull: () => undefined },
  };
  const { protocol, hello } = node(0, companion);
  protocol.receive(helloFrame({ ...hello, flows: true, flowTable: '00000000000000bb' }), 0);
  protocol.receive(start, 0);
  t.match(protocol.pull(0)?.toString('latin1'), /"flowTable":"00000000000000aa"/);
  t.strictSame(marks, ['00000000000000bb'], 'each knows the table of the other one');
  while (protocol.pull(0));
  t.equal(protocol.idleMs(0), 0);
  dueMs = 300;
  t.equal(protocol.idleMs(0), 300);
  dueMs = Number.POSITIVE_INFINITY;
  t.equal(protocol.idleMs(0), 1000);
});

t.test('after this thread itself slept, silence proves nothing', async (t) => {
  const { protocol, hello } = node(0);
  protocol.receive(helloFrame(hello), 0);
  protocol.tick(0);
  protocol.tick(60_000);
  t.equal(protocol.failure, undefined);
});

/** Lets time pass with a peer that says `frame` each second, and reads all. @returns when the link failed */
function pass(protocol: SyncProtocol, frame: Buffer, forMs: number): number {
  for (let nowMs = 0; nowMs <= forMs; nowMs += 100) {
    if (nowMs % 1000 === 0) protocol.receive(frame, nowMs);
    protocol.tick(nowMs);
    while (protocol.pull(nowMs));
    if (protocol.failure !== undefined) return nowMs;
  }
  return Number.POSITIVE_INFINITY;
}

const ping = wordsFrame(FRAME.ping);

t.test('gives up a peer that dribbles its greeting', async (t) => {
  const { protocol } = node(0);
  t.equal(pass(protocol, Buffer.alloc(1), 10_000), 5100);
  t.match(protocol.failure, /b did not greet within 5000 ms/);
});

t.test('gives up a peer that never acknowledges, however lively it is', async (t) => {
  const { protocol, hello, table } = node(0);
  protocol.receive(helloFrame(hello), 0);
  protocol.receive(start, 0);
  table.keyOfSource(7, '10.0.0.1');
  table.store(1, 60_000);
  t.equal(pass(protocol, ping, 20_000), 15_100);
  t.match(protocol.failure, /b has acknowledged nothing for 15 s/);
});

t.test('gives up a peer with which the tables never come in step', async (t) => {
  const { protocol, hello } = node(0);
  protocol.receive(helloFrame(hello), 0);
  protocol.receive(start, 0);
  t.equal(pass(protocol, ping, 40_000), 30_100);
  t.match(protocol.failure, /has not gone on with the comparison of tables for 30 s/);
});

t.test('tables of different size work together, and the status says so', async (t) => {
  const { protocol, hello } = node(0);
  protocol.receive(helloFrame({ ...hello, capacity: 2048 }), 0);
  protocol.receive(start, 0);
  t.match(protocol.status(0), { state: 'snapshot', why: /1024 here and 2048 on b/ });
});

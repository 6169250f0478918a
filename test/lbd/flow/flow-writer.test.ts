import t from 'tap';
import { MESSAGE } from '../../../lbd/flow/conntrack-message.ts';
import { endText, keyOf } from '../../../lbd/flow/flow.ts';
import { FlowReplica } from '../../../lbd/flow/flow-replica.ts';
import { FlowRoles } from '../../../lbd/flow/flow-roles.ts';
import { addressBytes, FlowScope } from '../../../lbd/flow/flow-scope.ts';
import { FlowTable } from '../../../lbd/flow/flow-table.ts';
import { BATCH_REQUESTS, FlowWriter } from '../../../lbd/flow/flow-writer.ts';
import { FakeKernel, FRONTENDS, readRequests, VIP, webFlow } from './flows.ts';

const ADDRESS = addressBytes(VIP)!;

/** A standby whose peer is active. */
function newStandby(looks?: number, marks?: number) {
  const kernel = new FakeKernel();
  const roles = new FlowRoles();
  roles.assign(new Map([[ADDRESS, 'standby']]));
  roles.setPeer([ADDRESS]);
  const scope = new FlowScope(FRONTENDS);
  const replica = new FlowReplica();
  let nowMs = 0;
  const table: FlowTable = new FlowTable(scope, {
    onFlow: () => {},
    onGone: (key) => writer.onGone(key, place, nowMs),
    nowMs: () => nowMs,
  });
  const writer = new FlowWriter({
    table,
    replica,
    roles,
    scope: () => scope,
    marks: () => marks ?? 0,
    ...(looks && { looks }),
  });
  let place = 0;
  const listen = () => {
    for (const { kind, flow } of kernel.events.splice(0))
      if (kind === 'flow') table.note(flow);
      else table.gone(flow.tuples, 0);
  };
  return {
    kernel,
    roles,
    replica,
    table,
    writer,
    /** The peer tells. */
    tell(number: number, ended = false, backend?: string, mark = 0) {
      const { tuples, status, timeoutS } = webFlow(number, backend);
      const record = { tuples: ended ? keyOf(tuples) : tuples, ended, mark, status: status & 6, timeoutS };
      writer.want(replica.apply(record), place++);
    },
    /** One batch to the kernel and back. @returns types of the requests */
    write(): number[] {
      const batch = writer.next(nowMs);
      if (batch === undefined) return [];
      const types = readRequests(batch).map(({ type }) => type);
      const answers = kernel.run(batch);
      listen();
      for (const [sequence, error] of answers) writer.onAnswer(sequence, error);
      return types;
    },
    listen,
    wait(ms: number) {
      nowMs += ms;
      writer.patrol(place, nowMs);
    },
    has: () => [...kernel.flows.values()].map(({ tuples }) => tuples.charCodeAt(4)).sort(),
    applied: () => writer.appliedUpTo(place),
  };
}

t.test(
  'what the peer tells is written, acknowledged when the kernel has it, and ended with it',
  async (t) => {
    const node = newStandby();
    node.tell(1);
    node.tell(2);
    t.equal(node.applied(), 0);
    t.strictSame(node.write(), [MESSAGE.new, MESSAGE.new]);
    t.equal(node.applied(), 2);
    t.strictSame(node.has(), [1, 2]);
    node.tell(1, true);
    t.strictSame(node.write(), [MESSAGE.delete]);
    t.strictSame(node.has(), [2]);
    t.strictSame(node.write(), []);
  },
);

t.test('a flow that ended before it was written costs nothing', async (t) => {
  const node = newStandby();
  node.tell(1);
  node.tell(1, true);
  t.strictSame(node.write(), []);
  t.equal(node.applied(), 2);
});

t.test('a flow that took the place of another one replaces it', async (t) => {
  const node = newStandby();
  node.tell(1);
  node.write();
  node.tell(1, false, '10.0.0.22:80');
  t.strictSame(node.write(), [MESSAGE.delete, MESSAGE.new]);
  t.equal([...node.kernel.flows.values()][0]?.tuples, webFlow(1, '10.0.0.22:80').tuples);
});

t.test('one that this node had when it was active is made to take any window', async (t) => {
  const node = newStandby();
  node.kernel.set(webFlow(1));
  node.listen();
  node.tell(1);
  t.strictSame(node.write(), [MESSAGE.new]);
  t.equal(node.kernel.flows.size, 1);
  node.tell(1);
  t.strictSame(node.write(), [], 'once');
});

t.test('what the kernel has without the table is replaced: it has ended here', async (t) => {
  const node = newStandby();
  node.kernel.set({ ...webFlow(1, '10.0.0.22:80'), tcpState: 7 });
  node.listen();
  t.equal(node.table.size, 0);
  node.tell(1);
  t.strictSame(node.write(), [MESSAGE.new], 'refused');
  t.equal(node.writer.idle, false);
  t.strictSame(node.write(), [MESSAGE.delete, MESSAGE.new]);
  t.equal(node.writer.idle, true);
  t.match([...node.kernel.flows.values()], [{ tuples: webFlow(1).tuples, tcpState: 3 }]);
  t.strictSame(node.writer.failed, { count: 0, cause: '' });
});

t.test('a full kernel is told, and tried again by the patrol', async (t) => {
  const node = newStandby();
  node.kernel.room = 0;
  node.tell(1);
  node.write();
  t.match(node.writer.failed, { count: 1, cause: /full/ });
  t.equal(node.applied(), 1, 'the stream goes on');
  node.kernel.room = 1;
  node.wait(1);
  node.write();
  t.strictSame(node.has(), [1]);
});

t.test('a kernel that stays full is tried with a few flows at a time', async (t) => {
  const node = newStandby();
  node.kernel.room = 0;
  for (let i = 0; i < 100; i++) node.tell(i);
  node.write();
  node.wait(1);
  const tries = node.write().length;
  t.ok(tries > 0 && tries < 50, `${tries} of 100`);
  node.kernel.room = 100;
  for (let i = 0; i < 3; i++) {
    node.wait(1);
    node.write();
  }
  t.equal(node.kernel.flows.size, 100, 'when there is room, all come');
});

t.test('a flow that ends here but not at the peer comes back, not at once', async (t) => {
  const node = newStandby();
  node.tell(1);
  node.write();
  node.kernel.remove(keyOf(webFlow(1).tuples));
  node.listen();
  t.strictSame(node.write(), [], 'it was written a moment ago');
  node.wait(1);
  t.strictSame(node.write(), [MESSAGE.new]);
  node.wait(2000);
  node.kernel.remove(keyOf(webFlow(1).tuples));
  node.listen();
  t.strictSame(node.write(), [MESSAGE.new], 'later at once');
});

t.test('a new life comes before half of the old one is over', async (t) => {
  const node = newStandby();
  node.tell(1);
  node.write();
  node.wait(432_000 * 500 - 1);
  t.strictSame(node.write(), []);
  node.wait(1);
  t.strictSame(node.write(), [MESSAGE.new]);
});

t.test('batches have a size', async (t) => {
  const node = newStandby();
  for (let i = 0; i < 300; i++) node.tell(i);
  const sizes: number[] = [];
  for (let types = node.write(); types.length > 0; types = node.write()) sizes.push(types.length);
  t.equal(sizes[0], BATCH_REQUESTS - 1, 'there must be room for one that is replaced');
  t.equal(node.kernel.flows.size, 300);
  t.equal(node.applied(), 300);
});

t.test('a batch whose answer never came is written again', async (t) => {
  const node = newStandby();
  node.tell(1);
  t.ok(node.writer.next(0));
  t.equal(node.writer.waitingMs(700), 700);
  t.equal(node.applied(), 0, 'not before the answer');
  node.writer.lost();
  t.equal(node.applied(), 0);
  node.write();
  t.strictSame(node.has(), [1]);
  t.equal(node.applied(), 1);
});

for (const [why, change] of [
  ['the address is no VIP', (node) => node.roles.assign(new Map())],
  ['the client is this node', (node) => node.roles.setLocal(new Set([addressBytes('10.1.0.1')!]))],
] as [string, (node: ReturnType<typeof newStandby>) => void][])
  t.test(`nothing is written where ${why}`, async (t) => {
    const node = newStandby();
    change(node);
    node.tell(1);
    node.wait(1);
    t.strictSame(node.write(), []);
    t.equal(node.applied(), 1);
  });

t.test('an active node takes over what it does not have, and touches nothing that it has', async (t) => {
  const node = newStandby();
  node.roles.assign(new Map([[ADDRESS, 'active']]));
  node.kernel.set(webFlow(1));
  node.listen();
  node.tell(1, false, '10.0.0.22:80');
  node.tell(2);
  node.tell(3, false, '10.9.9.9:80');
  t.strictSame(node.write(), [MESSAGE.new]);
  t.strictSame(node.has(), [1, 2]);
  t.equal(node.kernel.flows.get(keyOf(webFlow(1).tuples))!.tuples, webFlow(1).tuples);
  node.tell(2, true);
  t.strictSame(node.write(), [], 'that it ended at the peer says nothing');
  t.strictSame(node.has(), [1, 2]);
});

t.test('while its own clients finish it follows the peer, and deletes nothing', async (t) => {
  const node = newStandby();
  node.kernel.set(webFlow(1));
  node.listen();
  node.roles.assign(new Map([[ADDRESS, 'finishing']]));
  node.tell(2);
  node.tell(1, true);
  node.writer.survey(2);
  t.strictSame(node.write(), [MESSAGE.new]);
  t.strictSame(node.has(), [1, 2]);
  node.roles.assign(new Map([[ADDRESS, 'standby']]));
  node.writer.survey(2);
  while (node.writer.due) node.write();
  t.strictSame(node.has(), [2]);
});

t.test('a look at all flows comes in slices, and what came later is acknowledged after it', async (t) => {
  const node = newStandby(2);
  for (let i = 1; i <= 7; i++) node.kernel.set(webFlow(i));
  node.listen();
  for (let i = 1; i <= 5; i++) node.tell(i);
  while (node.writer.due) node.write();
  t.equal(node.applied(), 5);
  node.writer.survey(5);
  node.tell(8);
  const applied: number[] = [];
  while (node.writer.due) {
    node.write();
    applied.push(node.applied());
  }
  t.ok(applied.length > 4, `${applied.length} slices`);
  t.equal(applied.pop(), 6);
  t.ok(applied.every((place) => place === 5));
  t.strictSame(node.has(), [1, 2, 3, 4, 5, 8]);
});

t.test('nothing that it does not know is deleted while a snapshot is under way', async (t) => {
  const node = newStandby();
  node.kernel.set(webFlow(1));
  node.listen();
  node.replica.beginSnapshot();
  node.writer.survey(0);
  t.strictSame(node.write(), []);
  t.equal(node.writer.idle, true);
  node.replica.endSnapshot();
  node.writer.survey(0);
  t.strictSame(node.write(), [MESSAGE.delete]);
});

t.test(
  'nothing that it does not know is deleted while the peer has not said that it is active',
  async (t) => {
    const node = newStandby();
    node.kernel.set(webFlow(1));
    node.listen();
    node.roles.setPeer([]);
    node.writer.want(keyOf(webFlow(1).tuples), 0);
    t.strictSame(node.write(), []);
    node.roles.setPeer([ADDRESS]);
    node.writer.want(keyOf(webFlow(1).tuples), 0);
    t.strictSame(node.write(), [MESSAGE.delete]);
  },
);

t.test('a flow to a host that is no backend is not written, and said', async (t) => {
  const node = newStandby();
  node.tell(1, false, '10.9.9.9:80');
  node.tell(2);
  t.strictSame(node.write(), [MESSAGE.new]);
  t.strictSame(node.has(), [2]);
  t.equal(node.applied(), 2, 'the stream goes on');
  t.equal(endText(node.writer.strange!.tuples), '10.9.9.9:80');
  node.wait(1000);
  t.strictSame(node.write(), []);
});

t.test('marks that no rule of this pair uses do not come with a flow', async (t) => {
  for (const [marks, mark] of [
    [0, 0],
    [0x0f, 0x07],
    [0xffffffff, 0xfffffff7],
  ] as const) {
    const node = newStandby(undefined, marks);
    node.tell(1, false, undefined, 0xfffffff7);
    node.write();
    t.equal([...node.kernel.flows.values()][0]!.mark, mark);
  }
});

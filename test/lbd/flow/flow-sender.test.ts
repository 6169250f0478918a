import t from 'tap';
import { keyOf } from '../../../lbd/flow/flow.ts';
import { KIND, parseFlowFrame, RECORDS_PER_FRAME } from '../../../lbd/flow/flow-frame.ts';
import { FlowRoles } from '../../../lbd/flow/flow-roles.ts';
import { addressBytes, FlowScope } from '../../../lbd/flow/flow-scope.ts';
import { FlowSender } from '../../../lbd/flow/flow-sender.ts';
import { FlowTable } from '../../../lbd/flow/flow-table.ts';
import { FRAME_HEAD, ProtocolError } from '../../../lbd/session/sync-frame.ts';
import { FRONTENDS, VIP, webFlow } from './flows.ts';

/** An active node; frames as a story: `begin`, numbers of flows with `-` where they ended, `end`. */
function newActive() {
  const roles = new FlowRoles();
  roles.assign(new Map([[addressBytes(VIP)!, 'active']]));
  let nowMs = 0;
  const table: FlowTable = new FlowTable(new FlowScope(FRONTENDS), {
    onFlow: (key, flow) => sender.onFlow(key, flow, nowMs),
    onGone: (key) => sender.onGone(key, nowMs),
    nowMs: () => nowMs,
  });
  const sender = new FlowSender(table, roles);
  sender.connect();
  return {
    roles,
    table,
    sender,
    wait(ms: number) {
      nowMs += ms;
      return nowMs;
    },
    told(): string {
      const story: string[] = [];
      const next = () => {
        const isDue = sender.idleMs(nowMs) === 0;
        const frame = sender.next(nowMs);
        // What has nothing to tell after all is due, too; what is not due must have nothing.
        if (frame !== undefined && !isDue) throw new Error('a frame that was not due');
        return frame;
      };
      for (let frame = next(); frame !== undefined; frame = next()) {
        const read = parseFlowFrame(frame.subarray(FRAME_HEAD));
        if (read.kind === KIND.records)
          for (const { tuples, ended } of read.records)
            story.push(`${ended ? '-' : ''}${tuples.charCodeAt(4)}`);
        else if (read.kind === KIND.begin) story.push('begin');
        else if (read.kind === KIND.end) story.push(`end ${read.digest.count}`);
        else if (read.kind === KIND.digest) story.push(`digest ${read.digest.count}`);
      }
      return story.join(' ');
    },
  };
}

t.test('a snapshot, then changes, then now and then a digest', async (t) => {
  const { table, sender, told, wait } = newActive();
  table.note(webFlow(1));
  t.equal(told(), '', 'nothing before both nodes can');
  sender.start(0);
  t.equal(told(), 'begin 1 end 1');
  wait(10);
  table.note(webFlow(2));
  table.note({ ...webFlow(2), tcpState: 4 });
  t.equal(told(), '2', 'the state of TCP is no news');
  wait(10);
  table.gone(webFlow(1).tuples, 0);
  t.equal(told(), '-1');
  wait(5000);
  t.equal(told(), 'digest 1');
});

t.test('a flow is told from the handshake until both sides have closed', async (t) => {
  const { table, sender, told, wait } = newActive();
  sender.start(0);
  told();
  const story = [1, 2, 3, 5, 6, 7, 8].map((tcpState) => {
    wait(10);
    table.note({ ...webFlow(1), tcpState });
    return told();
  });
  t.strictSame(story, ['', '', '1', '', '', '-1', '']);
});

t.test('a flow that ended before it was told costs nothing', async (t) => {
  const { table, sender, told } = newActive();
  sender.start(0);
  told();
  table.note(webFlow(1));
  table.gone(webFlow(1).tuples, 0);
  t.equal(told(), '');
  t.equal(sender.reached(sender.mark()), true);
});

t.test('only flows to addresses for which the node is active, of clients elsewhere', async (t) => {
  const { table, sender, told, roles, wait } = newActive();
  roles.setLocal(new Set([addressBytes('10.1.0.1')!]));
  table.note(webFlow(1));
  table.note(webFlow(2));
  sender.start(0);
  t.equal(told(), 'begin 2 end 1');
  roles.assign(new Map([[addressBytes(VIP)!, 'standby']]));
  sender.restart(wait(1));
  t.equal(told(), 'begin end 0');
});

t.test('an acknowledgement says what the peer has, and how late', async (t) => {
  const { table, sender, told, wait } = newActive();
  table.note(webFlow(1));
  sender.start(wait(1));
  const mark = sender.mark();
  told();
  t.equal(sender.reached(mark), false, 'the snapshot came after the mark, but counts');
  sender.onAck(1, true, wait(1000));
  t.equal(sender.reached(mark), true);
  t.equal(sender.filled, true);
  t.equal(sender.lag.quantileMs(1, wait(0)), undefined, 'a snapshot is no lag');
  table.note(webFlow(2));
  t.equal(sender.reached(sender.mark()), false);
  told();
  t.equal(sender.behindMs(wait(3)), 3);
  sender.onAck(2, true, wait(0));
  t.equal(sender.behindMs(wait(0)), 0);
  t.equal(sender.lag.quantileMs(1, wait(0)), 5);
  for (const applied of [1, 3]) t.throws(() => sender.onAck(applied, true, wait(0)), ProtocolError);
});

t.test('a port that is used again is told with its new backend', async (t) => {
  const { table, sender, told, wait } = newActive();
  sender.start(0);
  told();
  table.note(webFlow(1));
  told();
  wait(10);
  table.note(webFlow(1, '10.0.0.22:80'));
  t.equal(told(), '1');
  t.equal(table.get(keyOf(webFlow(1).tuples))?.count.backend, 's2');
});

t.test('changes gather for a moment, but a full frame does not wait', async (t) => {
  const { table, sender, told, wait } = newActive();
  sender.start(0);
  table.note(webFlow(1));
  t.equal(told(), 'begin 1 end 1');
  table.note(webFlow(2));
  t.equal(told(), '', 'the one before left just now');
  wait(10);
  t.equal(told(), '2');
  for (let i = 0; i < RECORDS_PER_FRAME + 1; i++) table.note(webFlow(3 + i));
  t.equal(told().split(' ').length, RECORDS_PER_FRAME);
});

t.test('when the next frame is due', async (t) => {
  const { table, sender, told, wait } = newActive();
  t.equal(sender.idleMs(0), Number.POSITIVE_INFINITY, 'nothing before both nodes can');
  sender.start(0);
  told();
  t.equal(sender.idleMs(0), 5000, 'a digest');
  wait(1000);
  table.note(webFlow(1));
  t.equal(sender.idleMs(1000), 0);
  told();
  wait(1);
  table.note(webFlow(2));
  t.equal(sender.idleMs(1001), 7, 'two frames have a distance');
  t.equal(told(), '');
  wait(7);
  t.equal(told(), '2');
});

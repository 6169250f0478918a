import t from 'tap';
import type { Flow } from '../../../lbd/flow/flow.ts';
import { FlowScope } from '../../../lbd/flow/flow-scope.ts';
import { FlowTable } from '../../../lbd/flow/flow-table.ts';
import { FRONTENDS, webFlow } from './flows.ts';

/** A table and the story of its events. */
function newTable() {
  const story: string[] = [];
  const clock = { nowMs: 0 };
  const name = (flow: Flow) =>
    `${flow.tuples.charCodeAt(4)}${flow.tcpState === 3 ? '' : ` in ${flow.tcpState}`}`;
  const table = new FlowTable(new FlowScope(FRONTENDS), {
    onFlow: (_key, flow) => story.push(`flow ${name(flow)}`),
    onGone: (_key, flow) => story.push(`gone ${name(flow)}`),
    nowMs: () => clock.nowMs,
  });
  return { table, clock, story: () => story.splice(0) };
}

const counts = (table: FlowTable) =>
  [...table.counts].map(({ backend, active, opened, bytes }) => [backend, active, opened, bytes]);

t.test('a connection counts from its handshake until both sides have closed', async (t) => {
  const { table, story } = newTable();
  const flow = webFlow(1);
  for (const [tcpState, active] of [
    [1, 0],
    [2, 0],
    [3, 1],
    [4, 1],
    [6, 1],
    [7, 0],
  ] as const) {
    table.note({ ...flow, tcpState });
    t.strictSame(counts(table)[0]?.slice(0, 2), ['s1', active], `state ${tcpState}`);
  }
  t.strictSame(story().at(-1), 'gone 1 in 6');
  t.equal(table.size, 0, 'what has ended is forgotten, however long the kernel keeps it');
  table.gone(flow.tuples, 100);
  t.strictSame(counts(table), [['s1', 0, 1, 100]], 'the bytes come later');
  table.note({ ...flow, tcpState: 7 }, true);
  t.equal(table.size, 0, 'nor does a dump bring it back');
  t.equal(table.silent, false);
});

t.test('a reset ends it; one of an older flow does not', async (t) => {
  const { table, story } = newTable();
  table.note(webFlow(1, '10.0.0.22:80'));
  table.note({ ...webFlow(1), tcpState: 8 });
  t.equal(table.size, 1);
  table.note({ ...webFlow(1, '10.0.0.22:80'), tcpState: 8 });
  t.strictSame(story(), ['flow 1', 'gone 1']);
});

t.test('a flow that is closing is forgotten when the kernel tells no more of it', async (t) => {
  const { table, clock, story } = newTable();
  clock.nowMs = 1000;
  for (const i of [1, 2, 3]) table.note(webFlow(i));
  for (const i of [1, 2, 3]) table.note({ ...webFlow(i), tcpState: 6 });
  // The last acknowledgement of one comes, and another one goes on after all: a new connection with the same ends.
  table.note({ ...webFlow(2), tcpState: 7 });
  table.note(webFlow(3));
  story();
  table.sweep(30_000);
  t.strictSame(story(), []);
  table.sweep(100_000);
  t.strictSame(story(), ['gone 1 in 6']);
  t.equal(table.size, 1);
});

t.test('a flow is dated when it is heard of, also after a process stood still', async (t) => {
  const { table, clock } = newTable();
  table.sweep(1000);
  clock.nowMs = 9000;
  table.note(webFlow(1));
  table.note(webFlow(2), true);
  t.strictSame(
    [...table.entries()].map(([, { sinceMs }]) => sinceMs),
    [9000, Number.NEGATIVE_INFINITY],
  );
});

t.test('a port that is used again is another flow', async (t) => {
  const { table, story } = newTable();
  const [old, young] = [webFlow(1), webFlow(1, '10.0.0.22:80')];
  table.note(old);
  table.note(young);
  t.strictSame(story(), ['flow 1', 'gone 1', 'flow 1']);
  table.gone(old.tuples, 0);
  t.equal(table.size, 1, 'the late end of the old one does not end it');
  t.strictSame(counts(table), [
    ['s1', 0, 1, 0],
    ['s2', 1, 1, 0],
  ]);
});

t.test('a dump ends what it does not show, but not what began meanwhile', async (t) => {
  const { table, story } = newTable();
  for (const i of [1, 2]) table.note(webFlow(i));
  t.equal(table.silent, false);
  story();
  table.beginDump();
  table.note(webFlow(3));
  table.note(webFlow(2), true);
  table.note(webFlow(4), true);
  table.endDump();
  t.strictSame(story(), ['flow 3', 'flow 2', 'flow 4', 'gone 1']);
  t.equal(table.silent, true, 'the kernel may never tell the end of 4');
});

t.test('another config keeps what is still ours', async (t) => {
  const { table } = newTable();
  table.note(webFlow(1));
  table.rescope(new FlowScope(FRONTENDS));
  t.strictSame(counts(table), [['s1', 1, 1, 0]], 'and what was counted');
  table.rescope(new FlowScope([FRONTENDS[1]!]));
  t.equal(table.size, 0);
  table.note(webFlow(1));
  t.equal(table.size, 0, 'it is a stranger now');
});

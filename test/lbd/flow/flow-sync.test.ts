import { setImmediate } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { OperatorError } from '../../../common/errors.ts';
import { keyOf } from '../../../lbd/flow/flow.ts';
import { DIRECT } from '../../../lbd/flow/flow-kernel.ts';
import type { FlowRole } from '../../../lbd/flow/flow-roles.ts';
import { FlowSync } from '../../../lbd/flow/flow-sync.ts';
import { monotonicMs } from '../../../lbd/session/memory.ts';
import { FRAME_HEAD } from '../../../lbd/session/sync-frame.ts';
import { FRONTENDS, VIP, webFlow } from './flows.ts';
import { KernelSocket } from './kernel-socket.ts';

/** Lets two nodes talk until both are silent. */
function talk(a: FlowSync, b: FlowSync, nowMs = 0): void {
  for (let frames = 1; frames > 0; ) {
    frames = 0;
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const)
      for (;;) {
        const frame = from.companion!.pull(nowMs);
        if (frame === undefined) break;
        to.companion!.receive(frame.subarray(FRAME_HEAD), nowMs);
        frames++;
      }
  }
}

/** A node with a fake kernel. */
interface Node {
  readonly flows: FlowSync;
  readonly socket: KernelSocket;
  become(role: FlowRole): void;
  has(number: number): boolean;
}

function newNode(t: Test, peer: string, mark?: () => string): Node {
  const socket = new KernelSocket();
  const flows = new FlowSync({ peer, kernel: socket.way, tell: () => {}, ...(mark && { mark }) });
  t.teardown(() => flows.close());
  flows.apply(FRONTENDS);
  return {
    flows,
    socket,
    become: (role) => flows.assign(new Map([[VIP, role]])),
    has: (number) => socket.kernel.flows.has(keyOf(webFlow(number).tuples)),
  };
}

/** Lets both nodes go on until it is so; forever where it never is. */
async function until(a: Node, b: Node, isSo: () => boolean): Promise<void> {
  while (!isSo()) {
    talk(a.flows, b.flows, monotonicMs());
    await setImmediate();
  }
}

/** The second one follows the first one. */
async function newPair(t: Test): Promise<[active: Node, standby: Node]> {
  const [active, standby] = [newNode(t, 'b'), newNode(t, 'a')];
  active.become('active');
  standby.become('standby');
  for (const { flows } of [active, standby]) flows.companion!.connect(monotonicMs());
  active.socket.kernel.set(webFlow(1));
  await until(active, standby, () => standby.has(1));
  return [active, standby];
}

/** As a stopped process does. */
function standStill(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400);
}

/** What a standby must still write when it is told to be active: it waits with that. */
async function keepBusy(active: Node, standby: Node): Promise<void> {
  standby.socket.hold();
  active.socket.kernel.set(webFlow(2));
  await until(active, standby, () => standby.socket.holds);
}

t.test('a node becomes active when all is written that the former active one told', async (t) => {
  const [active, standby] = await newPair(t);
  await keepBusy(active, standby);
  standby.become('active');
  const { assuming } = standby.flows;
  t.ok(assuming, 'it waits');
  standby.socket.release();
  await assuming;
  t.ok(standby.has(2));
  t.equal(standby.flows.assuming, undefined);
});

t.test('flows that are opened while it waits are not deleted by what it still hears', async (t) => {
  const [former, next] = await newPair(t);
  await keepBusy(former, next);
  next.become('active');
  next.socket.kernel.set(webFlow(3));
  // A snapshot of the former active node, which does not have it.
  for (const { flows } of [former, next]) {
    flows.companion!.disconnect();
    flows.companion!.connect(monotonicMs());
  }
  talk(former.flows, next.flows, monotonicMs());
  const { assuming } = next.flows;
  next.socket.release();
  await assuming;
  t.ok(next.has(2), 'what was told is written');
  t.ok(next.has(3), 'what a client opened is there');
});

t.test('flows that were opened while active was not taken up yet, and never was, are merged', async (t) => {
  const [winner, loser] = await newPair(t);
  await keepBusy(winner, loser);
  loser.become('active');
  t.ok(loser.flows.assuming, 'it waits');
  loser.socket.kernel.set(webFlow(3));
  loser.become('standby');
  t.equal(loser.flows.assuming, undefined, 'nobody waits any more');
  loser.socket.release();
  // A new link makes the standby look at all that it has.
  for (const { flows } of [winner, loser]) {
    flows.companion!.disconnect();
    flows.companion!.connect(monotonicMs());
  }
  await until(winner, loser, () => winner.has(3) || !loser.has(3));
  t.ok(winner.has(3), 'who won has it');
  await until(winner, loser, () => loser.flows.status().digest_equal === true);
  t.ok(loser.has(3), 'who lost has it still');
});

t.test('a process that stood still hears its agent before it does what its peer said', async (t) => {
  const [winner, loser] = await newPair(t);
  loser.socket.kernel.set(webFlow(3));
  await until(winner, loser, () => loser.flows.status().flows === 2);
  standStill();
  for (const { flows } of [winner, loser]) {
    flows.companion!.disconnect();
    flows.companion!.connect(monotonicMs());
  }
  talk(winner.flows, loser.flows, monotonicMs());
  loser.become('active');
  loser.become('standby');
  await until(winner, loser, () => winner.has(3) || !loser.has(3));
  t.ok(winner.has(3), 'who won has it');
});

t.test('without frontends of the kernel engine nobody waits for flows', async (t) => {
  const nodes = ['a', 'b'].map((peer) => new FlowSync({ peer, tell: () => t.fail('nothing to tell') }));
  for (const node of nodes) {
    node.companion!.connect(0);
    t.match(node.status(), { state: 'off', why: '', flows: 0 });
    t.equal(node.companion!.complete, true);
    t.strictSame(node.warnings(), []);
  }
  talk(nodes[0]!, nodes[1]!);
  t.equal(nodes[0]!.companion!.reached(nodes[0]!.companion!.mark()), true);
  for (const node of nodes) node.close();
});

t.test(
  'without connection tracking it says so, here and at the peer, and nobody waits for flows',
  async (t) => {
    const open = () => {
      throw new OperatorError('PERMISSION', 'it needs CAP_NET_ADMIN');
    };
    const { promise: told, resolve } = Promise.withResolvers<string>();
    const node = new FlowSync({
      peer: 'b',
      kernel: { ...DIRECT, open },
      tell: (_level, text) => resolve(text),
    });
    const peer = new FlowSync({ peer: 'a', kernel: { ...DIRECT, open }, tell: () => {} });
    t.teardown(() => {
      for (const it of [node, peer]) it.close();
    });
    node.apply(FRONTENDS);
    for (const it of [node, peer]) it.companion!.connect(0);
    t.match(await told, /^flow sync: it needs CAP_NET_ADMIN/);
    t.match(node.status(), { state: 'failed', why: /CAP_NET_ADMIN/ });
    t.strictSame(node.warnings(), [await told]);
    t.equal(node.companion!.complete, true);
    talk(node, peer);
    t.equal(node.companion!.reached(node.companion!.mark()), true);
  },
);

t.test('a node that cannot name its connection table says so, and its flows travel', async (t) => {
  const node = newNode(t, 'b', () => {
    throw new Error('no boot id');
  });
  t.equal(node.flows.companion!.tableMark, undefined);
  t.match(node.flows.warnings(), [
    /^flow sync: b cannot tell when this node has lost its flows.*: no boot id$/,
  ]);
  t.match(newNode(t, 'b').flows.companion!.tableMark, /^[0-9a-f]{16}$/, 'else it does by itself');
});

t.test('alone there is nothing to carry', async (t) => {
  const node = new FlowSync({ peer: undefined, tell: () => {} });
  t.equal(node.companion, undefined);
  node.close();
});

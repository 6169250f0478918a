import t from 'tap';
import { OperatorError } from '../../../common/errors.ts';
import { DIRECT } from '../../../lbd/flow/flow-kernel.ts';
import { FlowSync } from '../../../lbd/flow/flow-sync.ts';
import { FRAME_HEAD } from '../../../lbd/session/sync-frame.ts';
import { FRONTENDS } from './flows.ts';

/** Lets two nodes talk until both are silent. */
function talk(a: FlowSync, b: FlowSync): void {
  for (let frames = 1; frames > 0; ) {
    frames = 0;
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const)
      for (let frame = from.companion!.pull(0); frame !== undefined; frame = from.companion!.pull(0)) {
        to.companion!.receive(frame.subarray(FRAME_HEAD), 0);
        frames++;
      }
  }
}

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

t.test('alone there is nothing to carry', async (t) => {
  const node = new FlowSync({ peer: undefined, tell: () => {} });
  t.equal(node.companion, undefined);
  node.close();
});

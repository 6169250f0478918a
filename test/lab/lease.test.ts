import t, { type Test } from 'tap';
import { monotonicMs } from '../../common/events.ts';
import { NODES, type NodeName } from '../../scripts/lab/hosts.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { twoOwnersMs } from '../../scripts/lab/ownership.ts';
import type { Pair } from '../../scripts/lab/pair.ts';
import { until } from '../../scripts/lab/wait.ts';
import { LabWitness, WITNESS } from '../../scripts/lab/witness.ts';
import { HEARTBEAT_MS } from './calm.ts';
import { startPair } from './fault-run.ts';

/** Longer than any lease, and than it takes to miss the other one. */
const SETTLED_MS = 8 * HEARTBEAT_MS;

type Machine = NodeName | 'witness';
/** `a` is the active node, `b` the other one, `w` the witness: `a-b` is lost both ways, `a>b` from a to b only. */
type Loss = `${'a' | 'b' | 'w'}${'-' | '>'}${'a' | 'b' | 'w'}`;

const other = (node: NodeName): NodeName => NODES.find((name) => name !== node)!;

/** @returns what mends it */
async function lose(pair: Pair, losses: readonly Loss[]): Promise<() => Promise<unknown>> {
  const active = pair.active();
  const machines: Record<string, Machine> = { a: active, b: other(active), w: 'witness' };
  const rules = losses.flatMap((loss) => {
    const [from, to] = [machines[loss[0]!]!, machines[loss[2]!]!];
    return loss[1] === '>'
      ? [[from, to]]
      : [
          [from, to],
          [to, from],
        ];
  });
  const mends = await Promise.all(
    rules.map(([from, to]) => pair.lab.drop(`iifname "${from}" oifname "${to}"`)),
  );
  return () => Promise.all(mends.map((mend) => mend()));
}

/** Waits until the loss has had its effect: who does not hear the other one has not for long. */
async function settle(pair: Pair): Promise<void> {
  const sinceMs = monotonicMs();
  await until('the roles to be settled', async () => {
    const seen = await Promise.all(NODES.map((node) => pair.status(node)));
    const settled = seen.every(({ since_ms, peer }) => {
      const hears = (peer.seen_ms_ago ?? 0) < HEARTBEAT_MS;
      return (hears || peer.seen_ms_ago! > SETTLED_MS) && since_ms > HEARTBEAT_MS;
    });
    return settled && monotonicMs() - sinceMs > SETTLED_MS;
  });
}

interface Case {
  readonly title: string;
  readonly losses: readonly Loss[];
  /** Who owns the VIP afterwards. */
  readonly owner: 'a' | 'b';
}

const CASES: readonly Case[] = [
  { title: 'the nodes do not hear each other', losses: ['a-b'], owner: 'a' },
  { title: 'the active node and the witness', losses: ['a-w'], owner: 'a' },
  { title: 'the standby and the witness', losses: ['b-w'], owner: 'a' },
  { title: 'the witness is cut off', losses: ['a-w', 'b-w'], owner: 'a' },
  { title: 'the active node is cut off', losses: ['a-b', 'a-w'], owner: 'b' },
  { title: 'the standby is cut off', losses: ['a-b', 'b-w'], owner: 'a' },
  { title: 'the active node is heard by nobody', losses: ['a>b', 'a>w'], owner: 'b' },
  { title: 'the active node hears nobody', losses: ['b>a', 'w>a'], owner: 'b' },
  { title: 'the standby is heard by nobody', losses: ['b>a', 'b>w'], owner: 'a' },
  { title: 'the standby hears nobody', losses: ['a>b', 'w>b'], owner: 'a' },
  { title: 'the standby does not hear the active node', losses: ['a>b'], owner: 'a' },
  { title: 'the active node does not hear the standby', losses: ['b>a'], owner: 'a' },
  { title: 'the witness does not hear the active node', losses: ['a>w'], owner: 'a' },
  { title: 'the active node does not hear the witness', losses: ['w>a'], owner: 'a' },
];

async function play(t: Test, pair: Pair, witness: LabWitness, { losses, owner }: Case): Promise<void> {
  const { ownership } = pair;
  const active = pair.active();
  const from = ownership.changes.length;
  const mend = await lose(pair, losses);
  try {
    await settle(pair);
    t.strictSame(ownership.holders(), [owner === 'a' ? active : other(active)], ownership.describe());
    const changes = ownership.changes.slice(from);
    if (owner === 'a') t.strictSame(changes, [], 'the VIP did not move');
    t.equal(
      twoOwnersMs([{ atMs: 0, node: active, held: true }, ...changes], monotonicMs()),
      0,
      'never two owners',
    );
  } finally {
    await mend();
    await pair.whole();
    await witness.grants();
  }
  t.equal(pair.active(), owner === 'a' ? active : other(active), 'and it stays there when all is well again');
}

/** Something happens to the witness while the nodes hear each other: nothing happens to them. */
async function undisturbed(
  t: Test,
  pair: Pair,
  happen: () => Promise<unknown>,
  state: string,
): Promise<void> {
  const active = pair.active();
  const from = pair.ownership.changes.length;
  await happen();
  await until(`both nodes to see that it is ${state}`, async () => {
    const seen = await Promise.all(NODES.map((node) => pair.status(node)));
    return seen.every(({ lease }) => lease?.state === state);
  });
  t.strictSame(pair.ownership.changes.slice(from), [], 'the VIP did not move');
  t.equal(pair.active(), active);
}

t.test('two nodes and a witness that grants leases', { skip: skipLab() }, async (t) => {
  const pair = await startPair(t, { witness: WITNESS });
  const { lab, ownership } = pair;
  const witness = await LabWitness.start(pair);
  await witness.grants();
  for (const one of CASES) await t.test(`lost: ${one.title}`, (t) => play(t, pair, witness, one));

  await t.test('status and events say who holds the lease', async (t) => {
    const active = pair.active();
    const { stdout } = await pair.lbctl(active, 'status');
    t.match(
      stdout,
      /^witness +10\.84\.0\.3:7473 · grants leases · answered \S+ ago · lease held by this node/m,
    );
    const there = await pair.lbctl(other(active), 'status');
    t.match(there.stdout, /^witness .* · lease held by the other node/m);
    t.ok((await pair.events()).some(({ node, text }) => node === active && text === 'holds the lease'));
  });

  await t.test('a planned switchover hands the lease over', async (t) => {
    const active = pair.active();
    const from = ownership.changes.length;
    await pair.switchover(active);
    await pair.whole();
    t.equal(pair.active(), other(active));
    t.equal(
      twoOwnersMs([{ atMs: 0, node: active, held: true }, ...ownership.changes.slice(from)], monotonicMs()),
      0,
      'never two owners',
    );
    await until('the new active node to hold the lease', async () => {
      const { groups } = await pair.status(other(active));
      return groups[0]?.lease?.holder === 'this node';
    });
  });

  await t.test('the active agent is killed: the other node does not wait for the lease', async (t) => {
    const active = pair.active();
    await pair.daemons[active]['ha-agent'].signal('SIGKILL');
    await ownership.until(
      'the other node to have the VIP',
      () => ownership.holders().join() === other(active),
    );
    await pair.startNode(active);
    await pair.whole();
    await witness.grants();
    t.equal(pair.active(), other(active));
  });

  await t.test('the witness is stopped and goes on', async (t) => {
    await undisturbed(t, pair, () => witness.signal('SIGSTOP'), 'away');
    await undisturbed(t, pair, () => witness.signal('SIGCONT'), 'grants');
  });

  await t.test('the witness is killed and starts anew', async (t) => {
    await undisturbed(t, pair, () => witness.signal('SIGKILL'), 'away');
    await undisturbed(t, pair, async () => witness.start(), 'starting');
    await undisturbed(t, pair, async () => {}, 'grants');
    await witness.grants();
  });

  await t.test('the witness is killed, and then the active node: as without a witness', async (t) => {
    const active = pair.active();
    await undisturbed(t, pair, () => witness.signal('SIGKILL'), 'away');
    await until('both nodes to go on without it', async () => {
      const seen = await Promise.all(NODES.map((node) => pair.status(node)));
      return seen.every(({ groups }) => groups[0]?.lease?.bound === false);
    });
    await lab.cut(active);
    await ownership.until(
      'the other node to have the VIP',
      () => ownership.holders().join() === other(active),
    );
    await lab.heal(active);
    await pair.whole();
    witness.start();
    await witness.grants();
    t.pass();
  });

  await t.test('the nodes are parted and then the witness dies: still at most one owner', async (t) => {
    const active = pair.active();
    const from = ownership.changes.length;
    const mend = await lose(pair, ['a-b']);
    await settle(pair);
    t.strictSame(ownership.holders(), [active]);
    await witness.signal('SIGKILL');
    await until('the lease to be over', () => ownership.holders().length === 0);
    await settle(pair);
    t.strictSame(ownership.holders(), [], 'neither knows what the other one does');
    witness.start();
    await ownership.until('one of them to serve again', () => ownership.holders().length === 1);
    await settle(pair);
    t.equal(ownership.holders().length, 1);
    const changes = ownership.changes.slice(from);
    t.equal(
      twoOwnersMs([{ atMs: 0, node: active, held: true }, ...changes], monotonicMs()),
      0,
      'never two owners',
    );
    await mend();
    await pair.whole();
    await witness.grants();
  });
});

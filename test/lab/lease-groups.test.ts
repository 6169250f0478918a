import t from 'tap';
import { INTERFACE, NODES, type NodeName, VIP } from '../../scripts/lab/hosts.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { until } from '../../scripts/lab/wait.ts';
import { LabWitness, WITNESS } from '../../scripts/lab/witness.ts';
import { HEARTBEAT_MS } from './calm.ts';
import { startPair } from './fault-run.ts';

const MOVES = `
  groups:
    blue:
      vips: [{ address: ${VIP}/24, interface: ${INTERFACE} }]
      priority: { lb1: 150, lb2: 100 }
    green:
      vips: [{ address: ${VIP.replace(/\d+$/, '101')}/24, interface: ${INTERFACE} }]
      priority: { lb1: 100, lb2: 150 }`;
/** Longer than any lease, and than it takes to miss the other node. */
const SETTLED_MS = 8 * HEARTBEAT_MS;

t.test('two VIP groups and a witness that grants leases', { skip: skipLab() }, async (t) => {
  const pair = await startPair(t, { moves: MOVES, witness: WITNESS });
  const { lab } = pair;
  const witness = await LabWitness.start(pair);
  await witness.grants();

  /** `group role` of a node, with the lease where it has that. */
  const roles = async (node: NodeName) =>
    (await pair.status(node)).groups.map(({ name, role, vips, lease }) => {
      const held = vips.every((vip) => vip.held) ? ', held' : '';
      return `${name} ${role}${held}${lease?.holder === 'this node' ? ', leased' : ''}`;
    });
  const become = (node: NodeName, wanted: readonly string[]) =>
    until(`${node}: ${wanted.join('; ')}`, async () => {
      const now = (await roles(node)).join('; ');
      if (now !== wanted.join('; ')) throw new Error(now);
      return true;
    });
  /** Each node does not hear the other one for so long that all has had its effect. */
  const apart = () =>
    until('the nodes to miss each other', async () => {
      const seen = await Promise.all(NODES.map((node) => pair.status(node)));
      return seen.every(({ peer }) => (peer.seen_ms_ago ?? 0) > SETTLED_MS);
    });

  const spread = async () => {
    for (const [group, node] of [
      ['blue', 'lb1'],
      ['green', 'lb2'],
    ])
      t.match(await pair.lbctl('lb1', 'switchover', '--group', group!, '--to', node!), { code: 0 });
    await pair.whole();
    await become('lb1', ['blue active, held, leased', 'green standby']);
    await become('lb2', ['blue standby', 'green active, held, leased']);
  };
  await spread();

  await t.test('the nodes do not hear each other: each keeps what it serves', async (t) => {
    const epochs = await Promise.all(NODES.map(async (node) => (await pair.status(node)).epoch));
    const mends = await Promise.all([lab.partition('lb1', 'lb2'), lab.partition('lb2', 'lb1')]);
    await apart();
    t.strictSame(await roles('lb1'), ['blue active, held, leased', 'green standby']);
    t.strictSame(await roles('lb2'), ['blue standby', 'green active, held, leased']);
    await Promise.all(mends.map((mend) => mend()));
    await pair.whole();
    t.strictSame(await Promise.all(NODES.map(async (node) => (await pair.status(node)).epoch)), epochs);
  });

  await t.test('one is cut off from all: the other one gets both leases', async () => {
    await lab.cut('lb1');
    await become('lb2', ['blue active, held, leased', 'green active, held, leased']);
    await until('lb1 to serve nothing', async () =>
      (await pair.status('lb1')).groups.every(({ vips }) => vips.every(({ held }) => !held)),
    );
    await lab.heal('lb1');
    await pair.whole();
    await witness.grants();
    await spread();
  });

  await t.test(
    'one hears neither the other one nor the witness: it loses its group, and only that',
    async () => {
      const mends = await Promise.all([
        lab.drop('iifname "lb2" oifname { "lb1", "witness" }'),
        lab.drop('iifname { "lb1", "witness" } oifname "lb2"'),
      ]);
      await become('lb1', ['blue active, held, leased', 'green active, held, leased']);
      await until('lb2 to serve nothing', async () =>
        (await pair.status('lb2')).groups.every(({ vips }) => vips.every(({ held }) => !held)),
      );
      await Promise.all(mends.map((mend) => mend()));
      await pair.whole();
    },
  );
});

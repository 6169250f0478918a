import t from 'tap';
import { ADDRESS, INTERFACE, NODES, type NodeName, PREFIX, VIP } from '../../scripts/lab/hosts.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import type { Pair } from '../../scripts/lab/pair.ts';
import { until } from '../../scripts/lab/wait.ts';
import { startPair } from './fault-run.ts';

const MOVES = `
  vips:
    - { address: ${VIP}/${PREFIX}, interface: ${INTERFACE} }
  priority: { lb1: 150, lb2: 100 }
  witness: { addresses: [${ADDRESS.client}], interval: 2s, timeout: 1500ms }`;

async function becomes(pair: Pair, node: NodeName, role: string): Promise<string> {
  let why = '';
  await until(`${node} to be ${role}`, async () => {
    const status = await pair.status(node);
    why = status.why;
    return status.role === role;
  });
  return why;
}

t.test('a node that hears neither the other one nor a witness', { skip: skipLab() }, async (t) => {
  const pair = await startPair(t, { moves: MOVES });
  const { lab, ownership } = pair;
  const other = (node: NodeName) => NODES.find((name) => name !== node)!;

  await t.test('a standby that is cut off does not become active', async (t) => {
    const active = pair.active();
    const mend = await lab.isolate(other(active));
    t.teardown(mend);
    const why = await becomes(pair, other(active), 'fault');
    t.match(why, /^isolated: .*, and lb\d is not heard$/);
    t.equal(pair.active(), active);
    const { stdout } = await pair.lbctl(other(active), 'status');
    t.match(stdout, new RegExp(`^witness +${ADDRESS.client} · silent`, 'm'));
    await mend();
    await pair.whole();
    t.equal(pair.active(), active, 'the role did not move');
  });

  await t.test('an active node that is cut off drops the VIP, the other one serves', async (t) => {
    const active = pair.active();
    const mend = await lab.isolate(active);
    t.teardown(mend);
    await becomes(pair, other(active), 'active');
    t.match(await becomes(pair, active, 'fault'), /^isolated: /);
    await until('the VIP to be at one place', () => ownership.holders().length === 1);
    await mend();
    await pair.whole();
    t.equal(pair.active(), other(active), 'it does not come back (preempt: false)');
  });

  await t.test('a witness that is gone changes nothing while the nodes hear each other', async (t) => {
    const active = pair.active();
    const mends = await Promise.all(
      NODES.map((node) => lab.drop(`iifname "client" oifname "${node}" ether type arp`)),
    );
    t.teardown(() => Promise.all(mends.map((mend) => mend())));
    await until('both nodes to miss the witness', async () => {
      const seen = await Promise.all(NODES.map((node) => pair.status(node)));
      return seen.every(({ witness }) => witness?.state === 'silent');
    });
    t.equal(pair.active(), active);
    await Promise.all(mends.map((mend) => mend()));
    await pair.whole();
    t.equal(pair.active(), active);
  });
});

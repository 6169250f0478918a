import t, { type Test } from 'tap';
import { INTERFACE, NODES, type NodeName, PREFIX, VIP } from '../../scripts/lab/hosts.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import type { Pair } from '../../scripts/lab/pair.ts';
import { until } from '../../scripts/lab/wait.ts';
import { startPair } from './fault-run.ts';

const moves = (settle: string) => `
  vips:
    - { address: ${VIP}/${PREFIX}, interface: ${INTERFACE} }
  priority: { lb1: 150, lb2: 100 }
  settle: ${settle}`;

/** The one who served must be clearly seen to have served longer. */
const SERVED_MS = 3_000;

/**
 * The cable of the active node is pulled and put back; its switch port has a signal, and does not forward yet.
 *
 * @param meanwhile what happens before it forwards
 */
async function replug(
  t: Test,
  pair: Pair,
  meanwhile: (from: NodeName, to: NodeName) => Promise<void>,
): Promise<void> {
  const { lab, ownership } = pair;
  const from = pair.active();
  const to = NODES.find((name) => name !== from)!;
  const forwards = await lab.isolate(from);
  t.teardown(forwards);
  await lab.cut(from);
  await ownership.until(`${to} to take over`, () => ownership.holders().join() === to);
  await lab.heal(from);
  await meanwhile(from, to);
  await forwards();
  await pair.whole();
  t.equal(pair.active(), to, 'the node that served everybody goes on');
}

t.test('the cable is back before the switch forwards', { skip: skipLab() }, async (t) => {
  const pair = await startPair(t, { moves: moves('30s') });
  await replug(t, pair, async (from) => {
    const { ownership } = pair;
    const before = ownership.changes.length;
    await until(`${from} to be done with listening`, async () => {
      const { role, why } = await pair.status(from);
      return role === 'standby' && why.startsWith(`interface ${INTERFACE} has come up`);
    });
    t.equal(ownership.changes.length, before, 'it takes nothing over from a network that it does not hear');
  });
});

t.test('the isolated node takes over all the same, in the same epoch', { skip: skipLab() }, async (t) => {
  const pair = await startPair(t, { moves: moves('0s') });
  // By priority it would win against the one that serves.
  if (pair.active() !== 'lb1') await pair.switchover(pair.active());
  await pair.whole();
  await replug(t, pair, async (from, to) => {
    const { ownership } = pair;
    await ownership.until(`${from} to take over, too`, () => ownership.holders().length === 2);
    await until(`${to} to have served for a while`, async () => {
      const { role, since_ms } = await pair.status(to);
      return role === 'active' && since_ms >= SERVED_MS;
    });
    const [here, there] = await Promise.all([pair.status(from), pair.status(to)]);
    t.equal(here.epoch, there.epoch);
  });
  const events = await pair.events();
  t.ok(
    events.some(({ node, text }) => node === 'lb1' && /lb2 is active too and stays/.test(text)),
    'lb1 yields, and says why',
  );
});

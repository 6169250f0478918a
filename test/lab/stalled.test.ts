import t from 'tap';
import { NODES } from '../../scripts/lab/hosts.ts';
import type { Lab } from '../../scripts/lab/lab.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { until } from '../../scripts/lab/wait.ts';
import { startPair } from './fault-run.ts';

const DEVICE = 'eth1';
const PATH = `{ type: multicast, group: 239.255.84.2, port: 7474, interface: ${DEVICE} }`;
/** A class of 800 bit/s whose queue is longer than what a socket may have in it, so that sends do not settle. */
const THROTTLE = [
  `qdisc add dev ${DEVICE} root handle 1: htb default 20`,
  `class add dev ${DEVICE} parent 1: classid 1:20 htb rate 800bit burst 1 cburst 1 quantum 1500`,
  `qdisc add dev ${DEVICE} parent 1:20 handle 20: pfifo limit 100000`,
].join('\n');
/** Heartbeats that were not sent any more: far more than make a node dead, if nothing else were sent. */
const LEFT_OUT = 12;

/** A second cable from node to node. */
async function addCable(lab: Lab): Promise<undefined> {
  const [one, other] = NODES.map((node) => String(lab.state.anchors[node].pid));
  const ends = ['type', 'veth', 'peer', 'name', DEVICE, 'netns', other!];
  await lab.exec('switch', ['ip', 'link', 'add', DEVICE, 'netns', one!, ...ends]);
  for (const [i, node] of NODES.entries()) {
    await lab.exec(node, ['ip', 'addr', 'add', `10.85.0.${i + 1}/24`, 'dev', DEVICE]);
    await lab.exec(node, ['ip', 'link', 'set', DEVICE, 'up']);
  }
}

t.test('a second interface that takes nothing more costs no VIP', { skip: skipLab() }, async (t) => {
  const pair = await startPair(t, { heartbeatMs: 100, paths: [PATH] }, addCable);
  const active = pair.active();
  const path = async () => (await pair.status(active)).paths.find(({ name }) => name.endsWith(DEVICE))!;
  await until('the second path to be up', async () => (await path()).state === 'up');
  const before = pair.ownership.changes.length;
  const epoch = (await pair.status(active)).epoch;

  await pair.lab.exec(active, ['tc', '-batch', '-'], THROTTLE);
  await until('its sends to stall, and to be left out', async () => {
    const { state, why } = await path();
    const [, leftOut = '0'] = /^it stalls: .* (\d+) heartbeats were left out/.exec(why) ?? [];
    if (state !== 'failed' || Number(leftOut) < LEFT_OUT) throw new Error(`${state}: ${why}`);
    return true;
  });
  t.ok(
    (await pair.events()).some(
      ({ node, kind, text }) => node === active && kind === 'path' && /on eth1 failed: it stalls/.test(text),
    ),
    'it is said',
  );
  t.equal(pair.ownership.changes.length, before, 'the VIP did not move');
  t.match(await pair.status(active), { role: 'active', epoch, guardian: { alive: true } });

  await pair.lab.exec(active, ['tc', 'qdisc', 'del', 'dev', DEVICE, 'root']);
  await until('the path to work again', async () => (await path()).state === 'up');
  await pair.whole();
  t.equal(pair.ownership.changes.length, before);
});

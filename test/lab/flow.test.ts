import t from 'tap';
import type { FlowSyncStatus, SyncStatus } from '../../common/control.ts';
import { Helper } from '../../scripts/lab/helper.ts';
import { ADDRESS, BACKENDS, INTERFACE, NODES, PREFIX, VIP } from '../../scripts/lab/hosts.ts';
import { Lab } from '../../scripts/lab/lab.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { until } from '../../scripts/lab/wait.ts';
import type { FlowAnswer } from './flow-answer.ts';

type NodeName = (typeof NODES)[number];

interface NodeStatus {
  readonly sync: SyncStatus;
  readonly flows: FlowSyncStatus;
}

/**
 * Rules like those of the kernel engine, but with a random backend: only a synced table leads a flow to the same one on
 * the other node. Packets of unknown flows are dropped.
 */
const RULES = `
table ip flows {
  chain drops {
    type filter hook prerouting priority -150; policy accept;
    ip daddr ${VIP} ct state invalid counter drop
  }
  chain backends {
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr ${VIP} dnat to numgen random mod 3 map { ${BACKENDS.map((it, i) => `${i} : ${ADDRESS[it]}`).join(', ')} }
  }
  chain source {
    type nat hook postrouting priority srcnat; policy accept;
    ct status dnat snat to ${VIP}
  }
}`;

const startNode = (lab: Lab, node: NodeName) => new Helper(lab, node, ['test/lab/flow-node.ts', node]);

/** Waits for what a node says of its flow sync. */
function untilFlows(node: Helper, what: string, holds: (status: NodeStatus) => boolean): Promise<NodeStatus> {
  return until(what, async () => {
    const status = await node.ask<NodeStatus>('status');
    if (holds(status)) return status;
    throw new Error(JSON.stringify(status));
  });
}

async function prepare(lab: Lab): Promise<void> {
  for (const node of NODES) {
    // Nothing is picked up in the middle: what goes on was synced.
    const settings = 'net.ipv4.ip_forward=1 net.netfilter.nf_conntrack_tcp_loose=0'.split(' ');
    await lab.exec(node, ['nft', '-f', '-'], RULES);
    for (const setting of settings) {
      const [name, value] = setting.split('=') as [string, string];
      await lab.exec(node, ['tee', `/proc/sys/${name.replaceAll('.', '/')}`], value);
    }
  }
}

async function addVip(lab: Lab, node: NodeName): Promise<void> {
  await lab.exec(node, ['ip', 'addr', 'add', `${VIP}/${PREFIX}`, 'dev', INTERFACE]);
  await lab.run(node, ['arping', '-q', '-U', '-c', '1', '-w', '1', '-I', INTERFACE, VIP]);
}

const removeVip = (lab: Lab, node: NodeName) =>
  lab.exec(node, ['ip', 'addr', 'del', `${VIP}/${PREFIX}`, 'dev', INTERFACE]);

t.test(
  'open connections survive the death of the active node, and the way back',
  { skip: skipLab() },
  async (t) => {
    const lab = await Lab.up();
    t.teardown(() => lab.down());
    await prepare(lab);
    const origins = BACKENDS.map((host) => new Helper(lab, host, ['test/lab/flow-origin.ts', host]));
    await Promise.all(origins.map((origin) => origin.line()));
    let lb1 = startNode(lab, 'lb1');
    const lb2 = startNode(lab, 'lb2');
    await addVip(lab, 'lb1');
    lb1.tell('active');
    await untilFlows(lb2, 'the standby is filled', ({ sync }) => sync.state === 'synced');

    const clients = new Helper(lab, 'client', ['test/lab/flow-clients.ts']);
    const ask = () => clients.ask<FlowAnswer>('more');
    const before = await ask();
    t.strictSame(before.troubles, []);
    t.ok(before.backends.length > 1, 'different backends serve');
    const all = before.clients;
    await untilFlows(lb2, 'the standby has all flows', ({ flows }) => flows.replica === all);
    await untilFlows(lb2, 'they are in its kernel', ({ flows }) => flows.flows === all);

    lb1.process.kill('SIGKILL');
    await lab.cut('lb1');
    lb2.tell('active');
    await addVip(lab, 'lb2');
    const after = await ask();
    t.strictSame(after.troubles, [], 'nobody was reset or led to another backend');

    await removeVip(lab, 'lb1');
    await lab.heal('lb1');
    lb1 = startNode(lab, 'lb1');
    await untilFlows(lb1, 'the returning node is filled', ({ sync }) => sync.state === 'synced');
    const back = await untilFlows(lb1, 'its kernel has all flows', ({ flows }) => flows.replica === all);
    t.equal(back.flows.digest_equal, true);

    await removeVip(lab, 'lb2');
    lb2.tell('standby');
    lb1.tell('active');
    await addVip(lab, 'lb1');
    t.strictSame((await ask()).troubles, [], 'also on the way back');

    clients.process.stdin!.end();
    await untilFlows(lb2, 'what ended is gone from the standby', ({ flows }) => flows.replica === 10);
    await untilFlows(lb2, 'and from its kernel', ({ flows }) => flows.flows === 10);
  },
);

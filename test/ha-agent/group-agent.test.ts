import t, { type Test } from 'tap';
import { OperatorError } from '../../common/errors.ts';
import type { PeerReport } from '../../ha-agent/election-types.ts';
import { GroupAgent } from '../../ha-agent/group-agent.ts';
import { until } from '../../scripts/lab/wait.ts';
import { FakeNetwork } from './fake-network.ts';
import { CONFIG } from './story.ts';
import { group, vip } from './vips.ts';

/** A node whose ticks come by nobody, so that it must not be measured by them. */
const SLOW = { ...CONFIG, intervalMs: 10_000, trackLbd: false, neighbours: ['192.0.2.2'] };
const FAULTY: PeerReport = {
  ...{ role: 'fault', priority: 0, epoch: 1, intervalMs: 10_000, healthy: true },
  ...{ request: false, probe: false, finishing: false, forwards: false },
};

function start(t: Test) {
  const events = {
    onInterface() {},
    onSettings() {},
    onAdders() {},
    onFormerRoutes() {},
    onAbility() {},
    onTold() {},
    onTrouble() {},
  };
  const host = new FakeNetwork({ groups: [group('default', [vip('192.0.2.100/24')])], watched: [] }, events);
  const sent: PeerReport[] = [];
  const agent = new GroupAgent('default', SLOW, host.group(), {
    send: async (report) => void sent.push(report),
    renewNonce() {},
    checkWitness() {},
    wantLease() {},
    tellLbd() {},
    notify() {},
    log() {},
  });
  t.teardown(() => agent.stop());
  agent.start([]);
  return { agent, host, sent };
}

/** It is active and has its VIPs. */
async function serving(t: Test) {
  const started = start(t);
  const { agent, host } = started;
  agent.dispatch({ type: 'heartbeat', report: FAULTY, restarted: true });
  agent.dispatch({ type: 'promoted', epoch: agent.state.epoch });
  await until('the VIPs', () => agent.state.vip === 'held');
  return { ...started, network: host.group() };
}

t.test('the peer hears of other times before this node goes by them', async (t) => {
  const { agent, sent } = start(t);
  const before = sent.length;
  agent.configure({ ...SLOW, deadAfter: 7 });
  t.strictSame(
    sent.slice(before).map(({ deadTimeMs }) => deadTimeMs),
    [70_000],
  );
  agent.configure({ ...SLOW, deadAfter: 7, drainMs: 1 });
  t.equal(sent.length, before + 1, 'other settings are no news for the peer');
});

t.test('a renewal that finds the VIPs gone is a fault at once, any other failure is not', async (t) => {
  const { agent, network } = await serving(t);
  network.failing = new OperatorError('IP_FAILED', 'ip did not answer');
  await until('a renewal to fail', () => agent.state.renewal.trouble === 'ip did not answer');
  t.equal(agent.state.role, 'active');
  network.failing = new OperatorError('VIP_FAILED', '192.0.2.100 is not there');
  await until('the fault', () => agent.state.role === 'fault');
  t.equal(agent.state.why, 'the VIPs lost: 192.0.2.100 is not there');
});

for (const [who, address] of [
  ['the machine of the peer', '192.0.2.2'],
  ['a gateway', '192.0.2.254'],
] as const)
  t.test(`an answer of ${who} shows that the network works, and is none for a VIP`, async (t) => {
    const { agent, host } = start(t);
    host.group().gateways = ['192.0.2.254'];
    host.neighbours = () => [{ address, by: '02:00:00:00:00:02' }];
    agent.configure({ ...SLOW, settleMs: 60_000 });
    agent.dispatch({ type: 'wake' });
    await until('a sign of the network', () => agent.state.link.carriesSinceMs !== undefined);
    t.equal(agent.state.answers.rival, undefined);
  });

t.test('once the network is known to carry frames, no neighbour is asked for', async (t) => {
  const { agent, host } = start(t);
  host.group().gateways = ['192.0.2.254'];
  const asked: (readonly string[])[] = [];
  host.neighbours = (neighbours) => {
    asked.push(neighbours);
    return [];
  };
  agent.dispatch({ type: 'carries' });
  agent.configure({ ...SLOW, intervalMs: 10 });
  const pulse = setInterval(() => agent.dispatch({ type: 'tick' }), 10);
  t.teardown(() => clearInterval(pulse));
  await until('a question', () => asked.length > 0);
  t.strictSame(asked[0], [SLOW.self.address]);
});

t.test('who answers for an address of this node is a proxy, and no other owner of a VIP', async (t) => {
  const { agent, host } = start(t);
  const by = '02:00:00:00:00:09';
  host.neighbours = () => [
    { address: SLOW.self.address, by },
    { address: '192.0.2.100', by },
  ];
  agent.configure({ ...SLOW, settleMs: 60_000 });
  agent.dispatch({ type: 'wake' });
  await until('the answers', () => agent.state.answers.answeredMs !== undefined);
  t.strictSame(agent.state.answers.proxies, [by]);
  t.equal(agent.state.answers.rival, undefined);
});

t.test('so is who answers for what nobody has, without this address', async (t) => {
  const { agent, host } = start(t);
  const by = '02:00:00:00:00:09';
  host.neighbours = () => [{ address: '192.0.2.100', by }];
  host.proxies = [by];
  agent.configure({ ...SLOW, settleMs: 60_000 });
  agent.dispatch({ type: 'wake' });
  await until('the answers', () => agent.state.answers.answeredMs !== undefined);
  t.strictSame(agent.state.answers.proxies, [by]);
  t.equal(agent.state.answers.rival, undefined);
});

t.test('another config forgives a late beat only where the beats come at another time', (t) => {
  const { agent } = start(t);
  const { lastTickMs } = agent.state;
  agent.configure({ ...SLOW, drainMs: 1 });
  t.equal(agent.state.lastTickMs, lastTickMs, 'such as when the host can forward all of a sudden');
  agent.configure({ ...SLOW, intervalMs: 20_000 });
  t.not(agent.state.lastTickMs, lastTickMs);
  t.end();
});

t.test('who else has the VIPs is looked for before they come, while the peer is heard', async (t) => {
  const { network } = await serving(t);
  t.strictSame(network.looks, [[]], 'once, and nothing waits for it');
});

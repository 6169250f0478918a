import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { join } from 'node:path';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { type Role, SOCKETS } from '../../common/control.ts';
import { SECTIONS } from '../../common/digest.ts';
import { EventLog } from '../../common/events.ts';
import type { UnmetNeed } from '../../common/host-needs.ts';
import type { GroupConfig, VipRoute } from '../../common/model.ts';
import type { Keys } from '../../common/secret.ts';
import { Agent } from '../../ha-agent/agent.ts';
import { type AgentConfig, networkConfig } from '../../ha-agent/agent-config.ts';
import { createIdentity } from '../../ha-agent/heartbeat.ts';
import { leaseIdentities } from '../../ha-agent/lease-keys.ts';
import { decodeQuestion, type LeaseIdentity } from '../../ha-agent/lease-message.ts';
import { until } from '../../scripts/lab/wait.ts';
import { freeDatagramPort } from '../common/free-port.ts';
import { tempDir } from '../common/temp-dir.ts';
import { FakeLbd } from './fake-lbd.ts';
import { FakeNetwork } from './fake-network.ts';
import { group, vip } from './vips.ts';

const VIP = '192.0.2.100/24';
const KEY = Buffer.alloc(32, 1);
/** Heartbeats: a second of silence, so that a pause of this busy process is none. */
const DEAD_AFTER = 25;

// Most of the time goes to waiting for silence.
t.jobs = 8;

interface Node {
  readonly agent: Agent;
  readonly network: FakeNetwork;
  readonly events: EventLog;
  readonly config: AgentConfig;
}

/** Two real agents on loopback addresses of their own, each on a fake host network. */
class Pair {
  /** Who held a VIP, at each change of any. */
  readonly owners: string[] = [];
  groups: readonly GroupConfig[] = [group('default', [vip(VIP)])];
  readonly #directory: string;
  readonly #port: number;
  readonly #trackLbd: boolean;
  readonly #running: Agent[] = [];
  readonly #nodes = new Map<string, Node>();

  constructor(directory: string, port: number, trackLbd: boolean) {
    this.#directory = directory;
    this.#port = port;
    this.#trackLbd = trackLbd;
  }

  async start(
    name: 'lb1' | 'lb2',
    key = KEY,
    prepare: (network: FakeNetwork) => void = () => {},
  ): Promise<Node> {
    const peer = name === 'lb1' ? 'lb2' : 'lb1';
    const config = this.config(name);
    const events = new EventLog('agent');
    let network: FakeNetwork | undefined;
    const agent = new Agent({
      config,
      identity: createIdentity(key, 'shop', name, peer),
      leaseIdentities: leaseIdentities('shop', [key]),
      runDir: join(this.#directory, name),
      log: pino({ level: 'silent' }),
      events,
      createNetwork: (initial, handlers) => {
        network = new FakeNetwork(networkConfig(initial), handlers);
        network.secondChance = this.#trackLbd;
        network.onChange = () => this.#note();
        prepare(network);
        return network;
      },
    });
    const node = { agent, network: network!, events, config };
    this.#nodes.set(name, node);
    this.#running.push(agent);
    await agent.start();
    return node;
  }

  config(name: 'lb1' | 'lb2', intervalMs = 40, groups = this.groups): AgentConfig {
    const node = (n: string) => ({
      name: n,
      address: n === 'lb1' ? '127.0.0.1' : '127.0.0.2',
    });
    const config = {
      file: '/etc/tandem/tandem.yaml',
      digest: 'd'.repeat(64),
      sectionDigests: '',
      cluster: {
        name: 'shop',
        secretFile: '/etc/tandem/secret',
        self: node(name),
        peer: node(name === 'lb1' ? 'lb2' : 'lb1'),
      },
      ha: {
        heartbeat: { intervalMs, deadAfter: DEAD_AFTER },
        paths: [{ type: 'unicast', port: this.#port }],
        groups,
        vips: groups.flatMap(({ vips }) => vips),
        garp: { count: 1, refreshMs: 60_000 },
        track: { lbd: this.#trackLbd, interfaces: ['eth1'] },
        notify: { active: undefined, standby: undefined, fault: undefined },
      },
      frontends: [],
      pools: [{ drainTimeoutMs: 5_000, health: { type: 'none' } }],
    };
    return config as unknown as AgentConfig;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#running.map((agent) => agent.stop()));
  }

  #note(): void {
    const nodes = [...this.#nodes];
    for (const { address, prefix } of this.groups.flatMap(({ vips }) => vips)) {
      const held = nodes.filter(([, { network }]) => network.held.has(`${address}/${prefix}`));
      this.owners.push(held.map(([name]) => name).join('+'));
    }
  }
}

const role = (node: Node, wanted: Role) => until(`${wanted}`, () => node.agent.status().role === wanted);
const hears = (node: Node, wanted: Role) =>
  until(`a ${wanted} peer`, () => node.agent.status().peer.role === wanted);
const holds = (node: Node) => until('the VIP', () => node.network.held.has(VIP));

async function pair(t: Test, trackLbd = false, directory = tempDir(t)): Promise<Pair> {
  const pair = new Pair(directory, await freeDatagramPort(), trackLbd);
  t.teardown(() => pair.stop());
  return pair;
}

t.test('two agents elect, switch over and stop, and never own the VIP together', async (t) => {
  const two = await pair(t);
  const [lb1, lb2] = await Promise.all([two.start('lb1'), two.start('lb2')]);
  await holds(lb1);
  await hears(lb1, 'standby');
  const status = lb1.agent.status();
  t.match(status, { node: 'lb1', role: 'active', epoch: 1, vips: [{ address: VIP, held: true }] });
  t.match(status, { peer: { node: 'lb2', alive: true, same_config: true }, guardian: { alive: true } });
  t.match(status.paths, [{ state: 'up', why: '' }]);

  t.equal(await lb1.agent.switchover(undefined), 'lb2 is active');
  t.equal(await lb1.agent.switchover('lb1'), 'lb1 is active', 'asked for by the standby');
  await t.rejects(lb1.agent.switchover('lb9'), { message: 'there is no node "lb9"; the nodes are lb1, lb2' });

  await lb1.agent.stop();
  await holds(lb2);
  t.equal(lb1.network.calls.at(-1), 'close');
  t.notOk(two.owners.includes('lb1+lb2'), `owners: ${two.owners.join(' ')}`);
  t.ok(lb2.events.list().some(({ text }) => text.includes('lb1 stepped down')));
});

t.test('a peer that vanishes is replaced, and finds the role taken when it returns', async (t) => {
  const two = await pair(t);
  const lb1 = await two.start('lb1');
  const lb2 = await two.start('lb2');
  await holds(lb1);
  await role(lb2, 'standby');
  lb1.network.events.onInterface('eth1', false, 'interface eth1 has no carrier');
  await holds(lb2);
  t.match(lb1.agent.status(), { role: 'fault', why: 'interface eth1 has no carrier' });
  lb1.network.events.onInterface('eth1', true, '');
  await role(lb1, 'standby');
  t.ok(lb2.network.held.has(VIP));
});

t.test('a VIP that cannot be added is a fault with its cause', async (t) => {
  const two = await pair(t);
  const lb1 = await two.start('lb1');
  lb1.network.group().failing = 'no such device';
  await role(lb1, 'fault');
  t.equal(lb1.agent.status().why, 'the VIPs could not be added: no such device');
});

t.test('a takeover that would fail is known before it is needed', async (t) => {
  const two = await pair(t);
  const lb1 = await two.start('lb1', KEY, (network) => {
    network.group().failing = 'no such device';
  });
  await until('the rehearsal', () =>
    lb1.events.list().some(({ text }) => text === 'a takeover would fail now: no such device'),
  );
  lb1.network.group().failing = undefined;
  await holds(lb1);
});

t.test('another secret: heartbeats are counted by cause and shown', async (t) => {
  const two = await pair(t);
  const lb1 = await two.start('lb1');
  await two.start('lb2', Buffer.alloc(32, 2));
  await until('a refusal', () => (lb1.agent.status().paths[0]?.dropped.auth ?? 0) > 0);
  const { warnings, peer } = lb1.agent.status();
  t.equal(peer.role, 'unknown');
  t.ok(warnings.some((line) => line.includes('another secret')));
});

t.test('a peer with another secret that serves is not dead; once it has stopped, it is', async (t) => {
  const two = await pair(t);
  const lb1 = await two.start('lb1');
  await holds(lb1);
  const lb2 = await two.start('lb2', Buffer.alloc(32, 2));
  const answer = { address: '192.0.2.100', by: '02:00:00:00:00:01' };
  lb2.network.neighbours = () => (lb1.network.held.size > 0 ? [answer] : []);
  await until('lb2 to say what it waits for', () =>
    /^lb1 is heard, but not understood: .*; 02:00:00:00:00:01 answers for 192\.0\.2\.100$/.test(
      lb2.agent.status().why,
    ),
  );
  t.match(
    [lb1, lb2].map(({ agent }) => agent.status().role),
    ['active', 'standby'],
  );
  await lb1.agent.stop();
  await holds(lb2);
  t.notOk(two.owners.includes('lb1+lb2'));
});

t.test('lbd is told the role before the VIP is added; its death is a fault at once', async (t) => {
  const directory = tempDir(t);
  const two = await pair(t, true, directory);
  const lbd = new FakeLbd(join(directory, 'lb1', SOCKETS.live));
  await lbd.start();
  const lb1 = await two.start('lb1');
  await holds(lb1);
  t.match(lbd.roles.at(-1), { group: 'default', role: 'active', epoch: 1 });
  await lbd.kill();
  await role(lb1, 'fault');
  await until('the VIP gone', () => !lb1.network.held.has(VIP));
  t.match(lb1.agent.status(), { lbd: { alive: false } });
});

t.test('switchover with open connections: they finish on the former active node', async (t) => {
  const directory = tempDir(t);
  const two = await pair(t, true, directory);
  const lbds = {
    lb1: new FakeLbd(join(directory, 'lb1', SOCKETS.live)),
    lb2: new FakeLbd(join(directory, 'lb2', SOCKETS.live)),
  };
  for (const lbd of Object.values(lbds)) await lbd.start();
  const [lb1, lb2] = await Promise.all([two.start('lb1'), two.start('lb2')]);
  await holds(lb1);
  await hears(lb1, 'standby');
  await until('both can', () => lb1.agent.status().second_chance.available);
  const well = { type: 'state', ready: true, healthy: true, sync: 'synced', why: '' } as const;

  await lb1.agent.switchover('lb2');
  await until('finishing', () => lbds.lb1.roles.some(({ finishing }) => finishing === 'finishing'));
  lbds.lb1.say({ ...well, connections: { default: 2 } });
  await until('the count', () => lb1.agent.status().second_chance.finishing?.connections === 2);
  t.ok(lb1.network.parked.has(VIP), 'the address stays for open connections');
  t.equal(lb2.agent.status().second_chance.forwarding, true);
  const { calls } = lb2.network;
  t.ok(calls.indexOf('forward') < calls.lastIndexOf('add'), `rules before the VIP: ${calls.join(' ')}`);
  t.ok(lb1.events.list().some(({ text }) => /^finishing the connections of the former active/.test(text)));

  lbds.lb1.say({ ...well, connections: { default: 0 } });
  await until('the end', () => lb1.agent.status().second_chance.finishing === undefined);
  await until('no rules', () => lb2.network.calls.includes('unforward'));
  t.notOk(lb1.network.parked.has(VIP));
  t.match(lbds.lb1.roles.at(-1), { role: 'standby' });
  t.notOk(two.owners.includes('lb1+lb2'), `owners: ${two.owners.join(' ')}`);
  for (const lbd of Object.values(lbds)) t.teardown(() => lbd.kill());
});

t.test('a config can be reloaded; one for another pair is refused', async (t) => {
  const two = await pair(t);
  const lb1 = await two.start('lb1');
  await holds(lb1);
  await lb1.agent.reload(two.config('lb1', 60));
  t.notMatch(lb1.agent.status().warnings.join(), 'not reloaded');
  t.equal(lb1.agent.status().role, 'active');
  const other = two.config('lb2');
  await lb1.agent.reload(other);
  t.match(lb1.agent.status().warnings.join(), 'need a restart');
});

const BLUE = group('blue', [vip('192.0.2.101/24')]);
const GREEN = group('green', [vip('192.0.2.102/24', 'eth2')], { priority: { lb1: 100, lb2: 150 } });
const ROUTE: VipRoute = {
  ...({
    to: '10.7.0.0/16',
    family: 4,
    via: undefined,
    interface: 'eth1',
    src: undefined,
    table: undefined,
  } as const),
};
const isActive = (node: Node, name: string) =>
  until(`${name} on ${node.config.cluster.self.name}`, () =>
    node.agent.status().groups.some((it) => it.name === name && it.vips.every(({ held }) => held)),
  );
/** The peer of this node says that it is active for the group. */
const knowsActive = (node: Node, name: string) =>
  until(`${name} to be elsewhere`, () =>
    node.agent.status().groups.some((it) => it.name === name && it.peer.role === 'active'),
  );

t.test('two groups: each node is active for one, and each backs the other up', async (t) => {
  const two = await pair(t);
  two.groups = [BLUE, GREEN];
  const [lb1, lb2] = await Promise.all([two.start('lb1'), two.start('lb2')]);
  await Promise.all([isActive(lb1, 'blue'), isActive(lb2, 'green')]);
  await Promise.all([knowsActive(lb1, 'green'), knowsActive(lb2, 'blue')]);
  t.match(lb1.agent.status(), {
    role: 'active',
    vips: [
      { address: '192.0.2.101/24', group: 'blue', held: true },
      { address: '192.0.2.102/24', group: 'green', held: false },
    ],
    groups: [
      { name: 'blue', role: 'active', priority: 150, peer: { role: 'standby', alive: true } },
      { name: 'green', role: 'standby', priority: 100, peer: { role: 'active' } },
    ],
    peer: { role: 'active', alive: true },
  });

  await t.rejects(lb1.agent.switchover(), { message: 'say which group: --group all, or one of blue, green' });
  await t.rejects(lb1.agent.switchover('lb1', 'red'), {
    message: 'there is no group "red"; there is blue, green',
  });
  t.equal(await lb1.agent.switchover('lb1', 'all'), 'group blue: lb1 is active; group green: lb1 is active');
  t.equal(await lb1.agent.switchover(undefined, 'blue'), 'group blue: lb2 is active');
  await isActive(lb2, 'blue');

  lb1.network.events.onInterface('eth1', false, 'interface eth1 has no carrier');
  t.match(lb1.agent.status().groups, [{ role: 'fault' }, { role: 'active' }], 'its VIPs are on eth2');
  lb1.network.events.onInterface('eth1', true, '');

  await lb1.agent.stop();
  await Promise.all([isActive(lb2, 'blue'), isActive(lb2, 'green')]);
  t.strictSame([...lb2.network.held], ['192.0.2.101/24', '192.0.2.102/24']);
  t.notOk(two.owners.includes('lb1+lb2'), `owners: ${two.owners.join(' ')}`);
});

t.test('lbd is told the role of each group', async (t) => {
  const directory = tempDir(t);
  const two = await pair(t, true, directory);
  two.groups = [BLUE, GREEN];
  const lbd = new FakeLbd(join(directory, 'lb1', SOCKETS.live));
  await lbd.start();
  t.teardown(() => lbd.kill());
  const lb1 = await two.start('lb1');
  await Promise.all([isActive(lb1, 'blue'), isActive(lb1, 'green')]);
  for (const name of ['blue', 'green'])
    t.match(
      lbd.roles.findLast((it) => it.group === name),
      { role: 'active' },
    );
});

t.test('a reload while active: what changed is in force, and no role changes', async (t) => {
  const two = await pair(t);
  two.groups = [BLUE];
  const [lb1, lb2] = await Promise.all([two.start('lb1'), two.start('lb2')]);
  await isActive(lb1, 'blue');
  await knowsActive(lb2, 'blue');
  const transitions = (node: Node) =>
    node.events.list().filter(({ text }) => /^\w+ \(epoch/.test(text)).length;
  const before = [transitions(lb1), transitions(lb2)];
  const more = vip('192.0.2.110/24');
  const port = await freeDatagramPort();
  const steps: readonly (readonly [name: string, change: (config: AgentConfig) => AgentConfig['ha']])[] = [
    ['interval', ({ ha }) => ({ ...ha, heartbeat: { intervalMs: 30, deadAfter: DEAD_AFTER } })],
    ['priority', ({ ha }) => withGroups(ha, [{ ...BLUE, priority: { lb1: 1, lb2: 200 } }])],
    ['a VIP more', ({ ha }) => withGroups(ha, [{ ...BLUE, vips: [...BLUE.vips, more] }])],
    ['garp', ({ ha }) => ({ ...ha, garp: { count: 2, refreshMs: 1000 } })],
    ['track', ({ ha }) => ({ ...ha, track: { lbd: false, interfaces: ['eth1', 'eth7'], settleMs: 0 } })],
    ['a path more', ({ ha }) => ({ ...ha, paths: [...ha.paths, { type: 'unicast', port }] })],
    ['as before', ({ ha }) => ha],
  ];
  for (const [name, change] of steps) {
    for (const node of [lb1, lb2]) {
      const ha = change(node.config);
      await node.agent.reload({ ...node.config, ha });
      t.notMatch(node.agent.status().warnings.join(), 'not reloaded', name);
    }
    if (name === 'a VIP more') await until('the new VIP', () => lb1.network.held.has('192.0.2.110/24'));
    if (name === 'a path more') await until('it', () => lb1.agent.status().paths[1]?.state === 'up');
  }
  t.strictSame([...lb1.network.held], ['192.0.2.101/24'], 'the VIP that is not listed any more is gone');
  t.strictSame(
    [transitions(lb1), transitions(lb2)],
    before,
    lb1.events
      .list()
      .map(({ text }) => text)
      .join(),
  );
  t.notOk(two.owners.includes('lb1+lb2'), `owners: ${two.owners.join(' ')}`);
});

t.test(
  'a longer interval, by a reload that takes the host longer than a beat: the guardian waits with it',
  async (t) => {
    const two = await pair(t);
    two.groups = [BLUE];
    const [lb1, lb2] = await Promise.all([two.start('lb1'), two.start('lb2')]);
    await isActive(lb1, 'blue');
    await knowsActive(lb2, 'blue');
    const heard = () => lb2.agent.status().paths[0]!.received;
    const beats = (count: number) => {
      const wanted = heard() + count;
      return until(`${count} beats`, () => heard() >= wanted);
    };
    lb1.network.onConfigure = async () => {
      await beats(3);
    };
    const more = { ...BLUE, vips: [...BLUE.vips, vip('192.0.2.110/24')] };
    const ha = {
      ...withGroups(lb1.config.ha, [more]),
      heartbeat: { intervalMs: 1_100, deadAfter: DEAD_AFTER },
    };
    t.match(await lb1.agent.reload({ ...lb1.config, ha }), { outcome: 'applied' });
    // Those of the reload itself may be under way.
    await beats(3);
    const told = lb1.events
      .list()
      .map(({ text }) => text)
      .join();
    t.notMatch(told, 'the guardian missed its beats');
    // On a machine that starves it the node hands over, which is another matter.
    const isStarved = told.includes('gets its processor late, and lb2 in time');
    t.ok(isStarved || lb1.agent.status().role === 'active', told);
  },
);

t.test('a reload that this host cannot carry out changes nothing', async (t) => {
  const two = await pair(t);
  two.groups = [BLUE];
  const [lb1, lb2] = await Promise.all([two.start('lb1'), two.start('lb2')]);
  await isActive(lb1, 'blue');
  await knowsActive(lb2, 'blue');
  const unmet = (name: string): UnmetNeed => ({
    ...{ kind: 'interface', name, subject: `interface ${name}`, path: [] },
    ...{ where: 'tandem.yaml:8:41', message: `found ${name}, but this host has only lo, eth1` },
  });
  const more = { ...BLUE, vips: [...BLUE.vips, vip('192.0.2.110/24', 'eth9')] };
  const next = (node: Node) => ({ ...node.config, ha: withGroups(node.config.ha, [more]) });
  for (const node of [lb1, lb2]) {
    const why = 'tandem.yaml:8:41: found eth9, but this host has only lo, eth1';
    t.match(node.agent.checkReload(next(node), [unmet('eth9')]), { outcome: 'refused', problems: [why] });
    t.match(await node.agent.reload(next(node), [unmet('eth9')]), { outcome: 'refused', problems: [why] });
    const [, when, said] =
      /^ha-agent did not load the config file at (\S+Z), what it had before stays in force: (.*)$/.exec(
        node.agent.status().warnings.find((line) => line.includes('did not load')) ?? '',
      ) ?? [];
    t.equal(said, why);
    t.ok(Number.isFinite(Date.parse(when ?? '')));
    t.ok(node.events.list().some(({ kind, text }) => kind === 'reload' && text.endsWith(why)));
    t.notOk(node.network.calls.includes('configure'));
  }
  t.strictSame([...lb1.network.held], ['192.0.2.101/24']);
  t.match(lb1.agent.status().groups[0], {
    role: 'active',
    vips: [{ address: '192.0.2.101/24', held: true }],
  });

  const hotter = { ...BLUE, priority: { lb1: 1, lb2: 200 } };
  const sound = { ...lb1.config, ha: withGroups(lb1.config.ha, [hotter]) };
  t.match(
    await lb1.agent.reload(sound, [unmet('eth1')]),
    { outcome: 'applied' },
    'what the running config needs as well is in the way of nothing',
  );
});

t.test('a reload of which a step fails leaves all as it was', async (t) => {
  const two = await pair(t);
  two.groups = [BLUE, GREEN];
  const [lb1, lb2] = await Promise.all([two.start('lb1'), two.start('lb2')]);
  await isActive(lb1, 'blue');
  await knowsActive(lb2, 'blue');
  lb1.network.refusing = '192.0.2.110/24 dev eth1 is not there: RTNETLINK answers: No space left';
  const green = { ...GREEN, vips: [...GREEN.vips, vip('192.0.2.110/24')] };
  const answer = await lb1.agent.reload({ ...lb1.config, ha: withGroups(lb1.config.ha, [BLUE, green]) });
  t.match(answer, { outcome: 'refused', problems: [/No space left$/] });
  t.match(lb1.agent.status().warnings, [/^ha-agent did not load the config file at .*No space left$/]);
  t.strictSame(
    lb1.agent.status().groups.map(({ name, vips }) => [name, vips.map(({ address }) => address)]),
    [
      ['blue', ['192.0.2.101/24']],
      ['green', ['192.0.2.102/24']],
    ],
  );
  t.ok(lb1.network.held.has('192.0.2.101/24'), 'the VIPs stay');

  const other = { ...GREEN, routes: [ROUTE] };
  t.match(await lb1.agent.reload({ ...lb1.config, ha: withGroups(lb1.config.ha, [other]) }), {
    outcome: 'refused',
  });
  t.ok(lb1.network.held.has('192.0.2.101/24'), 'and a group that would leave has not handed over');
  lb1.network.refusing = undefined;
  t.match(await lb1.agent.reload({ ...lb1.config, digest: 'e'.repeat(64) }), { outcome: 'applied' });
  t.notMatch(lb1.agent.status().warnings.join(), 'not reloaded');
  t.notOk(two.owners.includes('lb1+lb2'), `owners: ${two.owners.join(' ')}`);
});

t.test('a reload of an unchanged config does nothing, and says so', async (t) => {
  const two = await pair(t);
  const lb1 = await two.start('lb1');
  t.match(lb1.agent.checkReload(lb1.config, []), { outcome: 'unchanged' });
  t.same(await lb1.agent.reload(structuredClone(lb1.config)), {
    outcome: 'unchanged',
    changes: [],
    problems: [],
    warnings: [],
  });
  t.equal(lb1.events.list().at(-1)?.text, 'the config is unchanged: nothing to do');
  t.notOk(lb1.network.calls.includes('configure'));
});

t.test('the secret is replaced by reloads of one node after the other, and nobody notices', async (t) => {
  const two = await pair(t);
  const [lb1, lb2] = await Promise.all([two.start('lb1'), two.start('lb2')]);
  await holds(lb1);
  await until('lb2 to know', () => lb2.agent.status().peer.role === 'active');
  const identity = (node: Node, keys: Keys) => {
    const { self, peer } = node.config.cluster;
    return createIdentity(keys, 'shop', self.name, peer.name);
  };
  const next = Buffer.alloc(32, 9);
  const owners = two.owners.length - 1;
  for (const [node, keys] of [
    [lb1, [next, KEY]],
    [lb2, [next, KEY]],
    [lb1, [next]],
    [lb2, [next]],
  ] as const) {
    t.match(node.agent.checkReload(node.config, [], identity(node, keys)), { outcome: 'accepted' });
    const answer = await node.agent.reload(node.config, [], identity(node, keys));
    t.match(answer, { outcome: 'applied', changes: ['the secrets changed'] });
    const heard = lb2.agent.status().paths[0]!.received;
    await until('heartbeats after that', () => lb2.agent.status().paths[0]!.received > heard + 5);
  }
  t.same(new Set(two.owners.slice(owners)), new Set(['lb1']), 'the VIP stayed where it was');
  t.match(lb2.agent.status(), { role: 'standby', peer: { role: 'active', alive: true } });
});

t.test('another secret by a reload: the witness that grants leases is asked with its key', async (t) => {
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const two = await pair(t);
  const lb1 = await two.start('lb1');
  const [former, next] = leaseIdentities('shop', [KEY, Buffer.alloc(32, 9)]);
  const lease = { host: '127.0.0.1', port: socket.address().port };
  const config = {
    ...lb1.config,
    ha: { ...lb1.config.ha, witness: { addresses: [], intervalMs: 1000, timeoutMs: 500, lease } },
  };
  const asked = (identity: LeaseIdentity) =>
    until('a question to the witness', async () => {
      const [data] = await once(socket, 'message');
      return decodeQuestion(identity, data as Buffer);
    });
  await lb1.agent.reload(config);
  await asked(former);
  const identity = createIdentity([Buffer.alloc(32, 9)], 'shop', 'lb1', 'lb2');
  await lb1.agent.reload(config, [], identity, leaseIdentities('shop', [Buffer.alloc(32, 9)]));
  await asked(next!);
});

t.test('groups come and go by reload, one node after the other', async (t) => {
  const two = await pair(t);
  two.groups = [BLUE];
  const [lb1, lb2] = await Promise.all([two.start('lb1'), two.start('lb2')]);
  await isActive(lb1, 'blue');
  await knowsActive(lb2, 'blue');
  two.groups = [BLUE, GREEN];
  await lb1.agent.reload(two.config('lb1'));
  await isActive(lb1, 'green');
  await until('the other config to be noticed', () =>
    lb2.agent
      .status()
      .warnings.some((line) => line.includes('about a VIP group that this config does not have')),
  );
  await lb2.agent.reload(two.config('lb2'));
  await knowsActive(lb2, 'green');
  t.match(lb2.agent.status().groups, [{ role: 'standby' }, { role: 'standby' }]);

  await lb1.agent.reload(two.config('lb1', 40, [GREEN]));
  await isActive(lb2, 'blue');
  t.strictSame([...lb1.network.held], ['192.0.2.102/24'], 'handed over, because the peer still has it');
  t.strictSame(
    lb1.agent.status().groups.map(({ name }) => name),
    ['green'],
  );
  t.notOk(two.owners.includes('lb1+lb2'), `owners: ${two.owners.join(' ')}`);
});

for (const [step, before, after, held] of [
  ['the host is made ready', [BLUE], [BLUE, GREEN], 1],
  ['what is left of a group is removed', [BLUE], [GREEN], 2],
] as const)
  t.test(`an agent that is stopped while ${step} starts no new group`, async (t) => {
    const two = await pair(t);
    two.groups = before;
    const lb1 = await two.start('lb1');
    await isActive(lb1, 'blue');
    const goOn = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    let calls = 0;
    lb1.network.onConfigure = () => {
      if (++calls < held) return;
      reached.resolve();
      return goOn.promise;
    };
    const reload = lb1.agent.reload(two.config('lb1', 40, after));
    await reached.promise;
    const stopped = lb1.agent.stop();
    goOn.resolve();
    t.match(await reload, { outcome: 'refused', problems: ['the agent does not run'] });
    await stopped;
    t.notOk(lb1.agent.status().groups.some(({ name }) => name === 'green'));
    t.strictSame([...lb1.network.held], []);
  });

t.test('where the configs differ is shown', async (t) => {
  const two = await pair(t);
  const digests = (config: AgentConfig, digest: string, pools: string) => ({
    ...config,
    digest: digest.repeat(64),
    sectionDigests: SECTIONS.map((name) => (name === 'pools' ? pools : 'abcd')).join(''),
  });
  const [lb1, lb2] = await Promise.all([two.start('lb1'), two.start('lb2')]);
  await lb1.agent.reload(digests(lb1.config, 'a', '0000'));
  await lb2.agent.reload(digests(lb2.config, 'b', '1111'));
  // A heartbeat of before the other reload differs in every section.
  await until('the difference', () => lb1.agent.status().peer.differs_in.join() === 'pools');
  t.equal(lb1.agent.status().peer.same_config, false);
});

function withGroups(ha: AgentConfig['ha'], groups: readonly GroupConfig[]): AgentConfig['ha'] {
  return { ...ha, groups, vips: groups.flatMap(({ vips }) => vips) };
}

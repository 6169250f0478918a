import { createSocket } from 'node:dgram';
import { join } from 'node:path';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { type Role, SOCKETS } from '../../common/control.ts';
import { EventLog } from '../../common/events.ts';
import { Agent, type AgentConfig } from '../../ha-agent/agent.ts';
import { createIdentity } from '../../ha-agent/heartbeat.ts';
import { tempDir } from '../common/temp-dir.ts';
import { FakeLbd } from './fake-lbd.ts';
import { FakeNetwork } from './fake-network.ts';

const VIP = '192.0.2.100/24';
const KEY = Buffer.alloc(32, 1);

interface Node {
  readonly agent: Agent;
  readonly network: FakeNetwork;
  readonly events: EventLog;
  readonly config: AgentConfig;
}

/** Two real agents on loopback addresses of their own, each on a fake host network. */
class Pair {
  readonly owners: string[] = [];
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

  async start(name: 'lb1' | 'lb2', key = KEY): Promise<Node> {
    const peer = name === 'lb1' ? 'lb2' : 'lb1';
    const config = this.config(name);
    const events = new EventLog('agent');
    let network: FakeNetwork | undefined;
    const agent = new Agent({
      config,
      identity: createIdentity(key, 'shop', name, peer),
      runDir: join(this.#directory, name),
      log: pino({ level: 'silent' }),
      events,
      createNetwork: ({ ha }, handlers) => {
        network = new FakeNetwork(ha.vips, handlers);
        network.secondChance = this.#trackLbd;
        network.onChange = () => this.#note();
        return network;
      },
    });
    const node = { agent, network: network!, events, config };
    this.#nodes.set(name, node);
    this.#running.push(agent);
    await agent.start();
    return node;
  }

  config(name: 'lb1' | 'lb2', intervalMs = 40): AgentConfig {
    const node = (n: string) => ({
      name: n,
      address: n === 'lb1' ? '127.0.0.1' : '127.0.0.2',
      priority: n === 'lb1' ? 150 : 100,
    });
    const config = {
      file: '/etc/tandem/tandem.yaml',
      digest: 'd'.repeat(64),
      cluster: {
        name: 'shop',
        secretFile: '/etc/tandem/secret',
        self: node(name),
        peer: node(name === 'lb1' ? 'lb2' : 'lb1'),
      },
      ha: {
        // Room for a machine that does six other things: a late tick would be a true finding, but not here.
        heartbeat: { intervalMs, deadAfter: 10 },
        paths: [{ type: 'unicast', port: this.#port }],
        vips: [{ address: '192.0.2.100', prefix: 24, family: 4, interface: 'eth1' }],
        preemptDelayMs: undefined,
        garp: { count: 1, refreshMs: 60_000 },
        track: { lbd: this.#trackLbd, interfaces: ['eth1'] },
        notify: { active: undefined, standby: undefined, fault: undefined },
      },
      frontends: [],
      pools: [{ drainTimeoutMs: 5_000 }],
    };
    return config as unknown as AgentConfig;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#running.map((agent) => agent.stop()));
  }

  #note(): void {
    const owners = [...this.#nodes].filter(([, { network }]) => network.held.size > 0).map(([name]) => name);
    this.owners.push(owners.join('+'));
  }
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const end = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

const role = (node: Node, wanted: Role) => until(`${wanted}`, () => node.agent.status().role === wanted);
const hears = (node: Node, wanted: Role) =>
  until(`a ${wanted} peer`, () => node.agent.status().peer.role === wanted);
const holds = (node: Node) => until('the VIP', () => node.network.held.has(VIP));

async function freePort(): Promise<number> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(() => resolve()));
  return port;
}

async function pair(t: Test, trackLbd = false, directory = tempDir(t)): Promise<Pair> {
  const pair = new Pair(directory, await freePort(), trackLbd);
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
  lb1.network.failing = 'no such device';
  await role(lb1, 'fault');
  t.equal(lb1.agent.status().why, 'the VIPs could not be added: no such device');
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

t.test('lbd is told the role before the VIP is added; its death is a fault at once', async (t) => {
  const directory = tempDir(t);
  const two = await pair(t, true, directory);
  const lbd = new FakeLbd(join(directory, 'lb1', SOCKETS.live));
  await lbd.start();
  const lb1 = await two.start('lb1');
  await holds(lb1);
  t.match(lbd.heard.at(-1), { type: 'role', role: 'active', epoch: 1 });
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
  await until('finishing', () =>
    lbds.lb1.heard.some((line) => line.type === 'role' && line.finishing === 'finishing'),
  );
  lbds.lb1.say({ ...well, connections: 2 });
  await until('the count', () => lb1.agent.status().second_chance.finishing?.connections === 2);
  t.ok(lb1.network.parked.has(VIP), 'the address stays for open connections');
  t.equal(lb2.agent.status().second_chance.forwarding, true);
  const { calls } = lb2.network;
  t.ok(calls.indexOf('forward') < calls.lastIndexOf('add'), `rules before the VIP: ${calls.join(' ')}`);
  t.ok(lb1.events.list().some(({ text }) => /^finishing the connections of the former active/.test(text)));

  lbds.lb1.say({ ...well, connections: 0 });
  await until('the end', () => lb1.agent.status().second_chance.finishing === undefined);
  await until('no rules', () => lb2.network.calls.includes('unforward'));
  t.notOk(lb1.network.parked.has(VIP));
  t.match(lbds.lb1.heard.at(-1), { type: 'role', role: 'standby' });
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

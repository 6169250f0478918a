import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import t, { type Test } from 'tap';
import { ADDRESS, INTERFACE, NODES, type NodeName, VIP } from '../../scripts/lab/hosts.ts';
import { type Lab, NODE } from '../../scripts/lab/lab.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { TCP_PORT } from '../../scripts/lab/pair-config.ts';
import { until } from '../../scripts/lab/wait.ts';
import { startPair } from './fault-run.ts';
import { quiet } from './quiet.ts';
import { statusCode } from './status-code.ts';

const GREEN_VIP = VIP.replace(/\d+$/, '101');
const VIP6 = 'fd84::100';
const ROUTE = '198.18.0.0/15';
const MOVES = `
  groups:
    blue:
      vips:
        - { address: ${VIP}/24, interface: ${INTERFACE} }
        - { address: "${VIP6}/64", interface: ${INTERFACE} }
      routes:
        - { to: ${ROUTE}, via: ${ADDRESS.client}, interface: ${INTERFACE} }
      priority: { lb1: 150, lb2: 100 }
    green:
      vips:
        - { address: ${GREEN_VIP}/24, interface: ${INTERFACE} }
      priority: { lb1: 100, lb2: 150 }`;
const ALL = [VIP, VIP6, GREEN_VIP];

/** A client that echoes on one connection to each of some addresses. */
class Talk {
  readonly #child: ChildProcess;
  readonly #lines: Interface;

  private constructor(child: ChildProcess, lines: Interface) {
    this.#child = child;
    this.#lines = lines;
  }

  /** @returns once each connection has had an answer */
  static async start(lab: Lab, addresses: readonly string[]): Promise<Talk> {
    const script = `
      const net = require('node:net');
      const broken = [];
      const first = [];
      for (const host of ${JSON.stringify(addresses)}) {
        const socket = net.connect({ host, port: ${TCP_PORT} }, () => socket.write('x'));
        first.push(new Promise((resolve) => socket.once('data', resolve)));
        socket.on('data', () => setTimeout(() => socket.write('x'), 10));
        socket.on('error', (error) => broken.push(host + ' ' + error.code));
        socket.on('close', () => broken.push(host + ' closed'));
      }
      Promise.all(first).then(() => console.log('talking'));
      process.stdin.once('data', () => { console.log(JSON.stringify(broken)); process.exit(); });
    `;
    const child = lab.spawn('client', [NODE, '-e', script], { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout! });
    await once(lines, 'line');
    return new Talk(child, lines);
  }

  /** @returns what broke */
  async stop(): Promise<string[]> {
    const line = once(this.#lines, 'line');
    this.#child.stdin!.end('stop');
    return JSON.parse((await line)[0] as string) as string[];
  }
}

t.test('active/active: each node is active for one group', { skip: skipLab() }, async (t) => {
  const pair = await startPair(t, { moves: MOVES });
  const { lab } = pair;

  const macs = new Map<string, NodeName>();
  for (const node of NODES) {
    const link = await lab.exec(node, ['ip', 'link', 'show', INTERFACE]);
    macs.set(/link\/ether (\S+)/.exec(link)![1]!, node);
  }
  /** Where each of the addresses is: on which nodes, and to which node the client sends. */
  const places = async () => {
    const on = async (node: NodeName) => {
      const text = await lab.exec(node, ['ip', '-o', 'addr', 'show', 'dev', INTERFACE]);
      return ALL.filter((address) => text.includes(` ${address}/`)).map((address) => `${address} ${node}`);
    };
    const held = (await Promise.all(NODES.map(on))).flat();
    const neighbours = await lab.exec('client', ['ip', 'neigh', 'show']);
    return ALL.map((address) => {
      const mac = new RegExp(`^${address} .*lladdr (\\S+)`, 'm').exec(neighbours)?.[1] ?? '';
      const nodes = held.filter((line) => line.startsWith(`${address} `)).map((line) => line.split(' ')[1]);
      return `${address} is on ${nodes.join(' and ')}, the client sends to ${macs.get(mac)}`;
    });
  };
  /** What clients of the addresses got, each answer once. */
  const answered = async () =>
    [...new Set(await Promise.all(ALL.map((address) => statusCode(lab, address))))].join();
  const routed = async (node: NodeName) =>
    (await lab.exec(node, ['ip', 'route', 'show', ROUTE])).trim() !== '';

  /** Waits until each group is where it must be; no traffic helps the client to learn it. Then it must be served. */
  const settles = async (t: Test, blue: NodeName, green: NodeName) => {
    const wanted = [
      ...ALL.map((address) => [address, address === GREEN_VIP ? green : blue] as const).map(
        ([address, node]) => `${address} is on ${node}, the client sends to ${node}`,
      ),
      `the route is on ${blue}`,
    ].join('; ');
    await until(wanted, async () => {
      const routers = (await Promise.all(NODES.map(routed))).flatMap((has, i) => (has ? NODES[i]! : []));
      const found = [...(await places()), `the route is on ${routers.join(' and ')}`].join('; ');
      if (found !== wanted) throw new Error(found);
      return true;
    });
    t.equal(await answered(), '200', wanted);
  };

  // Which node was ready first may have decided otherwise.
  for (const [group, node] of [
    ['blue', 'lb1'],
    ['green', 'lb2'],
  ])
    t.match(await pair.lbctl('lb1', 'switchover', '--group', group!, '--to', node!), { code: 0 });
  await pair.whole();

  await t.test('both serve', async (t) => {
    t.equal(await answered(), '200', 'and the client knows the neighbours');
    await settles(t, 'lb1', 'lb2');
    const status = await until('lb1 knows what lb2 is', async () => {
      const { stdout } = await pair.lbctl('lb1', 'status');
      const green = /^group +green · standby · epoch \d+ · priority 100 · for .* · lb2 active$/m;
      if (!green.test(stdout)) throw new Error(stdout);
      return stdout;
    });
    t.match(status, /^node +lb1 · active for blue · standby for green$/m);
    t.notMatch(status, 'not announced');
  });

  await t.test('one fails: the other one serves both, and the neighbours know', async (t) => {
    await lab.cut('lb1');
    await until('lb2 to be active for both', async () => {
      const { groups } = await pair.status('lb2');
      return groups.every(({ vips }) => vips.every(({ held }) => held));
    });
    await settles(t, 'lb2', 'lb2');
    await lab.heal('lb1');
    await pair.whole();
    await settles(t, 'lb2', 'lb2');
  });

  await t.test('a switchover of one group leaves the other one alone', async (t) => {
    t.match(await pair.lbctl('lb1', 'switchover'), { code: 1, stderr: /say which group: --group all/ });
    const talk = await Talk.start(lab, [VIP, GREEN_VIP]);
    const { code, stdout, stderr } = await pair.lbctl('lb2', 'switchover', '--group', 'blue');
    t.equal(code, 0, stderr);
    t.equal(stdout.trim(), 'group blue: lb1 is active');
    await pair.whole();
    await until('the connection of blue finishes on lb2', async () => {
      const { groups } = await pair.status('lb2');
      const finishing = groups.map(({ name, second_chance }) => [name, second_chance.finishing?.connections]);
      if (JSON.stringify(finishing) === '[["blue",1],["green",null]]') return true;
      throw new Error(JSON.stringify(finishing));
    });
    t.strictSame(await talk.stop(), [], 'no connection was broken');
    await settles(t, 'lb1', 'lb2');
  });

  await t.test('an agent that is killed takes its group with it, and no other', async (t) => {
    const rolesOfBlue = async () =>
      (await pair.events()).filter(
        ({ node, kind, text }) => node === 'lb1' && kind === 'role' && text.startsWith('group blue'),
      ).length;
    const before = await rolesOfBlue();
    await pair.daemons.lb2['ha-agent'].signal('SIGKILL');
    await until('lb1 to be active for both', async () => {
      const { groups } = await pair.status('lb1');
      return groups.every(({ vips }) => vips.every(({ held }) => held));
    });
    await settles(t, 'lb1', 'lb1');
    t.equal(await rolesOfBlue(), before, 'the other group had no transition');
    await pair.startNode('lb2');
    await pair.whole();
  });

  await t.test('a graceful stop leaves nothing behind', async (t) => {
    await pair.stop();
    for (const node of NODES) {
      await quiet(lab, node);
      const left = await lab.exec(node, ['ip', 'addr', 'show']);
      for (const address of ALL) t.notMatch(left, ` ${address}/`, `${node}: no ${address}`);
      t.notOk(await routed(node), `${node}: no route`);
      t.equal((await lab.exec(node, ['nft', 'list', 'ruleset'])).trim(), '', `${node}: no rule`);
    }
  });
});

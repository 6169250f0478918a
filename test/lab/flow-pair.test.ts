import t from 'tap';
import { Helper } from '../../scripts/lab/helper.ts';
import { ADDRESS, BACKENDS, NODES, VIP } from '../../scripts/lab/hosts.ts';
import { Lab } from '../../scripts/lab/lab.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { Pair } from '../../scripts/lab/pair.ts';
import { until } from '../../scripts/lab/wait.ts';
import { HEARTBEAT_MS } from './calm.ts';
import type { FlowAnswer } from './flow-answer.ts';

const SERVICES = [
  { name: 'echo', mode: 'tcp', port: 5000, health: '{ type: tcp, interval: 1s, timeout: 1s, fall: 3 }' },
  { name: 'download', mode: 'tcp', port: 5001, health: '{ type: tcp, interval: 1s, timeout: 1s, fall: 3 }' },
  { name: 'datagrams', mode: 'udp', port: 5002, health: '{ type: none }' },
] as const;

/** Flows of clients that nobody has. */
const MANY = 200_000;

/** A random backend, so that only a flow that was synced leads to the same one on the other node. */
function services(): string {
  const frontends = SERVICES.map(
    ({ name, mode, port }) =>
      `  ${name}: { bind: ["*:${port}"], mode: ${mode}, engine: kernel, pool: ${name} }`,
  );
  const pools = SERVICES.map(({ name, port, health }) => {
    const backends = BACKENDS.map((host) => `${host}: { address: "${ADDRESS[host]}:${port}" }`).join(', ');
    return `  ${name}: { algorithm: random, health: ${health}, backends: { ${backends} } }`;
  });
  return ['frontends:', ...frontends, 'pools:', ...pools, ''].join('\n');
}

t.test('connections through the kernel outlive their node', { skip: skipLab() }, async (t) => {
  const lab = await Lab.up();
  t.teardown(() => lab.down());
  const origins = BACKENDS.map((host) => new Helper(lab, host, ['test/lab/flow-origin.ts', host]));
  await Promise.all(origins.map((origin) => origin.line()));
  for (const node of NODES) await lab.exec(node, ['tee', '/proc/sys/net/ipv4/ip_forward'], '1');
  const pair = await Pair.start(lab, { heartbeatMs: HEARTBEAT_MS, services: services() });
  t.teardown(() => pair.close());
  const clients = new Helper(lab, 'client', ['test/lab/flow-clients.ts']);
  const more = () => clients.ask<FlowAnswer>('more');
  const first = await more();
  t.ok(first.backends.length > 1, 'different backends serve');
  t.strictSame(first.troubles, []);

  /** Waits until the standby has all flows in its kernel. */
  const warm = async (others = 0) => {
    const count = first.clients + others;
    await pair.whole();
    const standby = NODES.find((node) => node !== pair.active())!;
    await until('the standby is warm', async () => {
      const { flows } = await pair.lbdStatus(standby);
      if (flows?.replica === count && flows.flows >= count) return true;
      throw new Error(JSON.stringify(flows));
    });
  };
  const moved = (from: string) =>
    until('the VIP has moved', () => {
      const [holder, ...others] = pair.ownership.holders();
      return holder !== undefined && holder !== from && others.length === 0 ? holder : undefined;
    });

  for (const [name, fail, mend] of [
    ['cable cut', (node) => lab.cut(node), (node) => lab.heal(node)],
    ['planned switchover', (node) => pair.switchover(node), async () => {}],
    ['lbd killed', (node) => pair.daemons[node].lbd.signal('SIGKILL'), (node) => pair.startNode(node)],
    [
      'agent killed',
      (node) => pair.daemons[node]['ha-agent'].signal('SIGKILL'),
      (node) => pair.startNode(node),
    ],
    [
      'node stopped',
      async (node) => {
        lab.killAll(node);
        await lab.cut(node);
      },
      async (node) => {
        await lab.run(node, ['ip', 'addr', 'del', `${VIP}/24`, 'dev', 'eth0']);
        await lab.heal(node);
        await pair.startNode(node);
      },
    ],
  ] as [
    string,
    (node: (typeof NODES)[number]) => Promise<void>,
    (node: (typeof NODES)[number]) => Promise<void>,
  ][]) {
    await warm();
    const from = pair.active();
    await fail(from);
    await moved(from);
    t.strictSame((await more()).troubles, [], name);
    await mend(from);
  }

  // So many that to look at all of them takes a while: what asks lbd meanwhile whether it is there must not wait.
  await warm();
  const from = pair.active();
  const fill = new Helper(lab, from, ['scripts/bench/flows/fill.ts', String(MANY)]);
  t.match(JSON.parse(await fill.line()), { made: MANY, refused: 0 });
  await warm(MANY);
  const before = pair.ownership.changes.length;
  await pair.switchover(from);
  const to = await moved(from);
  await warm(MANY);
  t.strictSame((await more()).troubles, [], 'planned switchover with many other flows');
  const changes = pair.ownership.changes.slice(before).map(({ node, held }) => ({ node, held }));
  t.strictSame(changes, [
    { node: from, held: false },
    { node: to, held: true },
  ]);

  await pair.whole();
  t.match(await pair.lbctl(pair.active(), 'status'), { code: 0, stdout: /flows +synced/ });
});

import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { Clients } from '../../scripts/lab/clients.ts';
import { INTERFACE, NODES, type NodeName, VIP } from '../../scripts/lab/hosts.ts';
import { Lab, NODE, ROOT } from '../../scripts/lab/lab.ts';
import type { LongLivedReport } from '../../scripts/lab/long-lived.ts';
import { LongLivedClients } from '../../scripts/lab/long-lived-clients.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { startOrigins } from '../../scripts/lab/origins.ts';
import { Pair } from '../../scripts/lab/pair.ts';
import { until } from '../../scripts/lab/wait.ts';

const other = (node: NodeName) => NODES.find((name) => name !== node)!;

/** Settings, addresses and rules that a switchover touches, as text. */
async function traces(lab: Lab, node: NodeName): Promise<string> {
  const conf = `/proc/sys/net/ipv4/conf/${INTERFACE}`;
  const parts = [
    ['ip', '-o', 'addr', 'show', 'dev', 'lo'],
    ['nft', 'list', 'ruleset'],
    ['cat', `${conf}/arp_ignore`, `${conf}/arp_announce`],
  ];
  const texts = await Promise.all(parts.map((argv) => lab.exec(node, argv)));
  return texts.join('').replaceAll(/127\.84\.0\.1.*\n/g, '');
}

/** Waits until no node has anything left of a switchover. */
async function clean(pair: Pair, before: ReadonlyMap<NodeName, string>): Promise<void> {
  for (const node of NODES)
    await until(`${node} is as before`, async () => {
      const now = await traces(pair.lab, node);
      if (now !== before.get(node)) throw new Error(now);
      return true;
    });
}

function unbroken(t: Test, report: LongLivedReport): void {
  for (const kind of ['echo', 'websocket', 'http'] as const) {
    const { total, answers, causes } = report[kind];
    t.ok(answers > 0, `${kind}: ${answers} answers to ${total} clients`);
    t.strictSame(causes, [], `${kind}: none was broken`);
  }
}

async function switchOver(t: Test, pair: Pair): Promise<void> {
  const from = pair.active();
  const { code, stderr } = await pair.lbctl(from, 'switchover');
  t.equal(code, 0, stderr);
  await pair.whole();
  t.equal(pair.active(), other(from), `${other(from)} is active`);
}

t.test('a planned change of the active node breaks nothing', { skip: skipLab() }, async (t) => {
  const lab = await Lab.up();
  t.teardown(() => lab.down());
  await startOrigins(lab);
  const pair = await Pair.start(lab);
  t.teardown(() => pair.close());
  const before = new Map<NodeName, string>();
  for (const node of NODES) before.set(node, await traces(lab, node));

  /** Patient, so that what fails was lost and not late. */
  const load = () => Clients.start(lab, { sticky: 0, keptAlive: 20, timeoutMs: 5000 });

  await t.test('switchover there and back', async (t) => {
    const clients = await load();
    const staying = await LongLivedClients.start(lab);
    const first = pair.active();
    await switchOver(t, pair);
    const status = await until('the former active finishes', async () => {
      const { second_chance } = await pair.status(first);
      return second_chance.finishing?.connections ? second_chance : undefined;
    });
    t.ok(status.available);
    t.match((await pair.lbctl(first, 'status')).stdout, /finishing +\d+ connections of the former active/);
    t.match((await pair.status(other(first))).second_chance, { forwarding: true });
    t.match(await lab.exec(first, ['ip', 'addr', 'show', 'dev', 'lo']), `inet ${VIP}/32`);
    t.equal(await pair.neighbour(), other(first), 'clients find the new active node');

    await switchOver(t, pair);
    const { probe, keptAlive } = await clients.report();
    const report = await staying.finish();
    await clients.stop();
    t.ok(probe.requests > 0, `${probe.requests} new connections`);
    t.strictSame(probe.causes, {}, 'every new connection got a 200');
    t.strictSame(keptAlive.causes, []);
    unbroken(t, report);
    t.ok(report.http.renewed > 0, 'HTTP clients were asked to connect anew');
    await clean(pair, before);
  });

  await t.test(
    'there, back, there and back at once: a client that uses its port again keeps its connection',
    async (t) => {
      const staying = await LongLivedClients.start(lab);
      const child = lab.spawn('client', [NODE, join(ROOT, 'test/lab/same-port.ts')]);
      const lines = createInterface({ input: child.stdout! });
      const does = async (command: string) => {
        child.stdin!.write(`${command}\n`);
        t.strictSame(await once(lines, 'line'), ['200'], command);
      };
      const first = pair.active();
      await pair.switchover(first);
      await pair.switchover(other(first));
      // Now the first node forwards, and has seen this port.
      await does('once');
      await pair.switchover(first);
      // A client that still comes to the first node is asked to close.
      await until('the client comes to the other node', async () =>
        (await pair.neighbour()) === other(first) ? true : undefined,
      );
      await does('open');
      await pair.switchover(other(first));
      await does('ask');
      child.kill();
      const report = await staying.finish();
      unbroken(t, report);
      await pair.whole();
      await clean(pair, before);
    },
  );

  for (const daemon of ['ha-agent', 'lbd'] as const)
    await t.test(`a graceful stop of the active ${daemon}`, async (t) => {
      const clients = await load();
      const from = pair.active();
      const stopped = pair.daemons[from][daemon].signal('SIGTERM');
      await pair.ownership.until(
        `${other(from)} holds the VIP`,
        () => pair.ownership.holders().join() === other(from),
      );
      await stopped;
      const { probe, keptAlive } = await clients.report();
      await clients.stop();
      t.strictSame(probe.causes, {}, 'every new connection got a 200');
      t.strictSame(keptAlive.causes, []);
      await pair.startNode(from);
      await pair.whole();
      await clean(pair, before);
    });

  await t.test('the former active node dies while it finishes: nothing of it stays', async (t) => {
    const staying = await LongLivedClients.start(lab);
    const from = pair.active();
    await switchOver(t, pair);
    await pair.daemons[from]['ha-agent'].signal('SIGKILL');
    const { echo } = await staying.finish();
    t.ok(echo.answers > 0);
    await clean(pair, before);
    await pair.startNode(from);
    await pair.whole();
  });
});

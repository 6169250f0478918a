import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { Clients } from '../../scripts/lab/clients.ts';
import { INTERFACE, NODES, type NodeName, VIP } from '../../scripts/lab/hosts.ts';
import { type Lab, NODE, ROOT } from '../../scripts/lab/lab.ts';
import type { LongLivedReport } from '../../scripts/lab/long-lived.ts';
import { LongLivedClients } from '../../scripts/lab/long-lived-clients.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import type { Pair } from '../../scripts/lab/pair.ts';
import { until } from '../../scripts/lab/wait.ts';
import { PATIENT } from './calm.ts';
import { startPair } from './fault-run.ts';

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

/** Waits until clients find a node at the VIP. */
async function comesTo(pair: Pair, node: NodeName): Promise<void> {
  await until(`clients come to ${node}`, async () => (await pair.neighbour()) === node);
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
  const pair = await startPair(t);
  const { lab } = pair;
  const before = new Map<NodeName, string>();
  for (const node of NODES) before.set(node, await traces(lab, node));

  const load = () => Clients.start(lab, { ...PATIENT, sticky: 0 });
  const stay = () => LongLivedClients.start(lab, 12, 50, PATIENT.timeoutMs);

  await t.test('switchover there and back', async (t) => {
    const clients = await load();
    const staying = await stay();
    const first = pair.active();
    await switchOver(t, pair);
    const status = await until('the former active finishes', async () => {
      const { second_chance } = await pair.status(first);
      return second_chance.finishing?.connections ? second_chance : undefined;
    });
    t.ok(status.available);
    t.match((await pair.lbctl(first, 'status')).stdout, /finishing +\d+ connections of the former active/);
    await until(
      'the new active node forwards',
      async () => (await pair.status(other(first))).second_chance.forwarding,
    );
    t.match(await lab.exec(first, ['ip', 'addr', 'show', 'dev', 'lo']), `inet ${VIP}/32`);
    await comesTo(pair, other(first));

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
      const staying = await stay();
      const child = lab.spawn('client', [NODE, join(ROOT, 'test/lab/same-port.ts')]);
      const lines = createInterface({ input: child.stdout! });
      // As soon as the other node says that it can take over, which comes with its next heartbeat.
      const giveUp = (node: NodeName) =>
        until(`${node} gives up the role`, () => pair.switchover(node).then(() => true));
      const does = async (command: string) => {
        child.stdin!.write(`${command}\n`);
        t.strictSame(await once(lines, 'line'), ['200'], command);
      };
      const first = pair.active();
      await giveUp(first);
      await giveUp(other(first));
      // Now the first node forwards, and has seen this port.
      await does('once');
      await giveUp(first);
      // A client that still comes to the first node is asked to close.
      await comesTo(pair, other(first));
      await does('open');
      await giveUp(other(first));
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
    const staying = await stay();
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

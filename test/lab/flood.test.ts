import { readFileSync } from 'node:fs';
import t from 'tap';
import type { AgentStatus } from '../../common/control.ts';
import type { DropCause } from '../../ha-agent/heartbeat.ts';
import { Flood } from '../../scripts/lab/floods/flood.ts';
import type { Content } from '../../scripts/lab/floods/order.ts';
import { ADDRESS, type Host, NODES, type NodeName } from '../../scripts/lab/hosts.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import type { Pair } from '../../scripts/lab/pair.ts';
import { GROUP, MULTICAST_PORT, UNICAST_PORT } from '../../scripts/lab/pair-config.ts';
import { until } from '../../scripts/lab/wait.ts';
import { startPair } from './fault-run.ts';

const RATE = Number(process.env.FLOOD_RATE ?? 20_000);
const FOR_MS = Number(process.env.FLOOD_MS ?? 1_000);
/** What a young heap may grow to, whatever comes. */
const MAX_GROWTH_MIB = 64;

interface Case {
  readonly flood: Content;
  /** How each node counts it. */
  readonly cause: DropCause;
  /** Where it comes from; the other node's own address: no filter by address helps. */
  readonly from: Host;
  readonly to: 'group' | NodeName;
}

const CASES: readonly Case[] = [
  { flood: 'noise', cause: 'magic', from: 'client', to: 'group' },
  { flood: 'truncated', cause: 'truncated', from: 'lb2', to: 'lb1' },
  { flood: 'future version', cause: 'version', from: 'lb2', to: 'lb1' },
  { flood: 'another cluster', cause: 'cluster', from: 'client', to: 'lb1' },
  { flood: 'a third node', cause: 'sender', from: 'client', to: 'lb2' },
  { flood: 'another secret', cause: 'key', from: 'client', to: 'group' },
  { flood: 'forged', cause: 'auth', from: 'client', to: 'group' },
  { flood: 'replayed', cause: 'replay', from: 'client', to: 'group' },
  { flood: 'forged', cause: 'auth', from: 'lb2', to: 'lb1' },
  { flood: 'forged', cause: 'auth', from: 'lb1', to: 'lb2' },
];

/** Drops of a node by this cause, and heartbeats that it took, on all paths. */
function counts({ paths }: AgentStatus, cause: DropCause): { dropped: number; received: number } {
  return {
    dropped: paths.reduce((sum, path) => sum + (path.dropped[cause] ?? 0), 0),
    received: paths.reduce((sum, { received }) => sum + received, 0),
  };
}

function residentMib(pair: Pair, node: NodeName): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(
    readFileSync(`/proc/${pair.daemons[node]['ha-agent'].pid}/status`, 'utf8'),
  )!;
  return Number(kib) / 1024;
}

/** Processor time of the agent so far, its own and the kernel's for it. */
function processorMs(pair: Pair, node: NodeName): number {
  const text = readFileSync(`/proc/${pair.daemons[node]['ha-agent'].pid}/stat`, 'utf8');
  const [user, system] = text.slice(text.lastIndexOf(')')).split(' ').slice(12, 14);
  return (Number(user) + Number(system)) * 10;
}

t.test('floods of bad datagrams', { skip: skipLab() }, async (t) => {
  const pair = await startPair(t);
  const rolesOf = async () =>
    (await Promise.all(NODES.map((node) => pair.status(node)))).map(({ role, epoch }) => `${role} ${epoch}`);
  const roles = await rolesOf();
  const changes = pair.ownership.changes.length;
  const resident = NODES.map((node) => residentMib(pair, node));

  for (const { flood, cause, from, to } of CASES)
    await t.test(`${flood}, from ${from} to ${to}, ${RATE} a second`, async (t) => {
      const hit = to === 'group' ? NODES : [to];
      const before = await Promise.all(hit.map((node) => pair.status(node)));
      const spentMs = hit.map((node) => processorMs(pair, node));
      const [address, port] =
        to === 'group' ? ([GROUP, MULTICAST_PORT] as const) : ([ADDRESS[to], UNICAST_PORT] as const);
      const group = { address: GROUP, port: MULTICAST_PORT };
      // A node claims to be itself, the client to be either: then both take it, whoever gets it.
      const claims = NODES.filter((node) => node === from || from === 'client');
      const order = { kind: 'datagrams', content: flood, claims, own: ADDRESS[from], group } as const;
      const bounds = { to: address, port, perSecond: RATE, forMs: FOR_MS };
      const { outcome } = await Flood.start(pair.lab, from, { ...order, ...bounds });
      const { sent } = await outcome;
      for (const [i, node] of hit.entries()) {
        const was = counts(before[i]!, cause);
        const [dropped, received] = await until(
          `${node} counts ${cause} and hears real heartbeats`,
          async () => {
            const now = counts(await pair.status(node), cause);
            // The kernel drops most, also while it still does so because of the case before.
            const isSeen = now.dropped > was.dropped && now.received > was.received;
            return isSeen ? [now.dropped - was.dropped, now.received - was.received] : undefined;
          },
        );
        const usEach = ((processorMs(pair, node) - spentMs[i]!) * 1000) / sent;
        t.comment(
          `${node}: ${sent} sent, ${dropped} dropped (${cause}), ${received} heartbeats received, ${usEach.toFixed(1)} µs each`,
        );
        if (cause !== 'cluster')
          await until(`the status of ${node} says so`, async () => {
            const { warnings } = await pair.status(node);
            return warnings.some((line) => line.startsWith(`heartbeats are thrown away (${cause})`));
          });
      }
      t.strictSame(await rolesOf(), roles, 'the roles are as before');
      t.equal(pair.ownership.changes.length, changes, 'no VIP moved');
    });

  for (const [i, node] of NODES.entries()) {
    const grown = residentMib(pair, node) - resident[i]!;
    t.ok(grown < MAX_GROWTH_MIB, `${node}: memory of the agent grew by ${grown.toFixed(1)} MiB`);
  }
});

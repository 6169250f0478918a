import t from 'tap';
import type { ClientsOptions } from '../../scripts/lab/clients.ts';
import type { FaultName } from '../../scripts/lab/faults.ts';
import { NODES, type NodeName } from '../../scripts/lab/hosts.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import type { OwnerChange } from '../../scripts/lab/ownership.ts';
import { quotaMissing, slow } from '../../scripts/lab/quota.ts';
import type { TimelineEvent } from '../../scripts/lab/tested-pair.ts';
import { eachFault, startPair } from './fault-run.ts';

/** Of one processor, for all that runs on a node. */
const SHARE = 0.15;
const FAULTS: readonly FaultName[] = ['cut', 'power', 'agent-kill'];
/** A cold start takes some 4 s of a fast processor on each node, and has its share of one that may be a slow one. */
const COLD_START_MS = 300_000;
/** They wait for a slow machine, as people do. */
const UNHURRIED: ClientsOptions = {
  intervalMs: 100,
  visitMs: 100,
  askMs: 1000,
  timeoutMs: 10_000,
  sticky: 10,
  keptAlive: 5,
};
/** The lease of a VIP and the kernel's sweep. */
const LEASE_MS = 3_500;

/** How long a node said `active` and did not hold the VIP, at the longest, in milliseconds. */
function activeWithoutVipMs(
  node: NodeName,
  events: readonly TimelineEvent[],
  changes: readonly OwnerChange[],
): number {
  const roles = events
    .filter((event) => event.node === node && event.kind === 'role')
    .map(({ mono_ms, text }) => ({ atMs: mono_ms, role: /^(active|standby|fault|init) \(/.exec(text)?.[1] }))
    .filter(({ role }) => role !== undefined);
  return Math.max(
    0,
    ...roles.map(({ atMs, role }, i) => {
      const gained = changes.find((change) => change.node === node && change.held && change.atMs >= atMs);
      const untilMs = Math.min(gained?.atMs ?? Infinity, roles[i + 1]?.atMs ?? Infinity);
      return role !== 'active' || untilMs === Infinity ? 0 : untilMs - atMs;
    }),
  );
}

t.test(
  'two slow machines: a cold start, and faults with clients that wait',
  { skip: skipLab() || (quotaMissing() ?? false), timeout: 900_000 },
  async (t) => {
    const ends: (() => Promise<void>)[] = [];
    const pair = await startPair(t, { wholeWithinMs: COLD_START_MS }, (lab) => {
      for (const node of NODES) ends.push(slow(lab, node, SHARE));
      return undefined;
    });
    await eachFault(t, pair, FAULTS, { load: UNHURRIED }, async (t, { to, events, changes = [] }) => {
      const ms = activeWithoutVipMs(to, events, changes);
      t.ok(ms <= LEASE_MS, `${to} was active without the VIP for ${ms} ms`);
    });
    for (const end of ends) await end();
  },
);

import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { ClientsOptions } from '../../scripts/lab/clients.ts';
import type { FaultName } from '../../scripts/lab/faults.ts';
import { NODES, type NodeName } from '../../scripts/lab/hosts.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import type { OwnerChange } from '../../scripts/lab/ownership.ts';
import { quotaMissing, slow, usedMs } from '../../scripts/lab/quota.ts';
import type { TimelineEvent } from '../../scripts/lab/tested-pair.ts';
import { eachFault, startPair } from './fault-run.ts';

/** Of one processor, for all that runs on a node, where that is twice what it needs at rest. */
const SHARE = 0.15;
const TIMES_AT_REST = 2;
/** On a machine that is so slow that a node needs more, the share grows; by then it is no slow node any more. */
const MOST = 0.6;
/** What is at rest has been compiled by then, and is measured for so long. */
const WARM_MS = 10_000;
const MEASURE_MS = 5_000;
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
/** The lifetime of a VIP and the kernel's sweep. */
const LIFETIME_MS = 3_500;

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

/** A share of this machine's processors that makes a node as slow as `SHARE` does on a usual one. */
async function shareHere(t: Test): Promise<number> {
  const pair = await startPair(t);
  await pair.whole();
  await sleep(WARM_MS);
  const before = usedMs(pair.lab, 'lb1');
  await sleep(MEASURE_MS);
  const atRest = (usedMs(pair.lab, 'lb1') - before) / MEASURE_MS;
  await pair.stop();
  await pair.lab.down();
  const share = Math.min(Math.max(SHARE, TIMES_AT_REST * atRest), MOST);
  t.comment(
    `a node needs ${Math.round(100 * atRest)} % of a processor at rest and gets ${Math.round(100 * share)} %`,
  );
  return share;
}

t.test(
  'two slow machines: a cold start, and faults with clients that wait',
  { skip: skipLab() || (quotaMissing() ?? false), timeout: 900_000 },
  async (t) => {
    const share = await shareHere(t);
    const ends: (() => Promise<void>)[] = [];
    const pair = await startPair(t, { wholeWithinMs: COLD_START_MS }, (lab) => {
      for (const node of NODES) ends.push(slow(lab, node, share));
      return undefined;
    });
    await eachFault(t, pair, FAULTS, { load: UNHURRIED }, async (t, { to, events, changes = [] }) => {
      const ms = activeWithoutVipMs(to, events, changes);
      t.ok(ms <= LIFETIME_MS, `${to} was active without the VIP for ${ms} ms`);
    });
    for (const end of ends) await end();
  },
);

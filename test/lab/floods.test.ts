import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Clients } from '../../scripts/lab/clients.ts';
import {
  ATTACKS,
  type Attack,
  FLOODED,
  hostOf,
  type Scene,
  takeRoles,
} from '../../scripts/lab/floods/attacks.ts';
import { Flood } from '../../scripts/lab/floods/flood.ts';
import { NODES } from '../../scripts/lab/hosts.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import type { Pair } from '../../scripts/lab/pair.ts';
import { until } from '../../scripts/lab/wait.ts';
import { LabWitness, WITNESS } from '../../scripts/lab/witness.ts';
import { PATIENT } from './calm.ts';
import { startPair } from './fault-run.ts';

/** They end by themselves. The benchmark has longer and larger ones. */
const BOUNDS = { perSecond: 5_000, forMs: 400 } as const;

/** What a node says of heartbeats that it threw away by this cause. */
async function dropped(pair: Pair, node: (typeof NODES)[number], cause: string): Promise<number> {
  const { paths } = await pair.status(node);
  return paths.reduce((sum, path) => sum + (path.dropped[cause] ?? 0), 0);
}

async function rolesOf(pair: Pair): Promise<string[]> {
  return (await Promise.all(NODES.map((node) => pair.status(node)))).map(
    ({ role, epoch }) => `${role} ${epoch}`,
  );
}

/** Those of one port or socket come at once; each kind of datagrams by itself, so that its count is seen. */
function together(attacks: readonly Attack[]): Map<string, Attack[]> {
  return Map.groupBy(attacks, ({ name, by, cause }) =>
    cause === undefined ? name.split(': ')[0]! : `${name}, by ${by}`,
  );
}

async function floodBy(t: Test, pair: Pair, scene: Scene, attack: Attack): Promise<void> {
  const host = hostOf(attack, scene);
  const isStranger = attack.by === 'stranger';
  const floods = await Promise.all(
    attack.orders(scene).map((order) => Flood.start(pair.lab, host, order, isStranger)),
  );
  for (const { sent, refused } of await Promise.all(floods.map(({ outcome }) => outcome))) {
    t.ok(sent > 0, `${attack.name}, by ${attack.by}: ${sent} were sent`);
    if (attack.refused !== undefined) t.strictSame(refused, { [attack.refused]: sent });
  }
}

async function bears(t: Test, pair: Pair, clients: Clients, attacks: readonly Attack[]): Promise<void> {
  const active = pair.active();
  const scene: Scene = { active, runDirectory: join(pair.directory, active), ...BOUNDS };
  const causes = attacks.flatMap(({ cause }) => cause ?? []);
  const before = await Promise.all(causes.map((cause) => dropped(pair, active, cause)));
  await Promise.all(attacks.map((attack) => floodBy(t, pair, scene, attack)));
  for (const [i, cause] of causes.entries()) {
    await until(`${active} counts it`, async () => (await dropped(pair, active, cause)) > before[i]!);
    await until(`${active} names it`, async () =>
      (await pair.status(active)).warnings.some((line) =>
        line.startsWith(`heartbeats are thrown away (${cause})`),
      ),
    );
  }
  const { probe, keptAlive } = await clients.report();
  t.ok(probe.requests > 0, `${probe.requests} new connections`);
  t.strictSame(probe.causes, {}, 'each got a 200');
  t.strictSame(keptAlive.causes, [], 'no open connection broke');
}

for (const needsWitness of [false, true])
  t.test(`floods of a pair ${needsWitness ? 'and its witness' : ''}`, { skip: skipLab() }, async (t) => {
    const pair = await startPair(t, { ...FLOODED, ...(needsWitness && { witness: WITNESS }) });
    await takeRoles(pair);
    if (needsWitness) await (await LabWitness.start(pair)).grants();
    // A stranger is to be refused by what it attacks.
    chmodSync(pair.lab.outside(pair.directory), 0o755);
    const roles = await rolesOf(pair);
    const changes = pair.ownership.changes.length;
    const clients = await Clients.start(pair.lab, PATIENT);
    const isRoot = process.getuid?.() === 0;
    if (!isRoot) t.comment('floods by other users of a node are left out: they need root');
    const attacks = ATTACKS.filter(
      (attack) => (attack.needsWitness === true) === needsWitness && (isRoot || attack.by !== 'stranger'),
    );
    for (const [name, some] of together(attacks))
      await t.test(name, async (t) => {
        await bears(t, pair, clients, some);
        t.equal(pair.ownership.changes.length, changes, 'no VIP moved');
        t.strictSame(await rolesOf(pair), roles, 'the roles are as before');
        if (name !== 'sync') return;
        const { warnings } = await pair.lbdStatus(pair.active());
        t.match(warnings.join('\n'), /strangers at the port were refused/);
      });
    await clients.stop();
    await pair.whole();
  });

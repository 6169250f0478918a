import t from 'tap';
import type { AgentStatus } from '../../common/control.ts';
import { NODES, type NodeName } from '../../scripts/lab/hosts.ts';
import { dropDatagrams } from '../../scripts/lab/impair.ts';
import type { Lab } from '../../scripts/lab/lab.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import type { Pair } from '../../scripts/lab/pair.ts';
import { MULTICAST_PORT, UNICAST_PORT } from '../../scripts/lab/pair-config.ts';
import { until } from '../../scripts/lab/wait.ts';
import { HEARTBEAT_MS } from './calm.ts';
import { startPair } from './fault-run.ts';

/** With `dead_after: 3`. */
const DEAD_MS = 3 * HEARTBEAT_MS;

/** Each node refuses the heartbeats of all paths, as a firewall with `reject` does. @returns what ends it */
async function refuseDatagrams(lab: Lab): Promise<() => Promise<void>> {
  const rule = `udp dport { ${MULTICAST_PORT}, ${UNICAST_PORT} } reject`;
  const table = `table inet lab { chain refused { type filter hook input priority 0; ${rule}; }; }`;
  for (const node of NODES) await lab.exec(node, ['nft', '-f', '-'], table);
  return async () => {
    for (const node of NODES) await lab.run(node, ['nft', 'delete', 'table', 'inet', 'lab']);
  };
}

const isDatagrams = ({ name }: AgentStatus['paths'][number]) => /^(uni|multi)cast/.test(name);

/** Waits until the paths of both nodes are as wanted. */
async function paths(pair: Pair, what: string, well: (status: AgentStatus) => boolean): Promise<void> {
  for (const node of NODES) await until(`${node}: ${what}`, async () => well(await pair.status(node)));
}

const syncIsUp = ({ paths }: AgentStatus) =>
  paths.some(({ name, state }) => name === 'sync' && state === 'up');

t.test('heartbeats travel beside the session sync', { skip: skipLab() }, async (t) => {
  const pair = await startPair(t);
  const { lab, ownership } = pair;
  await paths(pair, 'the sync path to be up', syncIsUp);
  const active = pair.active();
  const standby = NODES.find((node) => node !== active) as NodeName;

  for (const [filter, begin] of [
    ['drops', dropDatagrams],
    ['refuses', refuseDatagrams],
  ] as const)
    await t.test(`a filter ${filter} heartbeats alone: one owner, no takeover, both say it`, async (t) => {
      const before = ownership.changes.length;
      const epochs = await Promise.all(NODES.map(async (node) => (await pair.status(node)).epoch));
      const mend = await begin(lab);
      t.teardown(mend);
      await paths(pair, 'all UDP paths to be silent for three dead times', (status) =>
        status.paths
          .filter(isDatagrams)
          .every(({ state, seen_ms_ago = 0 }) => state === 'silent' && seen_ms_ago > 3 * DEAD_MS),
      );
      for (const node of NODES) {
        const status = await pair.status(node);
        t.ok(syncIsUp(status), `${node}: the sync path is up`);
        t.match(status.peer, { alive: true });
        t.match(status.warnings.join(), /heard by the session sync alone/);
        const { stdout } = await pair.lbctl(node, 'status');
        t.match(stdout, /^path +sync · up · heard \d+ms ago/m);
        t.match(stdout, /^path +unicast \S+ · silent/m);
      }
      t.same(ownership.holders(), [active]);
      t.equal(ownership.changes.length, before, 'the VIP did not move');
      t.same(await Promise.all(NODES.map(async (node) => (await pair.status(node)).epoch)), epochs);
      await mend();
      await paths(pair, 'all paths to be up', (status) => status.paths.every(({ state }) => state === 'up'));
    });

  await t.test('and the death of the active node is still a death', async (t) => {
    const mend = await dropDatagrams(lab);
    t.teardown(mend);
    await paths(pair, 'all UDP paths to be silent', (status) =>
      status.paths.filter(isDatagrams).every(({ state }) => state === 'silent'),
    );
    await lab.cut(active);
    await until('the other node to be active', async () => (await pair.status(standby)).role === 'active');
    await until('one owner', () => ownership.holders().join() === standby);
    await lab.heal(active);
    await mend();
    await pair.whole();
    t.equal(pair.active(), standby);
  });
});

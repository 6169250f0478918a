import t from 'tap';
import { INTERFACE, NODES, VIP } from '../../scripts/lab/hosts.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { until } from '../../scripts/lab/wait.ts';
import { startPair } from './fault-run.ts';

/** As keepalived leaves it. */
const COPY = `${VIP}/32`;

t.test('an address of a VIP that somebody else puts on a node', { skip: skipLab() }, async (t) => {
  const pair = await startPair(t);
  const { lab, ownership } = pair;
  const active = pair.active();
  const standby = NODES.find((name) => name !== active)!;
  const add = (node: typeof active) => lab.exec(node, ['ip', 'addr', 'add', COPY, 'dev', INTERFACE]);
  const has = async (node: typeof active, text: string) =>
    (await lab.exec(node, ['ip', '-o', 'addr', 'show'])).includes(` ${text}`);

  await t.test('on the standby: it is removed, and both the log and the status say so', async (t) => {
    await add(standby);
    await until('the copy to be gone', async () => !(await has(standby, `${VIP}/`)));
    const { warnings, vips } = await pair.status(standby);
    t.ok(
      warnings.some((text) => text.startsWith(`${COPY} dev ${INTERFACE} was here, and not by this agent`)),
    );
    t.match(vips, [{ held: false, copies: [] }]);
    const said = (await pair.events()).filter(({ node, text }) => node === standby && text.startsWith(COPY));
    t.equal(said.length, 1, 'said once');
  });

  await t.test('before the agent starts: it is removed before anything else', async (t) => {
    await pair.daemons[standby]['ha-agent'].signal('SIGTERM');
    await add(standby);
    await pair.startNode(standby);
    await pair.whole();
    t.notOk(await has(standby, `${VIP}/`));
    t.equal(pair.active(), active);
  });

  await t.test('on the active node, whose agent is killed: its guardian removes both', async (t) => {
    // With the agent alive it would be gone within a moment.
    await pair.daemons[active]['ha-agent'].signal('SIGSTOP');
    await ownership.until('the VIP moves', () => ownership.holders().join() === standby);
    await add(active);
    await pair.daemons[active]['ha-agent'].signal('SIGKILL');
    await until('the copy to be gone', async () => !(await has(active, `${VIP}/`)));
    await pair.startNode(active);
    await pair.whole();
    t.equal(pair.active(), standby);
  });
});

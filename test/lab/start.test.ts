import { readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { FAULTS } from '../../scripts/lab/faults.ts';
import { INTERFACE, NODES, type NodeName, VIP } from '../../scripts/lab/hosts.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import type { Pair } from '../../scripts/lab/pair.ts';
import { until } from '../../scripts/lab/wait.ts';
import { startPair } from './fault-run.ts';

/** Nodes lose their power, and boot once `meanwhile` is over. */
async function powerCut(pair: Pair, nodes: readonly NodeName[], meanwhile: () => void): Promise<void> {
  const boots = [];
  for (const node of nodes) boots.push(await FAULTS.power.inflict(pair, node));
  // A daemon whose end is not noticed yet would be taken for one that runs, and not be started.
  for (const node of nodes)
    while (pair.pids(node, 'balancer').length + pair.pids(node, 'agent').length > 0)
      await new Promise((resolve) => setImmediate(resolve));
  meanwhile();
  await Promise.all(boots.map((boot) => boot()));
  await pair.whole();
}

/** What `lbctl status` warns of on a node, of both daemons. */
async function warnings(pair: Pair, node: NodeName): Promise<readonly string[]> {
  const { stdout } = await pair.lbctl(node, '--json', 'status');
  return (JSON.parse(stdout) as { warnings: string[] }).warnings;
}

t.test('a broken file does not keep a pair from its start', { skip: skipLab() }, async (t) => {
  const pair = await startPair(t);
  const file = pair.lab.outside(pair.configFile);
  const good = readFileSync(file, 'utf8');
  const vip = `${VIP}/24, interface: `;

  await t.test('one that was refused stays on disk, and both nodes lose their power', async (t) => {
    writeFileSync(file, good.replace(`${vip}${INTERFACE}`, `${vip}eth9`));
    for (const node of NODES) t.equal((await pair.lbctl(node, 'reload')).code, 1);
    await powerCut(pair, NODES, () => {});
    const why =
      /did not load the config file at .*, what it accepted from \S+ .* ago, at \S+Z, is in force: .*eth9/;
    for (const node of NODES) {
      const said = await warnings(pair, node);
      for (const daemon of ['lbd', 'ha-agent'])
        t.ok(
          said.some((line) => line.startsWith(daemon) && why.test(line)),
          `${daemon} of ${node}: ${said}`,
        );
      t.match(await pair.status(node), { peer: { same_config: true } });
      const check = await pair.lbctl(node, 'check', pair.configFile, '--for', node);
      t.match(check, { code: 1, stderr: /eth9/ }, 'who asks is told that it is bad');
    }
    t.ok((await pair.events()).some(({ source, text }) => source === 'agent' && why.test(text)));

    writeFileSync(file, good);
    for (const node of NODES) {
      t.match(await pair.lbctl(node, 'reload'), { code: 0, stdout: /unchanged/ });
      t.same(await warnings(pair, node), []);
    }
  });

  await t.test('one that is malformed, and what the nodes accepted differs', async (t) => {
    const standby = NODES.find((node) => node !== pair.active())!;
    writeFileSync(file, `${good.replace('expire: 30m', 'expire: 31m')}`);
    t.match(await pair.lbctl(pair.active(), 'reload'), { code: 0 });
    await powerCut(pair, [standby], () => writeFileSync(file, `${good}workers: [1`));
    for (const node of NODES) {
      await until('the difference', async () => (await pair.status(node)).peer.differs_in.includes('pools'));
      t.ok((await warnings(pair, node)).some((line) => line.startsWith('config mismatch')));
    }
  });
});

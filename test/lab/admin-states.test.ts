import t from 'tap';
import { DAEMONS } from '../../scripts/lab/daemon.ts';
import { NODES, type NodeName } from '../../scripts/lab/hosts.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import type { Pair } from '../../scripts/lab/pair.ts';
import { until } from '../../scripts/lab/wait.ts';
import { startPair } from './fault-run.ts';

/** What both nodes say of some backends of pool `web`, once they say it. */
async function agree(pair: Pair, what: string, wanted: Readonly<Record<string, string>>): Promise<void> {
  for (const node of NODES)
    await until(`${node} to say that ${what}`, async () => {
      const { pools, sync } = await pair.lbdStatus(node);
      const found = Object.keys(wanted).map((name) => {
        const backend = pools.web?.backends[name];
        return `${name} ${backend?.state} ${backend?.weight}`;
      });
      const missing = Object.entries(wanted)
        .map(([name, state]) => `${name} ${state}`)
        .filter((line) => !found.includes(line));
      if (missing.length > 0 || sync.state !== 'synced')
        throw new Error(`${found.join()}; sync ${sync.state}`);
      return true;
    });
}

async function end(pair: Pair, node: NodeName, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  await Promise.all(DAEMONS.map((name) => pair.daemons[node][name].signal(signal)));
}

t.test('what operators want of backends outlives a restart of both nodes', { skip: skipLab() }, async (t) => {
  const pair = await startPair(t);
  const lbctl = async (node: NodeName, ...args: string[]) => {
    const { code, stdout, stderr } = await pair.lbctl(node, ...args);
    t.equal(code, 0, stderr);
    return stdout;
  };
  await lbctl('lb1', 'maint', 'web/s1');
  await lbctl('lb2', 'weight', 'web/s2', '7');
  await agree(pair, 'the wishes have come', { s1: 'maint 1', s2: 'ready 7' });
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    await Promise.all(NODES.map((node) => end(pair, node, signal)));
    for (const node of NODES) await pair.startNode(node);
    await agree(pair, `they are there after ${signal}`, { s1: 'maint 1', s2: 'ready 7', s3: 'ready 1' });
  }
  t.match(await lbctl('lb2', 'backends'), /^web\/s1 .* set to maint by the operator \d+.* ago$/m);

  await end(pair, 'lb2', 'SIGTERM');
  await lbctl('lb1', 'ready', 'web/s1');
  await end(pair, 'lb1', 'SIGTERM');
  for (const node of NODES) await pair.startNode(node);
  await agree(pair, 'the newer word wins over the file of the other node', { s1: 'ready 1', s2: 'ready 7' });
});

import { readFileSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { DAEMONS } from '../../scripts/lab/daemon.ts';
import { INTERFACE, NODES, type NodeName, VIP } from '../../scripts/lab/hosts.ts';
import { NODE, ROOT } from '../../scripts/lab/lab.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import type { Pair } from '../../scripts/lab/pair.ts';
import { until } from '../../scripts/lab/wait.ts';
import type { NodeReload } from '../../scripts/lbctl/reload.ts';
import { startPair } from './fault-run.ts';

const OTHER_VIP = VIP.replace(/\d+$/, '101');
/** As many as a config may have. */
const BACKENDS = 2048;
const POOLS = 32;

/** The largest config that there is; nobody listens on its backends. */
function manyBackends(): string {
  const range = (n: number) => Array.from({ length: n }, (_, i) => i);
  const pools = range(POOLS).map((pool) => {
    const backends = range(BACKENDS / POOLS).map(
      (i) => `      b${i}: { address: "127.1.${pool}.${i + 1}:9000", weight: ${1 + (i % 4)} }`,
    );
    return [`  p${pool}:`, '    health: { type: none }', '    backends:', ...backends].join('\n');
  });
  return `frontends:\n  web: { bind: ["*:80"], mode: http, pool: p0 }\npools:\n${pools.join('\n')}\n`;
}

/** Changes the file of both nodes, which is one in the lab. */
function edit(pair: Pair, change: (text: string) => string): void {
  const file = pair.lab.outside(pair.configFile);
  writeFileSync(file, change(readFileSync(file, 'utf8')));
}

async function reloads(pair: Pair, node: NodeName): Promise<readonly string[]> {
  const events = await pair.events();
  return events
    .filter((it) => it.node === node && it.kind === 'reload')
    .map(({ source, text }) => `${source}: ${text}`);
}

/** Both daemons of a node have found the file unchanged. */
function hasLooked(pair: Pair, node: NodeName): Promise<unknown> {
  return until(`${node} to look at its file`, async () => {
    const lines = await reloads(pair, node);
    return ['agent', 'lbd'].every((source) =>
      lines.some((line) => line.startsWith(source) && line.includes('unchanged')),
    );
  });
}

const roles = async (pair: Pair) => (await pair.events()).filter(({ kind }) => kind === 'role');

/** Nothing of what an operator did has moved anything. */
async function undisturbed(t: Test, pair: Pair, before: number, holder: NodeName): Promise<void> {
  const now = await roles(pair);
  t.equal(
    now.length,
    before,
    `no role changes: ${now.map(({ node, text }) => `${node} ${text}`).join('; ')}`,
  );
  t.equal(pair.active(), holder);
}

t.test(
  'a reload of 2,048 backends on both nodes at once, as the first after the start, moves no VIP',
  {
    skip: skipLab(),
  },
  async (t) => {
    const pair = await startPair(t, { heartbeatMs: 200, services: manyBackends() });
    const holder = pair.active();
    const before = (await roles(pair)).length;
    for (const node of NODES) for (const name of DAEMONS) await pair.daemons[node][name].signal('SIGHUP');
    for (const node of NODES) await hasLooked(pair, node);
    await undisturbed(t, pair, before, holder);

    edit(pair, (text) => text.replace('weight: 4', 'weight: 9'));
    const answers = await Promise.all(NODES.map((node) => pair.lbctl(node, '--json', 'reload')));
    for (const { code, stdout, stderr } of answers) {
      t.equal(code, 0, stderr);
      t.match(JSON.parse(stdout) as NodeReload, {
        ok: true,
        lbd: { outcome: 'applied', changes: ['pool p0 changed'] },
        agent: { outcome: 'applied', changes: ['pools changed'] },
      });
    }
    await undisturbed(t, pair, before, holder);
  },
);

t.test('a change that cannot be carried out changes nothing', { skip: skipLab() }, async (t) => {
  const pair = await startPair(t, { heartbeatMs: 500 });
  const holder = pair.active();
  const before = (await roles(pair)).length;
  const good = readFileSync(pair.lab.outside(pair.configFile), 'utf8');
  const last = `- { address: ${VIP}/24, interface: ${INTERFACE} }\n`;
  edit(pair, (text) => text.replace(last, `${last}    - { address: ${OTHER_VIP}/24, interface: eth9 }\n`));

  const why = /tandem\.yaml:\d+:\d+: ha\.vips\.1\.interface: found eth9, but this host has only/;
  const check = await pair.lbctl('lb1', 'check', pair.configFile, '--node', 'lb1');
  t.equal(check.code, 1);
  t.match(check.stderr, why);
  const argv = [NODE, `${ROOT}/scripts/lbctl.ts`, 'check', pair.configFile, '--node', 'lb1'];
  const elsewhere = await pair.lab.run('client', argv);
  t.equal(elsewhere.code, 0, elsewhere.stderr);
  t.match(elsewhere.stdout, /were not looked for: this machine does not have the address of that node/);

  for (const node of NODES) await pair.daemons[node]['ha-agent'].signal('SIGHUP');
  for (const node of NODES) {
    await until('the refusal', async () => (await pair.status(node)).warnings.some((line) => why.test(line)));
    const { code, stdout } = await pair.lbctl(node, 'reload');
    t.equal(code, 1);
    t.match(stdout, /^ha-agent: refused, the old config stays\nha-agent: .*eth9/);
    t.notOk(
      (await reloads(pair, node)).some((line) => line.startsWith('lbd')),
      'lbd was not asked',
    );
  }
  await pair.whole();
  await undisturbed(t, pair, before, holder);

  edit(pair, () =>
    good.replace(last, `${last}    - { address: ${OTHER_VIP}/24, interface: ${INTERFACE} }\n`),
  );
  for (const node of NODES) t.equal((await pair.lbctl(node, 'reload')).code, 0);
  await until('the other VIP', async () => (await pair.status(holder)).vips.every(({ held }) => held));
  t.equal((await pair.status(holder)).vips.length, 2);
  await undisturbed(t, pair, before, holder);
});

/** Bit 0 of the signals that a process catches: SIGHUP. */
const catchesHup = (pid: number) =>
  (Number.parseInt(
    /^SigCgt:\s*[0-9a-f]*([0-9a-f])$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]!,
    16,
  ) &
    1) !==
  0;

t.test('SIGHUP during the start neither kills nor is lost', { skip: skipLab() }, async (t) => {
  const pair = await startPair(t, { heartbeatMs: 500 });
  const standby = NODES.find((node) => node !== pair.active())!;
  for (const name of DAEMONS) {
    const daemon = pair.daemons[standby][name];
    await daemon.signal('SIGTERM');
    daemon.start();
    await until('its first line', () => catchesHup(daemon.pid));
    await daemon.signal('SIGHUP');
  }
  await pair.whole();
  await hasLooked(pair, standby);
  t.pass();
});

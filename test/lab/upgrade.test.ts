import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Clients } from '../../scripts/lab/clients.ts';
import { NODES, type NodeName } from '../../scripts/lab/hosts.ts';
import { Lab, ROOT } from '../../scripts/lab/lab.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { startOrigins } from '../../scripts/lab/origins.ts';
import { Pair } from '../../scripts/lab/pair.ts';
import { STICKY_KINDS } from '../../scripts/lab/sticky.ts';
import { until } from '../../scripts/lab/wait.ts';
import { HEARTBEAT_MS, PATIENT } from './calm.ts';
import { ID, makeFolders, ownKeys, ownSite, runAsUser } from './installed-node.ts';

/** Of the last release, which speaks the former heartbeat. */
const LAST_RELEASE = 'e08a83edf36d841b7181ac12c6f55ebaafdd6b45';

function commit(): string | undefined {
  try {
    const argv = ['-C', ROOT, 'rev-parse', '--verify', '--quiet', `${LAST_RELEASE}^{commit}`];
    return execFileSync('git', argv, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return undefined;
  }
}

/** The source tree of the last release, with the packages of this one. */
function formerTree(t: Test): string {
  const parent = mkdtempSync(join(tmpdir(), 'tandem-former-'));
  t.teardown(() => rmSync(parent, { recursive: true, force: true }));
  const tree = join(parent, 'tree');
  mkdirSync(tree);
  const archive = execFileSync('git', ['-C', ROOT, 'archive', commit()!], { maxBuffer: 2 ** 28 });
  execFileSync('tar', ['-x', '-C', tree], { input: archive });
  symlinkSync(join(ROOT, 'node_modules'), join(tree, 'node_modules'));
  return tree;
}

const skip =
  skipLab() ||
  (process.getuid?.() !== 0 && 'other users need root') ||
  (commit() === undefined && 'the commit of the last release is not in this clone');

t.test('a pair is upgraded from the last release while clients come', { skip }, async (t) => {
  const lab = await Lab.up();
  t.teardown(() => lab.down());
  await startOrigins(lab);
  const pair = await Pair.start(lab, { heartbeatMs: HEARTBEAT_MS, tree: formerTree(t) });
  t.teardown(() => pair.close());
  const first = pair.active();
  const other = NODES.find((node) => node !== first)!;
  const before = pair.ownership.changes.length;
  const clients = await Clients.start(lab, PATIENT);

  const outside = lab.outside(pair.directory);
  chmodSync(outside, 0o755);
  ownSite(outside);
  const upgrade = async (node: NodeName) => {
    for (const name of ['ha-agent', 'lbd'] as const) await pair.daemons[node][name].signal('SIGTERM');
    // As the installer does: the former daemons were one user, and read the secret.
    makeFolders(outside, node);
    for (const daemon of Object.values(pair.daemons[node])) runAsUser(daemon, pair.directory);
    pair.use(node, ROOT);
    await pair.startNode(node);
    await pair.whole();
  };
  await upgrade(other);
  t.strictSame(
    pair.ownership.changes.slice(before),
    [],
    'the VIP stays with the node that is not upgraded yet',
  );
  const [here, there] = await Promise.all([pair.status(other), pair.status(first)]);
  t.ok(here.peer.alive && there.peer.alive, 'the two releases hear each other');
  t.strictSame(here.warnings, []);
  t.equal((await pair.lbctl(first, 'switchover')).code, 0);
  await pair.whole();
  await until('clients of the time before are done', async () => {
    const { second_chance } = await pair.status(first);
    return second_chance.finishing === undefined;
  });
  await upgrade(first);
  const { probe, sticky } = await clients.report();
  await clients.stop();

  t.strictSame(
    pair.ownership.changes.slice(before).map(({ node, held }) => ({ node, held })),
    [
      { node: first, held: false },
      { node: other, held: true },
    ],
    'one switchover: never two owners, and none only between the two steps of it',
  );
  for (const node of NODES)
    for (const [name, id] of [
      ['lbd', ID.lb],
      ['ha-agent', ID.ha],
    ] as const)
      t.match(
        await lab.exec(node, ['cat', `/proc/${pair.daemons[node][name].pid}/status`]),
        new RegExp(`^Uid:\\t${id}\\t`, 'm'),
        `${name} on ${node} has a user of its own`,
      );
  t.ok(probe.requests > 0);
  t.strictSame(probe.causes, {}, 'every new connection got a 200');
  for (const kind of STICKY_KINDS)
    t.equal(sticky[kind].kept, sticky[kind].total, `${kind}: all have their backend`);

  await t.test('then the secret is replaced: no daemon reads it, and none is restarted', async (t) => {
    const pids = () => NODES.map((node) => Object.values(pair.daemons[node]).map(({ pid }) => pid));
    const started = pids();
    const reload = async (answer: RegExp) => {
      for (const node of NODES) t.match(await pair.lbctl(node, 'reload'), { code: 0, stdout: answer });
      await pair.whole();
    };
    const config = join(outside, 'tandem.yaml');
    const text = readFileSync(config, 'utf8');
    renameSync(join(outside, 'secret'), join(outside, 'secret.old'));
    writeFileSync(join(outside, 'secret'), Buffer.alloc(48, 9));
    await reload(/unchanged/);
    writeFileSync(config, text.replace('secret_file: secret', '$&\n  previous_secret_file: secret.old'));
    t.match(await pair.lbctl(first, 'reload'), {
      code: 1,
      stdout: /secret\.old .*: as root: lbctl derive-keys/,
    });
    for (const name of ['secret', 'secret.old']) ownKeys(join(outside, name));
    await reload(/the secrets changed/);
    writeFileSync(config, text);
    await reload(/the secrets changed/);
    t.strictSame(pids(), started);
    for (const node of NODES) t.strictSame((await pair.status(node)).warnings, []);
  });
});

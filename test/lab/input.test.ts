import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DAEMONS, Daemon, type DaemonName } from '../../scripts/lab/daemon.ts';
import { NODES, VIP } from '../../scripts/lab/hosts.ts';
import { Lab, NODE, ROOT } from '../../scripts/lab/lab.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { pairConfig } from '../../scripts/lab/pair-config.ts';
import { until } from '../../scripts/lab/wait.ts';
import { filesIn } from '../common/temp-dir.ts';
import { quiet } from './quiet.ts';

interface Case {
  readonly what: string;
  readonly daemon: DaemonName;
  /** What the one line must name. */
  readonly says: RegExp;
  readonly config?: (text: string) => string;
  /** undefined: no secret file. */
  readonly secret?: { readonly bytes: number; readonly mode: number } | undefined;
  readonly node?: string;
  /** Command in front of the daemon's own. */
  readonly under?: readonly string[];
}

/** A config directory as an operator would have left it, removed after the test. */
function site(t: Test, given: Pick<Case, 'config' | 'secret'>) {
  const directory = mkdtempSync(join(tmpdir(), 'tandem-input-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const runDirectory = join(directory, 'lb1');
  mkdirSync(runDirectory, { mode: 0o750 });
  const file = join(directory, 'tandem.yaml');
  writeFileSync(file, given.config?.(pairConfig()) ?? pairConfig());
  const secret = 'secret' in given ? given.secret : GOOD;
  if (secret !== undefined) {
    writeFileSync(join(directory, 'secret'), randomBytes(secret.bytes));
    chmodSync(join(directory, 'secret'), secret.mode);
  }
  return { directory, file, runDirectory };
}

const GOOD = { bytes: 48, mode: 0o600 };
const CASES: readonly Case[] = [
  { what: 'a secret that is missing', daemon: 'lbd', secret: undefined, says: /secret/ },
  { what: 'a secret that is short', daemon: 'ha-agent', secret: { bytes: 8, mode: 0o600 }, says: /32/ },
  {
    what: 'a secret that the world can read',
    daemon: 'ha-agent',
    secret: { bytes: 48, mode: 0o644 },
    says: /secret/,
  },
  { what: 'a node that is not in the file', daemon: 'lbd', node: 'lb7', says: /lb7.*lb1/ },
  { what: 'a node that is not in the file', daemon: 'ha-agent', node: 'lb7', says: /lb7.*lb1/ },
  {
    what: 'malformed YAML',
    daemon: 'lbd',
    config: (text) => text.replace('workers: 1', 'workers: [1'),
    says: /tandem\.yaml:\d+:\d+/,
  },
  {
    what: 'an unknown key',
    daemon: 'lbd',
    config: (text) => text.replace('algorithm:', 'algoritm:'),
    says: /tandem\.yaml:\d+:\d+: .*algoritm.*algorithm/,
  },
  {
    what: 'a pool that points nowhere',
    daemon: 'lbd',
    config: (text) => text.replace('pool: echo', 'pool: ecko'),
    says: /tandem\.yaml:\d+:\d+: .*ecko.*echo/,
  },
  {
    what: 'a bind that is taken',
    daemon: 'lbd',
    config: (text) => text.replace('"*:80"', '"*:81"'),
    says: /81/,
  },
  {
    what: 'no permission to change addresses',
    daemon: 'ha-agent',
    under: ['setpriv', '--inh-caps', '-all', '--bounding-set', '-all', '--'],
    says: /permi|CAP_NET_ADMIN/i,
  },
];

t.test('bad input ends in one clear line and leaves nothing behind', { skip: skipLab() }, async (t) => {
  const lab = await Lab.up();
  t.teardown(() => lab.down());
  const taken = lab.spawn('lb1', [
    NODE,
    '-e',
    `require('net').createServer().listen(81, '0.0.0.0', () => require('net').createServer().listen(82, '0.0.0.0'))`,
  ]);
  await until('port 81 is taken', async () => {
    await lab.exec('lb1', [NODE, '-e', `require('net').connect(82).on('connect', () => process.exit(0))`]);
    return true;
  });

  for (const { what, daemon, says, under = [], ...given } of CASES)
    await t.test(`${daemon}: ${what}`, async (t) => {
      const { file, runDirectory } = site(t, given);
      const flags = ['--config', file, '--node', given.node ?? 'lb1', '--run-dir', runDirectory];
      const argv = [...under, NODE, join(ROOT, daemon, 'main.ts'), ...flags];
      const { code, stdout, stderr } = await lab.run('lb1', argv);

      t.ok(code > 0, `exit code ${code}`);
      const lines = stderr.trim().split('\n');
      t.equal(lines.length, 1, `one line: ${stderr.trim()}`);
      t.match(lines[0], says);
      t.notMatch(stdout + stderr, /\n\s+at /, 'no stack trace');
      t.strictSame(filesIn(runDirectory), [], 'no socket or file is left');
      t.notMatch(await lab.exec('lb1', ['ip', 'addr', 'show']), `inet ${VIP}/`, 'no VIP is left');
      await until('no process is left', () => {
        if (lab.processes('lb1').join() === `${taken.pid}`) return true;
        throw new Error(lab.commands('lb1').join('; '));
      });
    });
});

t.test('where the daemon goes on, the status says what is wrong', { skip: skipLab() }, async (t) => {
  const lab = await Lab.up();
  t.teardown(() => lab.down());
  const status = (runDirectory: string) =>
    lab.run('lb1', [NODE, join(ROOT, 'scripts/lbctl.ts'), '--run-dir', runDirectory, 'status']);

  /** Runs the agent of lb1 until its status says so, then stops it and looks at what is left. */
  async function agentSays(t: Test, given: Pick<Case, 'config' | 'under'>, says: RegExp): Promise<void> {
    const { file, runDirectory } = site(t, given);
    const flags = ['--config', file, '--node', 'lb1', '--run-dir', runDirectory];
    const argv = [...(given.under ?? []), NODE, join(ROOT, 'ha-agent/main.ts'), ...flags];
    const agent = lab.spawn('lb1', argv, { stdio: 'ignore' });
    const gone = once(agent, 'exit');
    await until(`status says ${says}`, async () => {
      const { stdout, stderr } = await status(runDirectory);
      if (!says.test(stdout)) throw new Error(stdout + stderr);
      return true;
    });
    t.notMatch(await lab.exec('lb1', ['ip', 'addr', 'show']), `inet ${VIP}/`, 'it does not take the VIP');
    agent.kill('SIGTERM');
    t.strictSame(await gone, [0, null], 'it ends well');
    // It may have ended before it kept its config.
    const left = filesIn(runDirectory).filter((file) => file !== 'state/ha-agent/accepted.yaml');
    t.strictSame(left, [], 'no socket is left');
    await quiet(lab, 'lb1');
  }

  await t.test('an interface that is missing', (t) =>
    agentSays(
      t,
      { config: (text) => text.replaceAll('interface: eth0', 'interface: eth9') },
      /fault[\s\S]*interface eth9 does not exist/,
    ),
  );

  await t.test('socat and arping are missing', async (t) => {
    const bin = mkdtempSync(join(tmpdir(), 'tandem-bin-'));
    t.teardown(() => rmSync(bin, { recursive: true }));
    for (const tool of ['bash', 'ip', 'nft', 'nice', 'sh'])
      symlinkSync((await lab.exec('lb1', ['sh', '-c', `command -v ${tool}`])).trim(), join(bin, tool));
    await agentSays(
      t,
      { under: ['env', `TANDEM_PROGRAMS=${bin}`] },
      /no program "socat"[\s\S]*no program "arping" \(iputils-arping\) either/,
    );
  });

  await t.test('a peer with another secret', async (t) => {
    const own = site(t, {});
    const other = site(t, {});
    for (const daemon of DAEMONS) {
      new Daemon(lab, daemon, 'lb1', own.directory, own.file).start();
      new Daemon(lab, daemon, 'lb2', other.directory, other.file).start();
    }
    await until('lb1 tells why it does not trust lb2', async () => {
      const { stdout, stderr } = await status(own.runDirectory);
      if (!/auth/.test(stdout) || !/sync .*secret/.test(stdout)) throw new Error(stdout + stderr);
      return true;
    });
    for (const node of NODES) lab.killAll(node);
  });
});

import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { hasTool, TOOL_PATH } from '../../scripts/lab/missing.ts';
import { tempDir } from '../common/temp-dir.ts';

const UNITS = join(import.meta.dirname, '../../scripts/systemd');
/**
 * Tenths of what `systemd-analyze security` says, which ends at 10. The agent's is higher for AF_PACKET and for programs that
 * drop privileges.
 */
const MAX_EXPOSURE = { lbd: 16, 'ha-agent': 19, 'tandem-kernel': 17, 'tandem-witness': 11 } as const;
/** Each has a user of its own, and no more than these. */
const CAPABILITIES: Readonly<Record<keyof typeof MAX_EXPOSURE, string>> = {
  lbd: 'CAP_NET_BIND_SERVICE',
  'ha-agent': 'CAP_NET_ADMIN CAP_NET_RAW',
  'tandem-kernel': 'CAP_NET_ADMIN',
  'tandem-witness': '',
};
const USERS = ['tandem-lb', 'tandem-ha', 'tandem-net', 'tandem-witness'];

const skip = !hasTool('systemd-analyze') && process.env.CI !== 'true' && 'no systemd-analyze here';

function analyze(...args: string[]) {
  const { status, stdout, stderr } = spawnSync('systemd-analyze', args, {
    encoding: 'utf8',
    env: { ...process.env, PATH: TOOL_PATH },
  });
  return { status, said: stdout + stderr };
}

t.test('systemd understands every line of the units', { skip }, async (t) => {
  const directory = tempDir(t);
  const names = [...Object.keys(MAX_EXPOSURE).map((unit) => `${unit}.service`), 'tandem-kernel.socket'];
  const files = names.map((name) => {
    const file = join(directory, name);
    // The programs are not installed here.
    writeFileSync(
      file,
      readFileSync(join(UNITS, name), 'utf8').replaceAll(/\/usr\/local\/bin\/\S+/g, '/bin/true'),
    );
    return file;
  });
  const { status, said } = analyze('verify', '--man=no', ...files);
  const ours = said.split('\n').filter((line) => /lbd|ha-agent|tandem-/.test(line));
  t.strictSame(ours, []);
  t.equal(status, 0, said);
});

t.test('the exposure of the units does not grow', { skip }, async (t) => {
  for (const [name, limit] of Object.entries(MAX_EXPOSURE)) {
    const unit = join(UNITS, `${name}.service`);
    const { status, said } = analyze(
      'security',
      '--offline=true',
      `--threshold=${limit}`,
      '--no-pager',
      unit,
    );
    t.match(said, /Overall exposure level for .*: [0-2]\.\d OK/);
    t.equal(status, 0, `${name}: ${limit / 10} at most`);
  }
});

t.test('what the units must not allow', async (t) => {
  for (const name of Object.keys(MAX_EXPOSURE)) {
    const unit = readFileSync(join(UNITS, `${name}.service`), 'utf8');
    t.match(unit, /^NotifyAccess=main$/m, 'no child speaks for the daemon');
    t.match(unit, /^NoExecPaths=.*\/run .*\/tmp .*\/var/m, 'nothing that can be written there is a program');
    t.match(
      unit,
      /^SystemCallFilter=~@privileged .*process_vm_readv process_vm_writev/m,
      'no look into memory',
    );
    t.notMatch(unit, /^Environment=.*NODE_/m);
    t.match(unit, /^ProtectProc=invisible$/m, 'no look at processes of others');
  }
});

t.test('each daemon has a user of its own, and the capabilities that it needs', async (t) => {
  const users = Object.entries(CAPABILITIES).map(([name, capabilities]) => {
    const unit = readFileSync(join(UNITS, `${name}.service`), 'utf8');
    const all = (key: string) =>
      [...unit.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value]) => value);
    t.strictSame(all('CapabilityBoundingSet'), [capabilities], name);
    t.strictSame(all('AmbientCapabilities'), capabilities === '' ? [] : [capabilities], name);
    t.strictSame(all('SupplementaryGroups'), [], name);
    t.strictSame(all('Group'), all('User'), name);
    t.strictSame(all('UMask'), ['0077'], name);
    return all('User').join();
  });
  t.strictSame(users, USERS);
});

import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { hasTool, TOOL_PATH } from '../../scripts/lab/missing.ts';
import { tempDir } from '../common/temp-dir.ts';

const FILE = join(import.meta.dirname, '../../scripts/systemd/tandem.logrotate');
const skip = !hasTool('logrotate') && process.env.CI !== 'true' && 'no logrotate here';

t.test('logrotate understands the file, moves the log away, and tells lbd', { skip }, async (t) => {
  const directory = tempDir(t);
  const log = join(directory, 'access.log');
  const conf = join(directory, 'conf');
  writeFileSync(log, 'line\n');
  // Neither the user nor the unit is on this machine.
  const text = readFileSync(FILE, 'utf8')
    .replace('/var/log/tandem', directory)
    .replace(/\tsu .*\n/, '')
    .replace(/systemctl kill \S+ \S+ lbd.service/, `echo told >> ${directory}/told`);
  writeFileSync(conf, text, { mode: 0o644 });
  const { status, stderr } = spawnSync('logrotate', ['--force', '--state', join(directory, 'state'), conf], {
    encoding: 'utf8',
    env: { ...process.env, PATH: TOOL_PATH },
  });
  t.strictSame({ status, stderr }, { status: 0, stderr: '' });
  t.equal(readFileSync(`${log}.1`, 'utf8'), 'line\n');
  t.equal(readFileSync(join(directory, 'told'), 'utf8'), 'told\n');
});

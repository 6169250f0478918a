import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { hasTool, TOOL_PATH } from '../../scripts/lab/missing.ts';
import { tempDir } from '../common/temp-dir.ts';

const UNITS = join(import.meta.dirname, '../../scripts/systemd');
/** Of 100; from 50 on systemd calls it "MEDIUM", below "OK". */
const MAX_EXPOSURE = 49;

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
  const files = ['lbd.service', 'ha-agent.service'].map((name) => {
    const file = join(directory, name);
    // The programs are not installed here.
    writeFileSync(
      file,
      readFileSync(join(UNITS, name), 'utf8').replaceAll(/\/usr\/local\/bin\/\S+/g, '/bin/true'),
    );
    return file;
  });
  const { status, said } = analyze('verify', '--man=no', ...files);
  const ours = said.split('\n').filter((line) => /lbd|ha-agent/.test(line));
  t.strictSame(ours, []);
  t.equal(status, 0, said);
});

t.test('the exposure of the units is "OK" or better', { skip }, async (t) => {
  for (const name of ['lbd.service', 'ha-agent.service']) {
    const limit = `--threshold=${MAX_EXPOSURE}`;
    const { status, said } = analyze('security', '--offline=true', limit, '--no-pager', join(UNITS, name));
    t.match(said, /Overall exposure level for .*: [0-4]\.\d OK/);
    t.equal(status, 0);
  }
});

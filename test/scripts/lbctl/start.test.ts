import { execFileSync } from 'node:child_process';
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { VERSION } from '../../../common/version.ts';
import { tempDir } from '../../common/temp-dir.ts';

const LBCTL = join(import.meta.dirname, '../../../scripts/lbctl.ts');

t.test('in a clone lbctl finds the Node of its tree, whatever is in PATH', async (t) => {
  const link = join(tempDir(t), 'lbctl');
  symlinkSync(LBCTL, link);
  for (const program of [LBCTL, link])
    t.equal(
      execFileSync(program, ['--version'], { env: { PATH: '/usr/bin:/bin' }, encoding: 'utf8' }).trim(),
      VERSION,
    );
});

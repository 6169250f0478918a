import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, realpathSync, symlinkSync } from 'node:fs';
import { join, relative } from 'node:path';
import t from 'tap';
import { VERSION } from '../../../common/version.ts';
import { tempDir } from '../../common/temp-dir.ts';

const ROOT = join(import.meta.dirname, '../../..');
const SHORT = join(ROOT, 'lbctl');
const env = { PATH: '/usr/bin:/bin' };

for (const program of [join(ROOT, 'scripts/lbctl.ts'), SHORT])
  t.test(
    `in a clone ${relative(ROOT, program)} finds the Node of its tree, whatever is in PATH`,
    async (t) => {
      const cwd = tempDir(t);
      symlinkSync(program, join(cwd, 'link'));
      symlinkSync('link', join(cwd, 'link to a link'));
      for (const path of [program, './link', join(cwd, 'link to a link')])
        t.equal(execFileSync(path, ['--version'], { cwd, env, encoding: 'utf8' }).trim(), VERSION, path);
    },
  );

t.test('lbctl of a clone hands on arguments and exit codes as they are', async (t) => {
  const file = join(tempDir(t), 'a  file');
  const { status, stderr } = spawnSync(SHORT, ['check', file], { cwd: '/', env, encoding: 'utf8' });
  t.equal(status, 1);
  t.match(stderr, file);
});

t.test('lbctl of a clone without its packages says in one line what to do', async (t) => {
  const tree = realpathSync(tempDir(t));
  mkdirSync(join(tree, 'scripts'));
  for (const it of ['lbctl', 'scripts/node']) copyFileSync(join(ROOT, it), join(tree, it));
  t.match(spawnSync('./lbctl', ['status'], { cwd: tree, env, encoding: 'utf8' }), {
    status: 1,
    stdout: '',
    stderr: `lbctl: it needs Node 26 or newer and its packages, and ${tree}/node_modules is missing or incomplete: run npm ci there\n`,
  });
});

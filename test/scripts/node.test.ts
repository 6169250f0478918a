import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { VERSION } from '../../common/version.ts';
import { program } from '../common/programs.ts';
import { tempDir } from '../common/temp-dir.ts';

const ROOT = join(import.meta.dirname, '../..');
const { bin } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  bin: Record<string, string>;
};
const SYSTEM = '/usr/bin:/bin';

/** A clone without packages, where `file` would be run, and a PATH with a Node of that version first. */
function clone(t: Test, file: string, version: string) {
  const tree = realpathSync(tempDir(t));
  for (const it of ['scripts/node', file]) {
    mkdirSync(dirname(join(tree, it)), { recursive: true });
    cpSync(join(ROOT, it), join(tree, it));
  }
  const folder = join(tree, 'path');
  mkdirSync(folder);
  program(folder, 'node', `#!/bin/sh\n[ "$1" != --version ] || exec echo ${version}\necho "by PATH: $*"\n`);
  const run = () =>
    spawnSync(join(tree, file), ['--x', 'a  b'], {
      ...{ cwd: '/', encoding: 'utf8' },
      env: { PATH: `${folder}:${SYSTEM}` },
    });
  return { tree, run };
}

for (const [name, file] of Object.entries(bin)) {
  t.test(`${name} finds the Node of its tree, whatever is in PATH`, async (t) => {
    const link = join(tempDir(t), name);
    symlinkSync(join(ROOT, file), link);
    for (const path of [join(ROOT, file), link])
      t.equal(
        execFileSync(path, ['--version'], { cwd: '/', env: { PATH: SYSTEM }, encoding: 'utf8' }).trim(),
        VERSION,
        path,
      );
  });

  t.test(`${name} of a clone without its packages says in one line what to do`, async (t) => {
    const { tree, run } = clone(t, file, 'v20.20.2');
    t.match(run(), {
      status: 1,
      stdout: '',
      stderr: new RegExp(
        `^\\S+: it needs Node 26 or newer and its packages, and ${tree}/node_modules is missing or incomplete: run npm ci there\n$`,
      ),
    });
  });
}

t.test('where npm has no Node for the machine, that of PATH runs it, if it is new enough', async (t) => {
  for (const [version, runs] of [
    ['v26.0.0', true],
    ['v100.1.0', true],
    ['v25.9.9', false],
    ['nonsense', false],
  ] as const) {
    const { tree, run } = clone(t, 'lbd/main.ts', version);
    t.equal(run().status, 1, 'there are no packages');
    mkdirSync(join(tree, 'node_modules'));
    writeFileSync(join(tree, 'node_modules/.package-lock.json'), '{}');
    const { status, stdout } = run();
    t.equal(status, runs ? 0 : 1, version);
    t.equal(stdout, runs ? `by PATH: --disable-sigusr1 ${tree}/lbd/main.ts --x a  b\n` : '');
  }
});

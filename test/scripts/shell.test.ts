import { execFileSync, spawnSync } from 'node:child_process';
import { globSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { hasTool, TOOL_PATH } from '../../scripts/lab/missing.ts';

const ROOT = join(import.meta.dirname, '../..');
const env = { ...process.env, PATH: TOOL_PATH };

function isShell(file: string): boolean {
  const path = join(ROOT, file);
  if (!statSync(path).isFile()) return false;
  // A shell may only find the Node of a program.
  if (file.endsWith('.ts')) return false;
  return file.endsWith('.sh') || /^#!.*\b(ba)?sh\b/.test(readFileSync(path, 'utf8').split('\n', 1)[0]!);
}

const scripts = globSync(['lbctl', '.ci/*', '{common,ha-agent,lbd,scripts,test,vagrant}/**/*'], { cwd: ROOT })
  .filter(isShell)
  .toSorted();

const skip = !hasTool('shellcheck') && process.env.CI !== 'true' && 'no shellcheck here';

t.test('shellcheck has nothing to say about any shell script', { skip }, async (t) => {
  for (const script of ['lbctl', 'scripts/install', 'ha-agent/guardian.sh'])
    t.ok(scripts.includes(script), script);
  const { status, stdout } = spawnSync('shellcheck', ['--external-sources', ...scripts], {
    cwd: ROOT,
    env,
    encoding: 'utf8',
  });
  t.equal(stdout, '');
  t.equal(status, 0);
});

t.test(
  'what runs on a node is plain enough for dash',
  { skip: !hasTool('dash') && 'no dash here' },
  async (t) => {
    for (const file of scripts.filter((name) =>
      readFileSync(join(ROOT, name), 'utf8').startsWith('#!/bin/sh'),
    ))
      t.doesNotThrow(() => execFileSync('dash', ['-n', file], { cwd: ROOT, env, stdio: 'pipe' }), file);
  },
);

import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { SOCKETS } from '../../../common/control.ts';
import { serveControl } from '../../../common/control-server.ts';
import { COMMANDS } from '../../../scripts/lbctl/commands.ts';
import { bashCompletion } from '../../../scripts/lbctl/completion.ts';
import { program } from '../../common/programs.ts';
import { tempDir } from '../../common/temp-dir.ts';

const LBCTL = join(import.meta.dirname, '../../../scripts/lbctl.ts');

/** A node whose lbd socket is served by somebody who means harm, or by lbd. */
async function nodeWith(t: Test, backends: readonly string[], pool = 'web') {
  const directory = tempDir(t);
  const server = await serveControl(join(directory, SOCKETS.lbd), [
    {
      method: 'GET',
      path: '/v1/status',
      handle: () => ({
        frontends: {},
        warnings: [],
        pools: {
          [pool]: {
            algorithm: 'random',
            queue: { waiting: 0, length: 1 },
            backends: Object.fromEntries(
              backends.map((name) => [
                name,
                {
                  ...{
                    address: '192.0.2.1:80',
                    state: 'ready',
                    health: 'healthy',
                    admin: 'ready',
                    active: 0,
                  },
                  ...{ weight: 1, why: '', since_ms: 1, requests: 0, errors: 0, latency_ms: 0 },
                  ...{ failing_checks: [], checks: [] },
                },
              ]),
            ),
          },
        },
      }),
    },
  ]);
  t.teardown(() => server.close());
  const bin = join(directory, 'bin');
  mkdirSync(bin);
  program(bin, 'lbctl', `#!/bin/sh\nexec ${process.execPath} ${LBCTL} --run-dir ${directory} "$@"\n`);
  const completion = join(directory, 'completion');
  writeFileSync(completion, bashCompletion(COMMANDS));
  /** What bash offers for the last of the words. */
  const complete = async (...words: string[]): Promise<string[]> => {
    const script = `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _lbctl; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { NODE_OPTIONS: _, ...env } = process.env;
    const { stdout } = await promisify(execFile)('bash', ['-c', script, 'bash', completion, ...words], {
      cwd: directory,
      env: { ...env, PATH: `${bin}:${process.env.PATH}` },
    });
    return stdout.split('\n').filter((line) => line !== '');
  };
  return { directory, complete };
}

t.test('commands, options and the backends of the node', async (t) => {
  const { complete, directory } = await nodeWith(t, ['s1', 's2', 'other']);
  t.strictSame(await complete('lbctl', 'sw'), ['switchover']);
  t.strictSame(await complete('lbctl', 'drain', 'web/s'), ['web/s1', 'web/s2']);
  t.strictSame(await complete('lbctl', '--run-dir', 'x', 'drain', 'web/o'), ['web/other']);
  t.strictSame(await complete('lbctl', 'sessions', 'c'), ['clear']);
  t.strictSame(await complete('lbctl', 'events', '--l'), ['--limit', '--local']);
  writeFileSync(join(directory, 'a.yaml'), '');
  t.strictSame(await complete('lbctl', 'check', 'a'), ['a.yaml']);
  t.strictSame(await complete('lbctl', '--run-dir', 'b'), ['bin']);
});

t.test('names that a hostile socket gives are never evaluated, and not offered', async (t) => {
  const touched = join(tempDir(t), 'touched');
  const hostile = [
    ...[`$(touch\${IFS}${touched})`, `\`touch\${IFS}${touched}\``, `a[$(touch\${IFS}${touched})]`],
    ...[
      `x;touch\${IFS}${touched}`,
      `<(touch\${IFS}${touched})`,
      '*',
      '~root',
      'a\x1b[2J',
      "q'uote",
      'x\nweb/y',
    ],
    ...['-rf', 'ö', 'x'.repeat(65)],
  ];
  const { complete } = await nodeWith(t, [...hostile, 'good']);
  for (const start of ['', 'web/', '$'])
    t.strictSame(
      (await complete('lbctl', 'drain', start)).filter((word) => !word.startsWith('--')),
      start === '$' ? [] : ['web/good'],
    );
  t.notOk(existsSync(touched), 'nothing was run');
  const { complete: other } = await nodeWith(t, ['s1'], `$(touch\${IFS}${touched})`);
  t.strictSame(
    (await other('lbctl', 'drain', '')).filter((word) => !word.startsWith('--')),
    [],
  );
  t.notOk(existsSync(touched));
});

t.test('bash takes the script, and so does shellcheck', async (t) => {
  const script = bashCompletion(COMMANDS);
  execFileSync('bash', ['-n'], { input: script });
  t.notMatch(script, /^[^#]*(?:compgen -W|\beval\b)/m);
  const checked = spawnSync('shellcheck', ['--shell=bash', '-'], { input: script, encoding: 'utf8' });
  if (checked.error === undefined) t.equal(checked.stdout, '');
});

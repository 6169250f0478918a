import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { loadSound } from '../../../common/config.ts';
import { checkAccessLogs } from '../../../scripts/lbctl/check-access-log.ts';
import { tempDir } from '../../common/temp-dir.ts';

/** Any user that every machine has, and that is not this one. */
const OTHER = 'nobody';
const NONE = 'tandem-no-such-user';

function configOf(directory: string, lines: readonly string[]) {
  const file = join(directory, 'tandem.yaml');
  writeFileSync(
    file,
    [...lines, 'pools: { p: { backends: { s1: { address: "192.0.2.1:80" } } } }'].join('\n'),
  );
  return loadSound(file).sound!;
}

t.test('folders that are not there, by their keys, each once', async (t) => {
  const directory = tempDir(t);
  const checked = configOf(directory, [
    `access_log: { path: ${directory}/none/all.log }`,
    'frontends:',
    '  a: { bind: ["*:1"], mode: tcp, pool: p }',
    '  b: { bind: ["*:2"], mode: tcp, pool: p }',
    `  c: { bind: ["*:3"], mode: tcp, pool: p, access_log: { path: ${directory}/gone/c.log } }`,
    `  d: { bind: ["*:4"], mode: tcp, pool: p, access_log: { path: ${directory}/d.log } }`,
    '  e: { bind: ["*:5"], mode: tcp, pool: p, access_log: { stdout: true } }',
    '  f: { bind: ["*:6"], mode: tcp, pool: p, access_log: false }',
  ]);
  const { warnings, denied } = await checkAccessLogs(checked, NONE);
  t.strictSame(denied, []);
  t.strictSame(
    warnings.map((line) => line.replaceAll(directory, 'DIR').replace(/:\d+: /, ': ')),
    [
      'DIR/tandem.yaml:1: warning: access_log.path: found DIR/none/all.log, but there is no folder DIR/none; lines will be lost',
      'DIR/tandem.yaml:5: warning: frontends.c.access_log.path: found DIR/gone/c.log, but there is no folder DIR/gone; lines will be lost',
    ],
  );
});

t.test(
  'files and folders that the user of lbd cannot write',
  { skip: process.geteuid?.() !== 0 && 'only root can ask for another user' },
  async (t) => {
    const directory = tempDir(t);
    chmodSync(directory, 0o755);
    const frontends = ['closed/x.log', 'own/old.log', 'own/new.log', 'mine/its.log'].map(
      (path, n) =>
        `  f${n}: { bind: ["*:${n + 1}"], mode: tcp, pool: p, access_log: { path: ${directory}/${path} } }`,
    );
    for (const name of ['closed', 'own', 'mine']) mkdirSync(join(directory, name), { mode: 0o755 });
    writeFileSync(join(directory, 'own/old.log'), '', { mode: 0o600 });
    writeFileSync(join(directory, 'mine/its.log'), '');
    chownSync(join(directory, 'own'), 65_534, 65_534);
    chownSync(join(directory, 'mine/its.log'), 65_534, 65_534);
    const checked = configOf(directory, ['frontends:', ...frontends]);
    const found = (await checkAccessLogs(checked, OTHER)).warnings.map((line) =>
      line.replace(/^.*?found /, ''),
    );
    t.strictSame(
      found,
      ['closed/x.log', 'own/old.log'].map(
        (path) => `${directory}/${path}, but user ${OTHER} cannot write it; lines will be lost`,
      ),
    );
  },
);

import { execFileSync } from 'node:child_process';
import { copyFileSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import t from 'tap';
import { loadConfig } from '../../common/config.ts';
import { readTlsFiles } from '../../lbd/tls/files.ts';
import { compareFiles, NOTHING_READ, wantedOf } from '../../lbd/tls/material.ts';
import { hasTool } from '../../scripts/lab/missing.ts';
import { tempDir } from './temp-dir.ts';

const DIRECTORY = join(import.meta.dirname, '../../examples');
const files = globSync('*.yaml', { cwd: DIRECTORY }).toSorted();

t.strictSame(files, [
  'groups.yaml',
  'grpc.yaml',
  'kernel.yaml',
  'pair.yaml',
  'routes.yaml',
  'single.yaml',
  'sticky.yaml',
  'tcp.yaml',
  'tls.yaml',
  'udp.yaml',
]);

for (const file of files)
  t.test(basename(file), async (t) => {
    const config = loadConfig(join(DIRECTORY, file), { anyNode: true });
    t.ok(config.frontends.length > 0);
    const used = config.frontends.flatMap((f) => [f.pool, ...f.routes.map((route) => route.pool)]);
    t.strictSame(
      config.pools.map((pool) => pool.name).filter((name) => !used.includes(name)),
      [],
      'an example has no pool that nothing uses',
    );
  });

const ROOT = join(import.meta.dirname, '../..');

/** Commands of the comment at the top of an example, one a line, to be run in a clone. */
function commandsOf(file: string): string[] {
  const [header = ''] = readFileSync(join(DIRECTORY, file), 'utf8').split(/^(?!#)/m);
  return [...header.matchAll(/^# {3}(.*)$/gm)].map(([, line = '']) => line);
}

t.test('the head of an example names no command that only an installed node has', async (t) => {
  const commands = files.flatMap(commandsOf);
  t.ok(commands.includes('./lbctl check examples/single.yaml'), 'commands are found');
  t.strictSame(
    commands.filter((line) => /^(lbctl|lbd|ha-agent) /.test(line)),
    [],
  );
});

const skip = !hasTool('openssl') && process.env.CI !== 'true' && 'no openssl here';

t.test('the certificates of tls.yaml are made as its head says', { skip }, async (t) => {
  const tree = tempDir(t);
  mkdirSync(join(tree, 'examples'));
  copyFileSync(join(DIRECTORY, 'tls.yaml'), join(tree, 'examples/tls.yaml'));
  const commands = commandsOf('tls.yaml').filter((line) => !line.startsWith('./lbctl'));
  execFileSync('sh', ['-ec', commands.join('\n')], { cwd: tree, stdio: 'pipe' });
  const wanted = wantedOf(loadConfig(join(tree, 'examples/tls.yaml')));
  t.strictSame(compareFiles(wanted, readTlsFiles(wanted), NOTHING_READ).missing, []);
});

const shown = globSync('{README,docs/**/*}.md', { cwd: ROOT })
  .toSorted()
  .flatMap((page) =>
    [...readFileSync(join(ROOT, page), 'utf8').matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(
      ([, text = '']) => ({ page, text }),
    ),
  )
  .filter(({ text }) => /^frontends:/m.test(text) && /^pools:/m.test(text));

t.ok(shown.length > 0, 'pages show whole configs');

for (const { page, text } of shown)
  t.test(`a config that ${page} shows is good`, async (t) => {
    const file = join(tempDir(t), 'shown.yaml');
    writeFileSync(file, text);
    t.ok(loadConfig(file, { anyNode: true }).frontends.length > 0);
  });

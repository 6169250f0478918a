import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import t from 'tap';
import { loadConfig } from '../../common/config.ts';
import { tempDir } from './temp-dir.ts';

const DIRECTORY = join(import.meta.dirname, '../../examples');
const files = globSync('*.yaml', { cwd: DIRECTORY }).toSorted();

t.strictSame(files, [
  'groups.yaml',
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

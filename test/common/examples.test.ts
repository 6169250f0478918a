import { globSync } from 'node:fs';
import { basename, join } from 'node:path';
import t from 'tap';
import { loadConfig } from '../../common/config.ts';

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

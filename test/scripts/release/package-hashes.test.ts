import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { digestOf, lockedPackages } from '../../../scripts/release/package-hashes.ts';

const ROOT = join(import.meta.dirname, '../../..');
const lines = readFileSync(join(ROOT, 'package-hashes'), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => line.split(' '));

t.test('package-hashes is of the packages of package-lock.json', async (t) => {
  const locked = lockedPackages(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'));
  t.strictSame(
    lines.map(([, integrity, path, optional]) => ({ integrity, path, optional: optional === 'optional' })),
    locked.map(({ integrity, path, optional }) => ({ integrity, path, optional })),
    'else: scripts/release/package-hashes.ts > package-hashes',
  );
});

t.test('a package as npm unpacks it has the hash', async (t) => {
  for (const name of ['node_modules/zod', 'node_modules/cli-table3', 'node_modules/pino'])
    t.equal(digestOf(join(ROOT, name)), lines.find(([, , path]) => path === name)?.[0], name);
});

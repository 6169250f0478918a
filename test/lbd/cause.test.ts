import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { CAUSES } from '../../lbd/cause.ts';

t.test('the README has a line for each cause, with its words, and no other', async (t) => {
  const readme = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8');
  const [, table = ''] = /\n\| `cause` \|.*\n\|.*\n((?:\|.*\n)+)/.exec(readme) ?? [];
  const rows = [...table.matchAll(/^\| `(\w+)` \|.*\| (.*) \|$/gm)].map(([, cause, words]) => [cause, words]);
  t.strictSame(rows, Object.entries(CAUSES));
});

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { CAUSES } from '../../../lbd/log/cause.ts';

t.test('the page about logs has a line for each cause, with its words, and no other', async (t) => {
  const page = readFileSync(join(import.meta.dirname, '../../../docs/how-to/logs.md'), 'utf8');
  const [, table = ''] = /\n\| `cause` \|.*\n\|.*\n((?:\|.*\n)+)/.exec(page) ?? [];
  const rows = [...table.matchAll(/^\| `(\w+)` \|.*\| (.*) \|$/gm)].map(([, cause, words]) => [cause, words]);
  t.strictSame(rows, Object.entries(CAUSES));
});

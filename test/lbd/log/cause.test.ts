import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { REFUSALS } from '../../../lbd/control/status.ts';
import { CAUSES } from '../../../lbd/log/cause.ts';

const page = readFileSync(join(import.meta.dirname, '../../../docs/how-to/logs.md'), 'utf8');

t.test('the page about logs has a line for each cause, with its words, and no other', async (t) => {
  const [, table = ''] = /\n\| `cause` \|.*\n\|.*\n((?:\|.*\n)+)/.exec(page) ?? [];
  const rows = [...table.matchAll(/^\| `(\w+)` \|.*\| (.*) \|$/gm)].map(([, cause, words]) => [cause, words]);
  t.strictSame(rows, Object.entries(CAUSES));
});

t.test('status and metrics count by the words of the access log, and the page says which', async (t) => {
  const [line = ''] = /^.*`tandem_frontend_refused_total\{cause\}`(?:.*\n)+?(?=\n)/m.exec(page) ?? [];
  for (const [cause] of REFUSALS) t.ok(cause in CAUSES && line.includes(`\`${cause}\``), cause);
});

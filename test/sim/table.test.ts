import { readFileSync } from 'node:fs';
import t from 'tap';
import { FAULTS } from './faults.ts';
import { tableOf } from './table.ts';

t.test('the README has the bounds that are judged', async (t) => {
  const readme = readFileSync(new URL('README.md', import.meta.url), 'utf8');
  const table = tableOf(FAULTS);
  t.ok(readme.includes(table), `test/sim/README.md lacks this table:\n${table}`);
});

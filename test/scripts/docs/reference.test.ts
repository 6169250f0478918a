import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { keySchema, keysOf } from '../../../common/json-schema.ts';
import { anchor } from '../../../scripts/docs/markdown.ts';
import { reference } from '../../../scripts/docs/reference.ts';
import { COMMANDS } from '../../../scripts/lbctl/commands.ts';

const TEXT = reference(keySchema(), COMMANDS);
const ROWS = TEXT.split('\n').filter((line) => line.startsWith('| `'));

t.test('the reference in the tree is up to date', async (t) => {
  const file = readFileSync(join(import.meta.dirname, '../../../docs/reference.md'), 'utf8');
  t.equal(file, TEXT, 'else: npm run docs');
});

/** Mappings that are shown once for several places. */
const SHOWN_AT = [
  ['ha.groups.X.vips[]', 'ha.vips[]'],
  ['ha.groups.X.routes[]', 'ha.routes[]'],
  ['frontends.X.access_log', 'access_log'],
] as const;

t.test('every key and every command has a line', async (t) => {
  const shown = new Set<string>();
  let section = '';
  for (const line of TEXT.split('\n')) {
    if (line.startsWith('#')) section = line.split('`')[1] ?? '';
    const name = line.startsWith('| `') ? line.split('`')[1]! : undefined;
    if (name !== undefined) shown.add(section === '' ? name : `${section}.${name}`);
  }
  const placeOf = (path: string) => {
    const [from, to] = SHOWN_AT.find(([mapping]) => path.startsWith(`${mapping}.`)) ?? ['', ''];
    return `${to}${path.slice(from.length)}`;
  };
  const missing = keysOf(keySchema()).filter(({ path }) => !shown.has(placeOf(path)));
  t.strictSame(
    missing.map(({ path }) => path),
    [],
  );
  for (const { name } of COMMANDS)
    t.ok(
      ROWS.some((line) => line.startsWith(`| \`${name}`)),
      name,
    );
});

t.test('a line has what to write, the default, what it does, an example and the restart', async (t) => {
  const row = (start: string) => ROWS.find((line) => line.startsWith(start));
  t.match(row('| `heartbeat.interval`'), '| a duration from 10ms to 1m | `100ms` | Time between two');
  t.match(row('| `workers`'), /\*\*Restart\*\* of lbd\. \|$/);
  t.match(row('| `stick`'), 'Example: `{ source: ip, expire: 30m }`.');
  t.match(
    row('| `port` | a whole number from 1 to 65535 | `7470` (multicast), `7471` (unicast)'),
    'UDP port',
  );
  t.match(row('| `nodes` | a mapping of names | required |'), 'two nodes');
});

t.test('there are links to sections, and no section is there twice', async (t) => {
  const headings = [...TEXT.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => anchor(heading));
  t.equal(new Set(headings).size, headings.length);
  t.ok([...TEXT.matchAll(/\]\(#/g)].length > 15);
  t.match(
    ROWS.find((line) =>
      line.startsWith('| `vips` | a list of { address, interface }, 1 to 64 of them | required'),
    ),
    '(#havips)',
  );
});

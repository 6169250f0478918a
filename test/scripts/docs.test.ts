import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { COMMANDS } from '../../scripts/lbctl/commands.ts';

const ROOT = join(import.meta.dirname, '../..');
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8');
const pages = globSync(['README.md', 'docs/**/*.md', 'vagrant/*.md'], { cwd: ROOT }).toSorted();

/** What a page shows as code: whole blocks and words between backticks. */
function code(page: string): string[] {
  return [...read(page).matchAll(/^```\w*\n([\s\S]*?)^```$|`([^`\n]+)`/gm)].map(
    ([, block, word]) => block ?? word ?? '',
  );
}

t.test('each command and option of lbctl that a page shows is one', async (t) => {
  const commands = new Map(
    COMMANDS.map(({ name, options = [], repeated = [] }) => [
      name,
      [...options, ...repeated].flatMap(([flags]) => flags.match(/--[\w-]+/g) ?? []),
    ]),
  );
  const everywhere = ['--json', '--run-dir', '--help', '--version'];
  const calls = pages.flatMap((page) =>
    code(page).flatMap((text) =>
      [...text.matchAll(/\blbctl ((?:--json )?)([a-z][\w-]*)([^\n#|;&']*)/g)].map(
        ([call, , name = '', rest = '']) => ({
          page,
          call,
          name,
          options: rest.match(/(?<!\S|\[)\[?--[a-z][\w-]*/g)?.map((option) => option.replace('[', '')) ?? [],
        }),
      ),
    ),
  );
  t.ok(calls.length > 30, 'calls were found');
  t.strictSame(
    calls
      .filter(({ name, options }) => {
        const known = commands.get(name);
        return known === undefined || options.some((option) => ![...known, ...everywhere].includes(option));
      })
      .map(({ page, call }) => `${page}: ${call}`),
    [],
  );
});

t.test('each metric that a page names is one', async (t) => {
  const source = ['metrics', 'backend-metrics'].map((name) => read(`lbd/control/${name}.ts`)).join('');
  const named = pages.flatMap((page) =>
    [...new Set(code(page).flatMap((text) => text.match(/\btandem_(?!lb\b)\w+/g) ?? []))].map((metric) => ({
      page,
      metric,
    })),
  );
  t.ok(named.length > 20, 'metrics were found');
  t.strictSame(
    named
      .filter(({ metric }) => !source.includes(metric.endsWith('_') ? metric : `'${metric}'`))
      .map(({ page, metric }) => `${page}: ${metric}`),
    [],
  );
});

import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import t from 'tap';
import { anchor } from '../../scripts/docs/markdown.ts';

const ROOT = join(import.meta.dirname, '../..');
const PAGES = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'docs/**/*.md', 'vagrant/*.md', 'test/**/*.md'];
const pages = globSync(PAGES, { cwd: ROOT }).toSorted();

/** Text of a page without what is shown as code, where brackets are no links and # is no heading. */
function prose(file: string): string {
  return readFileSync(join(ROOT, file), 'utf8').replace(/^( *)```[\s\S]*?^\1```$/gm, '');
}

/** Names of the headings, as GitHub makes them. */
function anchors(file: string): Set<string> {
  const seen = new Map<string, number>();
  return new Set(
    [...prose(file).matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = '']) => {
      const name = anchor(heading).slice(1);
      const times = seen.get(name) ?? 0;
      seen.set(name, times + 1);
      return times === 0 ? name : `${name}-${times}`;
    }),
  );
}

/** Where the links of a page lead that stay in the tree. */
function links(file: string): string[] {
  const text = prose(file).replace(/`[^`]*`/g, '');
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, to = '']) => to).filter((to) => !/^[a-z]+:/.test(to));
}

function fault(page: string, link: string): string | undefined {
  const [path = '', heading] = link.split('#');
  const target = path === '' ? page : relative(ROOT, join(ROOT, dirname(page), path));
  if (target.startsWith('..') || !existsSync(join(ROOT, target))) return `${link}: no such file`;
  if (heading === undefined) return undefined;
  if (!target.endsWith('.md') || statSync(join(ROOT, target)).isDirectory()) return `${link}: no page`;
  return anchors(target).has(heading) ? undefined : `${link}: no such heading`;
}

t.ok(pages.includes('README.md') && pages.some((page) => page.startsWith('docs/')), 'pages were found');

for (const page of pages)
  t.test(`each link of ${page} leads somewhere`, async (t) => {
    t.strictSame(
      links(page)
        .map((link) => fault(page, link))
        .filter((line) => line !== undefined),
      [],
    );
  });

t.test('each page of docs can be reached from the README', async (t) => {
  const reached = new Set(['README.md']);
  for (const page of reached)
    for (const link of links(page)) {
      const [path = ''] = link.split('#');
      const target = relative(ROOT, join(ROOT, dirname(page), path));
      if (path !== '' && pages.includes(target)) reached.add(target);
    }
  t.strictSame(
    pages.filter((page) => page.startsWith('docs/') && !reached.has(page)),
    [],
  );
});

t.test('each page that a comment or a message names is there', async (t) => {
  const places = [
    '{common,ha-agent,lbd,scripts,test,examples,vagrant}/**/*.{ts,sh,yaml}',
    'scripts/{demo,install,test,upgrade-pair}',
  ];
  t.strictSame(
    globSync(places, { cwd: ROOT }).flatMap((file) =>
      (readFileSync(join(ROOT, file), 'utf8').match(/\bdocs\/[\w/-]+\.md/g) ?? [])
        .filter((page) => !existsSync(join(ROOT, page)))
        .map((page) => `${file}: ${page}`),
    ),
    [],
  );
});

t.test('each path that a page or an example names in code is there', async (t) => {
  const named = /(?<![\w./-])(?:common|docs|examples|ha-agent|lbd|scripts|test|vagrant)\/[\w*./-]*\w/g;
  const texts = [...pages, ...globSync('examples/*.yaml', { cwd: ROOT })];
  t.strictSame(
    texts.flatMap((file) => {
      const text = readFileSync(join(ROOT, file), 'utf8');
      const paths = file.endsWith('.md')
        ? [...text.matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code)
        : [text];
      return paths
        .flatMap((code) => code.match(named) ?? [])
        .filter((path) => globSync(path, { cwd: ROOT }).length === 0)
        .map((path) => `${file}: ${path}`);
    }),
    [],
  );
});

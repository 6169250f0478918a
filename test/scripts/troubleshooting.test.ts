import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import * as refusals from '../../lbd/log/refusal.ts';

const ROOT = join(import.meta.dirname, '../..');
const SOURCES = ['common/**/*', 'ha-agent/**/*', 'lbd/**/*', 'scripts/lbctl/**/*', 'scripts/*'];

/** All that programs can say, with escapes taken out. */
const said = SOURCES.flatMap((pattern) => globSync(pattern, { cwd: ROOT, withFileTypes: true }))
  .filter((entry) => entry.isFile())
  .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'))
  .join('\n')
  .replace(/\\(['"`])/g, '$1');

const page = readFileSync(join(ROOT, 'docs/troubleshooting.md'), 'utf8');

t.test('the page has all that clients read, with its cause', async (t) => {
  const [, section = ''] = /^## What clients read\n(.*?)^## /ms.exec(page) ?? [];
  const rows = section.split('\n');
  const fixed = Object.values(refusals).filter((it) => typeof it === 'object');
  const made = [refusals.unreachable('ETIMEDOUT'), refusals.unreachable('x'), refusals.backendClosed('')];
  for (const { text, cause } of [...fixed, ...made, refusals.backendClosed('x')]) {
    const message = text.replace(/: .*/, ': …');
    const row = rows.find((it) => it.includes(`\`${message}\``) && it.includes(`\`${cause}\``));
    t.ok(row, `${message}: ${cause}`);
  }
});

t.test('each message of the page is one that a program has', async (t) => {
  const rows = [...page.matchAll(/^\| (`[^|]*) \|/gm)].map(([, cell = '']) => cell);
  const messages = rows.flatMap((cell) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, message = '']) => message),
  );
  t.ok(messages.length > 100, 'messages were found');
  t.strictSame(
    messages.flatMap((message) =>
      message
        .split('…')
        .filter((part) => part.trim().length > 3 && !said.includes(part.trim()))
        .map((part) => `${message}: "${part.trim()}"`),
    ),
    [],
  );
});

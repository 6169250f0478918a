import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { printable, printableAll, printableJson, shortPrintable } from '../../common/printable.ts';
import { nodeCommand } from './node.ts';

/** C0, DEL, C1, direction of text, zero width, separators, tags, half a pair. */
const BAD = [
  '\0',
  '\t',
  '\n',
  '\x1b',
  '\x7f',
  '\x85',
  '\x9b',
  '\u061c',
  '\u200e',
  '\u202e',
  '\u2066',
  '\u200b',
];
BAD.push('\ufeff', '\u2028', '\u2029', '\u00ad', '\u{e0041}', '\ud800');

t.test('what a terminal would act upon becomes a question mark', async (t) => {
  for (const bad of BAD) t.equal(printable(`a${bad}b`), 'a?b', bad.codePointAt(0)!.toString(16));
  t.equal(printable('naïve 日本 🙂 a·b ~'), 'naïve 日本 🙂 a·b ~', 'all else stays');
});

t.test('in all of an answer', async (t) => {
  const shown = printableAll({ 'k\x1b': ['a\n', { deep: '\u202e' }], n: 1, none: null, yes: true });
  t.same(shown, { 'k?': ['a?', { deep: '?' }], n: 1, none: null, yes: true });
  t.ok(
    Object.hasOwn(printableAll(JSON.parse('{"__proto__":{"a":1}}')), '__proto__'),
    'a name like any other',
  );
});

t.test('JSON keeps its value', async (t) => {
  const value = { text: BAD.join('') };
  const json = printableJson(JSON.stringify(value, null, 2));
  t.strictSame(JSON.parse(json), value);
  t.match(json, /^[\x20-\x7e\n]+$/);
});

t.test('a log line too', async (t) => {
  const logger = join(import.meta.dirname, '../../common/logger.ts');
  const source = `
    import { createLogger } from ${JSON.stringify(logger)};
    createLogger('lbd', 'lb1').warn({ from: ${JSON.stringify(BAD.join(''))} }, 'said \\x1b[2J\\u202e\\x9b');
  `;
  const child = spawn(...nodeCommand('--input-type=module', '-e', source), {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const line = await text(child.stdout);
  t.match(line, /^[\x20-\x7e]+\n$/);
  t.match(JSON.parse(line), { msg: 'said \x1b[2J\u202e\x9b', node: 'lb1' });
});

t.test('a text that is too long is cut, and no half of a character is left', async (t) => {
  t.equal(shortPrintable('four\n', 5), 'four?');
  t.equal(shortPrintable('four and more', 5), 'four…');
  t.equal(shortPrintable('a\u{1f600}bc', 3), 'a?…');
});

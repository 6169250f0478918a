import t from 'tap';
import { ConfigError } from '../../common/errors.ts';
import { parseSource } from '../../common/source.ts';

function refusals(text: string): string[] {
  try {
    parseSource(text, 'f');
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map((p) => `${p.where} ${p.message}`);
  }
}

t.test('values and their places', async (t) => {
  const source = parseSource('a:\n  b: [1, two]\n  c:\nd: &x { e: true }\nf: *x\n', 'f');
  t.strictSame(source.value, { a: { b: [1, 'two'], c: null }, d: { e: true }, f: { e: true } });
  t.equal(source.where(['a', 'b'], 'key'), 'f:2:3');
  t.equal(source.where(['a', 'b'], 'value'), 'f:2:6');
  t.equal(source.where(['a', 'b', 1]), 'f:2:10');
  t.equal(source.where(['f', 'e']), 'f:4:12', 'through an alias to where the value is written');
  t.equal(source.where(['a', 'missing', 'too']), 'f:1:1', 'the key that should hold it');
  t.ok(source.has(['a', 'c']) && !source.has(['a', 'x']));
});

t.test('what no YAML library stops', async (t) => {
  for (const [name, text, expected] of [
    ['syntax', 'a: [1\nb: 2', /^f:2:1 not valid YAML: /],
    ['tab', 'a:\n\tb: 1', /^f:2:1 not valid YAML: .*[Tt]ab/],
    ['two documents', 'a: 1\n---\nb: 2', /not valid YAML: .*multiple documents/],
    ['unknown tag', 'a: !shell rm', /^f:1:4 not valid YAML: .*tag/],
    ['duplicate key', 'a: 1\nb: 2\na: 3', /^f:3:1 duplicate key "a"/],
    ['duplicate key of another type', '{ 1: x, "1": y }', /duplicate key "1"/],
    ['__proto__', '__proto__: { x: 1 }', /"__proto__" cannot be a key/],
    ['a mapping as a key', '? { a: 1 }\n: 2', /a key must be a plain text/],
    ['an asterisk without quotes', 'bind: *:80', /^f:1:7 no anchor.*needs quotes: "\*:80"/],
    ['an alias inside itself', 'a: &a [*a]', /nested more than 32 levels/],
    ['deep nesting', `a: ${'['.repeat(40)}${']'.repeat(40)}`, /nested more than 32 levels/],
    ['very deep nesting', `a: ${'['.repeat(100_000)}`, /not (readable as|valid) YAML/],
  ] as const)
    t.match(refusals(text)[0], expected, name);
});

t.test('an alias bomb costs no more than its bound', async (t) => {
  const levels = Array.from({ length: 9 }, (_, i) => {
    const item = i === 0 ? 'x' : `*l${i - 1}`;
    return `l${i}: &l${i} [${Array.from({ length: 9 }, () => item).join(', ')}]`;
  });
  t.strictSame(refusals(levels.join('\n')).length, 1);
  t.match(refusals(levels.join('\n'))[0], /more than 100000 values/);
});

t.test('a flood of mistakes is cut', async (t) => {
  t.equal(refusals('a: 1\n'.repeat(1000)).length, 20);
});

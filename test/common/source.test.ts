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
    [
      'two documents',
      'a: 1\n---\nb: 2',
      /^f:2:1 a second document begins here, expected one: take out the "---"$/,
    ],
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

function parsedValue(text: string): unknown {
  return parseSource(text, 'f').value;
}

t.test('keys of the top level that begin with x- are for anchors, and nobody reads them', async (t) => {
  const source = parseSource('x-pool: &p { a: 1 }\nb: *p\nc: { x-y: 2 }\n', 'f');
  t.strictSame(source.value, { b: { a: 1 }, c: { 'x-y': 2 } }, 'further down they are keys like others');
  t.equal(source.has(['x-pool']), false);
  t.match(
    refusals('x-a: { b: 1, b: 2 }')[0],
    /^f:1:14 duplicate key "b"/,
    'what is in them is YAML all the same',
  );
});

t.test('<< takes in the keys of another mapping; what is written beside it counts', async (t) => {
  const base = 'x-base: &base { a: 1, b: { c: 2 } }\n';
  t.strictSame(parsedValue(`${base}d: { <<: *base, a: 3 }\n`), { d: { a: 3, b: { c: 2 } } });
  t.strictSame(parsedValue(`${base}d: { a: 3, <<: *base }\n`), { d: { a: 3, b: { c: 2 } } }, 'in any order');
  t.strictSame(
    parsedValue(`${base}d: { <<: [{ a: 4 }, *base] }\n`),
    { d: { a: 4, b: { c: 2 } } },
    'the first of a list',
  );
  t.strictSame(parsedValue(`${base}d: &d { <<: *base, e: 5 }\nf: { <<: *d }\n`), {
    d: { a: 1, b: { c: 2 }, e: 5 },
    f: { a: 1, b: { c: 2 }, e: 5 },
  });
  const source = parseSource(`${base}d:\n  <<: *base\n  b: { e: 1 }\n`, 'f');
  t.equal(source.where(['d', 'a']), 'f:1:20', 'a problem is told where it is written');
  t.equal(source.where(['d', 'b']), 'f:4:6');
  t.ok(source.has(['d', 'a']) && source.has(['d', 'b', 'e']));
  t.notOk(source.has(['d', 'b', 'c']), 'nothing is left of what is overridden');
  // Work that grew with the square of the keys took this one minutes.
  const levels = Array.from({ length: 14 }, (_, level) => {
    const keys = Array.from({ length: 600 }, (_, i) => `  k${level}_${i}: 1\n`).join('');
    return `x-${level}: &a${level}\n${level === 0 ? '' : `  <<: *a${level - 1}\n`}${keys}`;
  });
  const many = parsedValue(`${levels.join('')}b: { <<: *a13 }\n`) as { b: object };
  t.equal(Object.keys(many.b).length, 8400);
  for (const wrong of ['a: { <<: 1 }', 'a: { <<: [1] }', 'a: { <<: [[{ b: 1 }]] }'])
    t.match(refusals(wrong)[0], /^f:1:\d+ "<<" takes a mapping, an alias of one, or a list of them$/, wrong);
  t.match(refusals('a: { <<: { b: 1 }, <<: { c: 1 } }')[0], /duplicate key "<<"/);
  t.match(refusals('a: &a { <<: *a }')[0], /nested more than 32 levels/);
});

import fc from 'fast-check';
import t from 'tap';
import { RegexTooLong } from '../../../common/regex/program.ts';
import { LinearRegex } from '../../../lbd/route/linear-regex.ts';

t.test('no text makes an expression take time out of measure', (t) => {
  const hostile: readonly [source: string, text: string][] = [
    ['^/([a-z]+|[a-z-]+)*$', `/${'a'.repeat(60_000)}!`],
    ['^/(a+)+$', `/${'a'.repeat(60_000)}!`],
    ['^/a*a*a*a*a*a*a*a*b$', `/${'a'.repeat(60_000)}`],
    ['/users/.*/posts/.*/edit$', '/users//posts/'.repeat(4_000)],
    ['/static/.*\\.(js|css)$', '/static/'.repeat(7_500)],
  ];
  for (const [source, text] of hostile) t.notOk(new LinearRegex(source).test(text), source);
  t.end();
});

t.test('what an expression remembers has an end, and what it forgets it learns again', (t) => {
  // 2^200 states, and each text leads to others.
  const source = '(a|b)*a(a|b){100}c$';
  const regex = new LinearRegex(source);
  let seed = 1;
  const next = () => (seed = (seed * 48271) % 0x7fffffff);
  for (let i = 0; i < 5; i++) {
    const text = Array.from({ length: 3_000 }, () => 'ab'[next() % 2]).join('');
    t.equal(regex.test(text), false);
    t.equal(regex.test(`${text}a${'b'.repeat(100)}c`), true);
    t.equal(regex.test(`${text}b${'b'.repeat(100)}c`), false);
    t.equal(regex.test('c'), false);
  }
  t.end();
});

const LETTERS = [
  'a',
  'b',
  'B',
  '_',
  '-',
  '/',
  '.',
  '1',
  ' ',
  '\n',
  '\u2028',
  'é',
  'É',
  'µ',
  'Μ',
  'ſ',
  's',
  'K',
];
const unit = fc.constantFrom(...LETTERS);
const escaped = fc.constantFrom(
  '\\d',
  '\\D',
  '\\w',
  '\\W',
  '\\s',
  '\\S',
  '\\.',
  '\\/',
  '\\-',
  '\\x62',
  '\\u00e9',
  '\\n',
);
const plain = unit.map((it) => (/[./-]/.test(it) ? `\\${it}` : it));
const inClass = fc.oneof(
  plain,
  escaped,
  fc.constantFrom('a-c', '\\x20-\\x7e', 'A-Z', 'à-ö', '\\d-x', '^', '-', '\\b'),
);
const oneOf = fc
  .tuple(fc.boolean(), fc.array(inClass, { maxLength: 4 }))
  .map(([not, parts]) => `[${not ? '^' : ''}${parts.join('')}]`);
const assertion = fc.constantFrom('^', '$', '\\b', '\\B');
const counts = fc.constantFrom('', '', '*', '+', '?', '{2}', '{1,3}', '{0}', '{2,}', '*?', '{0,2}?');
const term = fc.oneof(
  fc.tuple(fc.oneof(plain, escaped, oneOf, fc.constant('.')), counts).map((it) => it.join('')),
  assertion,
);
const choiceOf = (part: fc.Arbitrary<string>) =>
  fc
    .array(fc.array(part, { maxLength: 3 }), { minLength: 1, maxLength: 3 })
    .map((choices) => choices.map((parts) => parts.join('')).join('|'));
const groupOf = (inner: fc.Arbitrary<string>, times: fc.Arbitrary<string>) =>
  fc.tuple(fc.constantFrom('(', '(?:'), inner, times).map((it) => `${it[0]}${it[1]})${it[2]}`);
// Of three repetitions within each other JavaScript's own engine would not come back.
const group = groupOf(choiceOf(term), fc.constantFrom('', '?', '{0,2}?', '{0}'));
const expression = choiceOf(fc.oneof(term, group, groupOf(choiceOf(fc.oneof(term, group)), counts)));

t.test('it matches what JavaScript matches', (t) => {
  agrees(
    (source) => source,
    (source) => new RegExp(source),
  );
  t.end();
});

// V8 forgets of some choices within `(?i:…)` that they take either case: `(?i:\d|[é])` finds no É, `\d|[é]` with the flag does.
t.test('letters of either case are those of JavaScript with its flag for the whole expression', (t) => {
  agrees(
    (source) => `(?i:${source})`,
    (source) => new RegExp(source, 'i'),
  );
  t.equal(new LinearRegex('a(?i:b(c))d').test('aBCd'), true);
  t.equal(new LinearRegex('a(?i:b(c))d').test('aBCD'), false, 'behind it case counts again');
  t.end();
});

/**
 * Over random expressions and texts, the same each time: V8 itself is wrong about some in 30,000, such as `(?:[^]*?.^)*`,
 * which matches every text, since nothing is a match of it.
 */
function agrees(written: (source: string) => string, theirsOf: (source: string) => RegExp): void {
  const text = fc.array(unit, { maxLength: 6 }).map((units) => units.join(''));
  fc.assert(
    fc.property(expression, fc.array(text, { minLength: 3, maxLength: 10 }), (source, texts) => {
      const ours = compiled(written(source));
      fc.pre(ours !== undefined);
      const theirs = theirsOf(source);
      for (const it of texts)
        if (ours.test(it) !== theirs.test(it)) throw new Error(`${JSON.stringify(it)}: ${theirs.test(it)}`);
    }),
    { numRuns: 3_000, seed: 1 },
  );
}

/** Undefined: it is none, or too long with its counts written out. */
function compiled(source: string): LinearRegex | undefined {
  try {
    new RegExp(source);
    return new LinearRegex(source);
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RegexTooLong) return undefined;
    throw error;
  }
}

for (const [source, matching, other] of [
  ['a{,2}', 'a{,2}', 'aa'],
  ['a{', 'a{', 'a'],
  ['x]}', 'x]}', 'x'],
  ['[]', undefined, 'a'],
  ['[^]', '\n', ''],
  ['\\cJ', '\n', 'J'],
  ['\\0', '\0', '0'],
  ['(?<name>a)b', 'ab', 'b'],
  ['', '', undefined],
  ['a||b', 'c', undefined],
  ['\u{1f600}$', '\u{1f600}', '\u{1f601}'],
] as const)
  t.test(`unusual, and yet an expression: ${JSON.stringify(source)}`, (t) => {
    const regex = new LinearRegex(source);
    const theirs = new RegExp(source);
    for (const [text, expected] of [
      [matching, true],
      [other, false],
    ] as const) {
      if (text === undefined) continue;
      t.equal(theirs.test(text), expected);
      t.equal(regex.test(text), expected);
    }
    t.end();
  });

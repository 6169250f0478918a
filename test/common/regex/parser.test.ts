import t from 'tap';
import { RegexProgram } from '../../../common/regex/program.ts';

const REFUSED: readonly [source: string, expected: string][] = [
  ['^/(?=api)', 'without lookahead and lookbehind, not "(?=" as at character 3'],
  ['(?!x)', 'without lookahead and lookbehind, not "(?!" as at character 1'],
  ['a(?<=b)', 'without lookahead and lookbehind, not "(?<=" as at character 2'],
  ['a(?<!b)', 'without lookahead and lookbehind, not "(?<!" as at character 2'],
  ['(a)\\1', 'without backreferences, not "\\1" as at character 4'],
  ['(?<n>a)\\k<n>', 'without backreferences, not "\\k<n>" as at character 8'],
  ['(?s:.)', 'without flags but "(?i:", not "(?s:" as at character 1'],
  ['(?-i:a)', 'without flags but "(?i:", not "(?-i" as at character 1'],
  ['\\A/x', 'with escapes that mean something, not "\\A" as at character 1'],
  ['x\\z', 'with escapes that mean something, not "\\z" as at character 2'],
  ['[\\a]', 'with escapes that mean something, not "\\a" as at character 2'],
  ['\\012', 'with escapes that mean something, not "\\0" as at character 1'],
  ['\\x4', 'with escapes that mean something, not "\\x" as at character 1'],
];

for (const [source, expected] of REFUSED)
  t.test(`what no automaton can match, or nobody means, is refused with its place: ${source}`, (t) => {
    t.ok(new RegExp(source), 'JavaScript takes it');
    t.throws(() => new RegexProgram(source), { message: `a regular expression ${expected}` });
    t.end();
  });

t.test('an expression is as long as its counts make it', (t) => {
  t.ok(new RegexProgram('^[^/]{1,255}$'), 'a name of DNS or of a file');
  for (const source of ['(a{1,30}){1,30}', 'a{513}', '((a{0,99}){0,99}){0,99}', '(a|b){999999999999}'])
    t.throws(() => new RegexProgram(source), { message: /at most 512 steps/ }, source);
  for (const nothing of ['(?:){999999999}', '((?:){9999}){9999}', '(a{0}){99999999}', '(){2,}'])
    t.ok(new RegexProgram(nothing), `${nothing}: nothing, however often, is nothing`);
  t.end();
});

import t from 'tap';
import {
  changeScript,
  fullScript,
  type NftChain,
  type NftSet,
  type Ruleset,
} from '../../../lbd/kernel/ruleset.ts';

const chain = (...rules: string[]): NftChain => ({ hook: '', rules });
const map = (elements: Record<string, string>): NftSet => ({
  kind: 'map',
  definition: 'type mark : verdict;',
  elements: new Map(Object.entries(elements)),
});
const filled: NftSet = { kind: 'set', definition: 'type mark; flags dynamic;', elements: undefined };
const ruleset = (sets: Record<string, NftSet>, chains: Record<string, NftChain>): Ruleset => ({
  sets: new Map(Object.entries(sets)),
  chains: new Map(Object.entries(chains)),
});
const lines = (script: string) =>
  script
    .replaceAll(' inet tandem_lb', '')
    .split('\n')
    .filter((line) => line !== '');

const A = ruleset(
  { m: map({ 0: 'goto a', 1: 'goto b' }), s: filled },
  { a: chain(), b: chain(), top: chain('x', 'y') },
);

t.test('the whole table replaces what is there, but not what packets have filled', async (t) => {
  t.strictSame(
    lines(
      fullScript(A, {
        sets: [
          ['map', 'm'],
          ['set', 's'],
          ['set', 'old'],
        ],
        chains: ['a', 'gone'],
      }),
    ),
    [
      'add table',
      'flush table',
      'flush map m',
      'flush set old',
      'add map m { type mark : verdict; }',
      'add set s { type mark; flags dynamic; }',
      'add chain a',
      'add chain b',
      'add chain top',
      'add rule top x',
      'add rule top y',
      'add element m { 0 : goto a, 1 : goto b }',
      'delete set old',
      'delete chain gone',
    ],
  );
});

t.test('a change touches only what differs', async (t) => {
  t.equal(changeScript(A, A), '');
  const health = ruleset({ m: map({ 0: 'goto a', 1: 'goto a' }), s: filled }, Object.fromEntries(A.chains));
  t.strictSame(lines(changeScript(A, health)), ['delete element m { 1 }', 'add element m { 1 : goto a }']);
  const less = ruleset({ m: map({ 0: 'goto a' }) }, { a: chain(), top: chain('x') });
  t.strictSame(lines(changeScript(A, less)), [
    'flush chain top',
    'flush chain b',
    'flush set s',
    'delete element m { 1 }',
    'add rule top x',
    'delete set s',
    'delete chain b',
  ]);
  t.strictSame(lines(changeScript(less, A)), [
    'add set s { type mark; flags dynamic; }',
    'add chain b',
    'flush chain top',
    'add element m { 1 : goto b }',
    'add rule top x',
    'add rule top y',
  ]);
});

t.test('long lists are cut into commands', async (t) => {
  const many = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [i, 'goto a']));
  const script = changeScript(ruleset({ m: map({}) }, {}), ruleset({ m: map(many) }, {}));
  t.equal(lines(script).length, 2);
});

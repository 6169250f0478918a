import t from 'tap';
import { PAIR, problemsIn } from './config-helper.ts';

for (const [name, text, expected] of [
  [
    'frontend',
    PAIR.replace('pool: web', 'pool: wed'),
    '3:43 frontends.web.pool: there is no pool "wed"; did you mean "web"?',
  ],
  [
    'route',
    PAIR.replace('pool: web', 'routes: [{ match: { path: / }, pool: shop }]'),
    '3:74 frontends.web.routes.0.pool: there is no pool "shop", there is web',
  ],
  [
    'priority',
    PAIR.replace('ha: {', 'ha: { priority: { lb1: 150, lb3: 100 },'),
    '2:29 ha.priority.lb3: there is no node "lb3"; did you mean "lb1"?',
  ],
] as const)
  t.strictSame(problemsIn(text), [expected], name);

t.test('a name that the object prototype has points nowhere either', async (t) => {
  t.match(problemsIn(PAIR.replace('pool: web', 'pool: constructor')), [/there is no pool "constructor"/]);
});

t.test('a mistake elsewhere hides no dangling name, and a broken pool is still a pool', async (t) => {
  const text = PAIR.replace('ha: {', 'ha: { nonsense: 1,')
    .replace('pool: web', 'pool: wed')
    .replace('s1: {', 's1: { weight: x,');
  const found = problemsIn(text);
  t.equal(found.length, 3);
  t.match(found, [/unknown key "nonsense"/, /there is no pool "wed"/, /weight: found "x"/]);
  t.strictSame(problemsIn(PAIR.replace('s1: {', 's1: { weight: x,')).length, 1);
});

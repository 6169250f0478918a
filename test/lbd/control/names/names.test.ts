import { EventEmitter, once } from 'node:events';
import t, { type Test } from 'tap';
import { DEFAULT_RESOLVER } from '../../../../common/model.ts';
import type { Answer } from '../../../../lbd/control/names/name-life.ts';
import { Names } from '../../../../lbd/control/names/names.ts';
import { settled } from '../../../common/settled.ts';

const FAST = { ...DEFAULT_RESOLVER, minTtlMs: 1, maxTtlMs: 1 };
const found = (...addresses: string[]): Answer => ({ kind: 'found', addresses, ttlMs: 0 });
const none: Answer = { kind: 'none', why: 'no name server answers' };

/** Names whose questions are answered by the test. */
function setUp(t: Test) {
  const asked: { name: string; answer: (answer: Answer) => void }[] = [];
  const changed: string[] = [];
  const told: string[] = [];
  const news = new EventEmitter();
  const names = new Names({
    onChange: (all) => changed.push(...all),
    tell: (level, text) => {
      told.push(`${level} ${text}`);
      news.emit('told');
    },
    questions: () => ({
      ask: (name) => new Promise((answer) => asked.push({ name, answer })),
      close: () => {},
    }),
  });
  t.teardown(() => names.close());
  const next = async () => {
    await settled(() => asked.length > 0);
    return asked.shift()!;
  };
  const heard = async (count: number) => {
    while (told.length < count) await once(news, 'told');
    return told;
  };
  return { names, asked, changed, next, heard };
}

t.test('names are followed, addresses are not', async (t) => {
  const { names, next, asked, changed } = setUp(t);
  names.apply(['App.test', 'app.test', '10.0.0.1', 'fd00::1'], FAST);
  t.equal(names.of('10.0.0.1'), undefined);
  t.match(names.of('app.TEST'), { addresses: [], pending: true });
  const question = await next();
  t.equal(question.name, 'app.test');
  t.equal(asked.length, 0, 'once, although two backends have it');
  question.answer(found('10.0.0.9'));
  await settled(() => changed.length > 0);
  t.strictSame(changed, ['app.test']);
  t.match(names.of('app.test'), { addresses: ['10.0.0.9'], pending: false, trouble: '' });
  (await next()).answer(found('10.0.0.9'));
  await next();
  t.strictSame(changed, ['app.test'], 'the same addresses are no change');
});

t.test('a name that has never been resolved says why, and is told of once', async (t) => {
  const { names, next, changed, heard } = setUp(t);
  names.apply(['app.test'], FAST);
  for (let i = 0; i < 3; i++) (await next()).answer(none);
  await next();
  t.strictSame(changed, ['app.test']);
  t.match(names.of('app.test'), { addresses: [], pending: false, trouble: 'no name server answers' });
  const text = 'host name app.test: no name server answers; never resolved so far';
  t.strictSame(names.warnings(), [text]);
  t.strictSame(await heard(1), [`warn ${text}`]);
});

t.test('a name server that dies is told of in one line for all names, and so is its return', async (t) => {
  const { names, asked, heard } = setUp(t);
  const all = Array.from({ length: 9 }, (_, i) => `a${i}.test`);
  names.apply(all, FAST);
  const round = async (answer: Answer) => {
    await settled(() => asked.length === all.length);
    for (const question of asked.splice(0)) question.answer(answer);
  };
  await round(found('10.0.0.1'));
  await round(none);
  await heard(1);
  const all9 = 'host names a0.test, a1.test, a2.test, a3.test, a4.test, a5.test and 3 more';
  const why = 'no name server answers; the last good addresses are kept';
  t.match(names.warnings(), [/^host names .* and 3 more: .*; the last good addresses are kept, \d+m?s old$/]);
  await round(found('10.0.0.1'));
  t.strictSame(await heard(2), [`warn ${all9}: ${why}`, `info ${all9}: found again`]);
});

t.test(
  'with another resolver all names are asked for anew, and late answers of the old one count for nothing',
  async (t) => {
    const { names, next, changed } = setUp(t);
    names.apply(['app.test'], FAST);
    const old = await next();
    names.apply(['app.test'], { ...FAST, attempts: 1 });
    const now = await next();
    old.answer(found('10.0.0.1'));
    now.answer(found('10.0.0.2'));
    await settled(() => changed.length > 0);
    t.strictSame(names.of('app.test')?.addresses, ['10.0.0.2']);
  },
);

t.test('a name that leaves the config and comes back begins anew', async (t) => {
  const { names, next, asked } = setUp(t);
  names.apply(['app.test'], FAST);
  const old = await next();
  names.apply([], FAST);
  names.apply(['app.test'], FAST);
  old.answer(found('10.0.0.1'));
  await next();
  t.match(names.of('app.test'), { addresses: [], pending: true });
  t.equal(asked.length, 0);
});

t.test('a name with more addresses than are used says so in the status, and once in the log', async (t) => {
  const { names, next, heard } = setUp(t);
  const many = Array.from({ length: 70 }, (_, i) => `10.0.1.${i}`);
  names.apply(['app.test'], FAST);
  for (const addresses of [many, many.slice(1), many.slice(10), many])
    (await next()).answer(found(...addresses));
  await next();
  const text = 'host name app.test: it has more than 64 addresses; 64 of them are used';
  t.strictSame(names.warnings(), [text]);
  const warned = (await heard(2)).filter((line) => line.startsWith('warn'));
  t.strictSame(warned, [`warn ${text}`]);
});

t.test('two thousand names are asked for a few at a time', async (t) => {
  const { names, asked } = setUp(t);
  names.apply(
    Array.from({ length: 2048 }, (_, i) => `a${i}.test`),
    FAST,
  );
  t.equal(asked.length, 32, 'in the turn in which the config is applied');
  await settled(() => asked.length === 2048);
});

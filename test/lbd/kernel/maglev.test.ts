import t from 'tap';
import { maglevSize, maglevTable } from '../../../lbd/kernel/maglev.ts';

const SIZE = 1021;
const named = (...names: string[]) => names.map((name) => ({ name, weight: 1 }));
const owners = (backends: readonly { name: string; weight: number }[]) =>
  maglevTable(backends, SIZE).map((index) => backends[index]!.name);
const count = (names: readonly string[], name: string) => names.filter((it) => it === name).length;

t.test('places are dealt out evenly, and by weight', async (t) => {
  const even = owners(named('a', 'b', 'c', 'd'));
  t.equal(even.length, SIZE);
  for (const name of ['a', 'b', 'c', 'd']) t.ok(Math.abs(count(even, name) - SIZE / 4) <= 1, name);
  const weighted = owners([
    { name: 'a', weight: 3 },
    { name: 'b', weight: 1 },
    { name: 'c', weight: 0 },
  ]);
  t.ok(Math.abs(count(weighted, 'a') - (SIZE * 3) / 4) <= 3);
  t.equal(count(weighted, 'c'), 0);
  t.strictSame(maglevTable([{ name: 'a', weight: 0 }], SIZE), []);
});

t.test('both nodes make the same table, in whatever order they know the backends', async (t) => {
  t.strictSame(owners(named('a', 'b', 'c')), owners(named('c', 'a', 'b')));
});

t.test('a backend that goes moves few places of the others', async (t) => {
  const names = ['a', 'b', 'c', 'd', 'e'];
  const before = owners(named(...names));
  const after = owners(named(...names.slice(1)));
  const moved = before.filter((name, i) => name !== 'a' && name !== after[i]).length;
  t.ok(moved < SIZE / 10, `${moved} of ${SIZE}`);
});

t.test('the size does not follow the health', async (t) => {
  t.equal(maglevSize(1), 251);
  t.equal(maglevSize(3), 509);
  t.equal(maglevSize(2048), 65521);
});

import t from 'tap';
import { ReloadQueue } from '../../common/reload-queue.ts';

t.test('who asks during a reload shares the next one with all who wait', async (t) => {
  const ends: ((n: number) => void)[] = [];
  let runs = 0;
  const queue = new ReloadQueue(() => {
    runs++;
    return new Promise<number>((resolve) => ends.push(resolve));
  });
  const first = queue.ask();
  const [second, third] = [queue.ask(), queue.ask()];
  t.equal(runs, 1);
  ends.shift()!(1);
  t.equal(await first, 1);
  await Promise.resolve();
  t.equal(runs, 2);
  const fourth = queue.ask();
  ends.shift()!(2);
  t.same(await Promise.all([second, third]), [2, 2]);
  await Promise.resolve();
  ends.shift()!(3);
  t.equal(await fourth, 3, 'it asked after the second one had begun');
  t.equal(runs, 3);
});

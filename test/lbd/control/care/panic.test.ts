import t from 'tap';
import { panics } from '../../../../lbd/control/care/panic.ts';

t.test('below a share of healthy backends', async (t) => {
  const cases: [healthy: number, wanted: number, share: number, panic: boolean][] = [
    [2, 4, 0.5, false],
    [1, 4, 0.5, true],
    [0, 4, 0.5, true],
    [0, 4, 0, false],
    [0, 0, 0.5, false],
    [1, 2, 0.5, false],
    [3, 4, 1, true],
  ];
  for (const [healthy, wanted, share, panic] of cases)
    t.equal(panics({ healthy, wanted }, share), panic, `${healthy} of ${wanted}, ${share}`);
});

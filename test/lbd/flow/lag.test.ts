import t from 'tap';
import { Lag } from '../../../lbd/flow/lag.ts';

t.test('quantiles are upper bounds of classes', async (t) => {
  const lag = new Lag();
  t.equal(lag.quantileMs(0.5, 0), undefined, 'nothing was noted');
  for (let i = 0; i < 99; i++) lag.note(3, 0);
  lag.note(150, 0);
  t.equal(lag.quantileMs(0.5, 0), 5);
  t.equal(lag.quantileMs(0.99, 0), 5);
  t.equal(lag.quantileMs(1, 0), 200);
  lag.note(1e9, 0);
  t.equal(lag.quantileMs(1, 0), 60_000, 'the last class has no end');
});

t.test('what is old does not count', async (t) => {
  const lag = new Lag(1000);
  lag.note(3, 0);
  t.equal(lag.quantileMs(1, 1500), 5, 'the window before this one does');
  t.equal(lag.quantileMs(1, 2500), undefined);
  lag.note(3, 2600);
  t.equal(lag.quantileMs(1, 9000), undefined, 'nor after a long silence');
});

t.test('what was late before it was noted counts', async (t) => {
  const lag = new Lag();
  lag.lateMs = 1500;
  lag.note(3, 0);
  t.equal(lag.quantileMs(1, 0), 2000);
});

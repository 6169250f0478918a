import t from 'tap';
import { JumpLimit } from '../../../lbd/session/jump-limit.ts';

t.test('much at the start, little afterwards, and no step back costs anything', async (t) => {
  const limit = new JumpLimit({ first: 1000, perSecond: 10, burst: 20 });
  t.ok(limit.take(900, 0));
  t.ok(limit.take(-5000, 0));
  t.notOk(limit.take(101, 0));
  t.ok(limit.take(100, 0));
  t.notOk(limit.take(1, 0));
  t.ok(limit.take(5, 500));
  t.notOk(limit.take(1, 500));
  t.notOk(limit.take(21, 100_000));
  t.ok(limit.take(20, 100_000));
  t.notOk(limit.take(1, 0), 'a clock that stands still gives nothing');
});

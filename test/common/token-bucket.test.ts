import t from 'tap';
import { TokenBucket } from '../../common/token-bucket.ts';

t.test('much at the start, little afterwards, and nothing that is not asked for costs', async (t) => {
  const limit = new TokenBucket({ first: 1000, perSecond: 10, burst: 20 });
  t.ok(limit.take(0, 900));
  t.ok(limit.take(0, -5000));
  t.notOk(limit.take(0, 101));
  t.ok(limit.take(0, 100));
  t.notOk(limit.take(0, 1));
  t.ok(limit.take(500, 5));
  t.notOk(limit.take(500, 1));
  t.notOk(limit.take(100_000, 21));
  t.ok(limit.take(100_000, 20));
  t.notOk(limit.take(0, 1), 'a clock that stands still gives nothing');
});

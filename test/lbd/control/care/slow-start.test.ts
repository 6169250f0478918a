import t from 'tap';
import { slowStartShare } from '../../../../lbd/control/care/slow-start.ts';
import { FULL_SHARE } from '../../../../lbd/shared/vitals.ts';

t.test('a backend that comes back gets from a tenth to all of its clients', async (t) => {
  t.same(
    [0, 1000, 3000, 15_000, 29_999, 30_000, 90_000].map((ms) => slowStartShare(ms, 30_000)),
    [100, 100, 100, 500, 1000, FULL_SHARE, FULL_SHARE],
  );
  t.equal(slowStartShare(0, 0), FULL_SHARE, 'off');
});

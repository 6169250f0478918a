import t from 'tap';
import { FloodGuard } from '../../ha-agent/flood-guard.ts';

/** @returns how many were thrown away when the level changed */
function flood(guard: FloodGuard, nowMs: number, most = 10_000): number | undefined {
  for (let count = 1; count <= most; count++) if (guard.threw(nowMs)) return count;
  return undefined;
}

t.test('what a network has by mistake changes nothing, however long it lasts', async (t) => {
  const guard = new FloodGuard();
  const changes: number[] = [];
  for (let nowMs = 0; nowMs < 60_000; nowMs++)
    for (let i = 0; i < 2; i++) if (guard.threw(nowMs)) changes.push(nowMs);
  t.same(changes, []);
  t.equal(guard.level, 'open');
});

t.test('a flood is filtered, and let in after some seconds to see whether it is over', async (t) => {
  const guard = new FloodGuard();
  t.equal(flood(guard, 0), 301);
  t.equal(guard.level, 'filtered');
  t.equal(flood(guard, 50, 1000), undefined, 'what waited in the socket is not of the flood that passes');
  t.equal(guard.look(4999), false);
  t.equal(guard.look(5000), true);
  t.equal(guard.level, 'open');
  t.equal(flood(guard, 5001), 301, 'it is not over');
  t.equal(guard.level, 'filtered');
  t.equal(guard.look(10_001), true);
  t.equal(guard.look(60_000), false);
  t.equal(guard.level, 'open');
});

t.test('one that passes the filter is sampled, and goes down step by step', async (t) => {
  const guard = new FloodGuard();
  flood(guard, 0);
  t.equal(flood(guard, 150), 301);
  t.equal(guard.level, 'sampled');
  t.equal(flood(guard, 300), undefined, 'there is no more that could be done');
  t.equal(guard.level, 'sampled');
  t.equal(guard.look(5150), true);
  t.equal(guard.level, 'filtered');
  t.equal(guard.look(10_149), false);
  t.equal(guard.look(10_150), true);
  t.equal(guard.level, 'open');
});

t.test('what a peer with many groups says in the format of another release is no flood', async (t) => {
  const guard = new FloodGuard();
  guard.look(0, 32 / 10);
  t.equal(flood(guard, 0, 1280), undefined);
  t.equal(flood(guard, 0), 301);
});

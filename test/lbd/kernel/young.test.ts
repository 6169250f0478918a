import t from 'tap';
import { YOUNG_MS, Young, YoungSets } from '../../../lbd/kernel/young.ts';

const VIPS = ['192.0.2.100', 'fd00::100'];
function elements(young: Young, nowMs: number): string[] {
  const sets = new YoungSets();
  sets.set(young.vips(new Set(VIPS), nowMs), nowMs);
  return sets
    .script(nowMs)
    .split('\n')
    .filter((line) => line.startsWith('add'))
    .map((line) => line.replace(/.*{ (.*) }/, '$1'));
}

t.test('a VIP is young while it is elsewhere, and a while after it came', async (t) => {
  const young = new Young();
  t.strictSame(elements(young, 0), []);
  t.ok(young.note(VIPS, 'standby', undefined, 0));
  t.strictSame(elements(young, 1e9), VIPS);
  t.notOk(young.note(VIPS, 'standby', 'standby', 1));
  t.ok(young.note(VIPS, 'active', 'standby', 1000));
  t.strictSame(
    elements(young, 1000),
    VIPS.map((vip) => `${vip} timeout ${YOUNG_MS / 1000}s`),
  );
  t.strictSame(elements(young, 1000 + YOUNG_MS), []);
  young.note(VIPS, 'standby', 'active', 1500);
  t.strictSame(elements(young, 1e9), VIPS);
});

t.test('after a start of lbd on the active node nothing is young', async (t) => {
  const young = new Young();
  young.note(VIPS, 'active', undefined, 0);
  t.strictSame(elements(young, 1), []);
});

t.test('the time that is left counts from when it is told, and strangers are left out', async (t) => {
  const young = new Young();
  young.note([...VIPS, '192.0.2.101'], 'active', 'standby', 0);
  t.strictSame(young.vips(new Set(VIPS.slice(0, 1)), 4000), { '192.0.2.100': YOUNG_MS - 4000 });
  const sets = new YoungSets();
  sets.set({ '192.0.2.100': 2000 }, 0);
  t.match(sets.script(1500), 'add element inet tandem_lb young4 { 192.0.2.100 timeout 1s }');
  t.notMatch(sets.script(2000), 'add');
});

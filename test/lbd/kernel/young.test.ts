import t from 'tap';
import { YOUNG_MS, Young } from '../../../lbd/kernel/young.ts';

const VIPS = ['192.0.2.100', 'fd00::100'];
const elements = (young: Young, nowMs: number) =>
  young
    .script(nowMs)
    .split('\n')
    .filter((line) => line.startsWith('add'))
    .map((line) => line.replace(/.*{ (.*) }/, '$1'));

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

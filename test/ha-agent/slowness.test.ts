import t from 'tap';
import { echoed, NOT_SLOW, type Slowness, ticked, toldExtraMs, unheardMs } from '../../ha-agent/slowness.ts';

/** Of two intervals none is to spare. */
const CONFIG = { intervalMs: 100, deadAfter: 2, leaseMs: undefined };

/** Ticks after those gaps, one after the other. */
function after(
  gaps: readonly number[],
  from: Slowness = NOT_SLOW,
  startMs = 0,
): { s: Slowness; now: number } {
  let [s, now] = [from, startMs];
  for (const gapMs of gaps) {
    now += gapMs;
    s = ticked(CONFIG, s, gapMs, now);
  }
  return { s, now };
}

t.test('a process that is in time needs nothing', (t) => {
  t.equal(after([100, 101, 99, 140]).s, NOT_SLOW);
  t.end();
});

t.test('one pause is not slowness', (t) => {
  const { s } = after([100, 10_000, 100]);
  t.equal(s.extraMs, 0);
  t.equal(toldExtraMs(s), 0);
  t.end();
});

t.test('what ticks are late by again and again is needed, told, and forgotten after half a minute', (t) => {
  const slow = after([100, 480, 100, 330, 100]);
  t.equal(slow.s.extraMs, 250, 'the worst but one, in halves of an interval');
  t.equal(toldExtraMs(slow.s), 250);
  const later = after(Array(320).fill(100), slow.s, slow.now);
  t.equal(later.s.extraMs, 0);
  t.equal(toldExtraMs(later.s), 0);
  t.end();
});

t.test('for a tick that is late by an interval the dead time has room, as for a lost heartbeat', (t) => {
  const config = { ...CONFIG, deadAfter: 3 };
  t.equal(ticked(config, ticked(config, NOT_SLOW, 200, 200), 200, 400), NOT_SLOW);
  t.equal(
    ticked(config, ticked(config, NOT_SLOW, 320, 320), 320, 640).extraMs,
    150,
    'what exceeds it counts',
  );
  t.end();
});

t.test('a pause that no patience bridges does not count, however often it comes', (t) => {
  t.equal(after([100, 10_000, 100, 10_000, 100, 1_300]).s, NOT_SLOW);
  t.end();
});

t.test('it has a bound', (t) => {
  const { s } = after([1200, 1200, 1200]);
  t.equal(s.extraMs, 1050);
  const patient = { ...CONFIG, deadAfter: 20 };
  t.equal(ticked(patient, ticked(patient, NOT_SLOW, 1200, 1200), 1200, 2400).extraMs, 0);
  t.end();
});

t.test('where a witness grants leases, the dead time stays', (t) => {
  const config = { ...CONFIG, leaseMs: 250 };
  const s = ticked(config, ticked(config, NOT_SLOW, 500, 500), 500, 1000);
  t.equal(s.extraMs, 0);
  t.end();
});

t.test('this node goes by it once the peer has heard of it', (t) => {
  const { s, now } = after([400, 400]);
  t.equal(s.extraMs, 300);
  t.equal(s.grantedMs, 0, 'nobody knows');
  t.equal(echoed(s, undefined).grantedMs, 0, 'a peer that does not say');
  t.equal(echoed(s, now - 1).grantedMs, 0, 'what the peer heard was sent before');
  t.equal(echoed(s, now).grantedMs, 300);
  t.equal(echoed(echoed(s, now), now - 50).grantedMs, 300, 'an echo that was overtaken takes nothing back');
  t.end();
});

t.test('this node goes by less before the peer is told', (t) => {
  const { s, now } = after([400, 400]);
  const granted = echoed(s, now);
  const calm = after(Array(295).fill(100), granted, now);
  t.equal(calm.s.grantedMs, 300);
  const first = after([100], calm.s, calm.now);
  t.same([first.s.grantedMs, toldExtraMs(first.s)], [0, 300]);
  const next = after([100], first.s, first.now);
  t.same([next.s.grantedMs, toldExtraMs(next.s)], [0, 0]);
  t.end();
});

t.test('of all that was told since the echo the least counts', (t) => {
  const slow = after([300, 300]);
  const known = echoed(slow.s, slow.now);
  t.equal(known.grantedMs, 200);
  const slower = after([500, 500], known, slow.now);
  t.equal(slower.s.extraMs, 400);
  t.equal(slower.s.grantedMs, 200, 'the peer may know no more than before');
  t.equal(echoed(slower.s, slower.now).grantedMs, 400);
  t.end();
});

t.test('a peer that is not heard may have heard what was said a while ago, not more', (t) => {
  const { s, now } = after([400, 400]);
  t.equal(unheardMs(s, now - 1), 0);
  t.equal(unheardMs(s, now), 300);
  const slower = after([700, 700], s, now);
  t.equal(unheardMs(slower.s, slower.now - 1), 300);
  t.equal(unheardMs(slower.s, slower.now), 600);
  t.end();
});

t.test('once the peer knows that all is as in the config, nothing is left of it', (t) => {
  const { s, now } = after([400, 400]);
  const calm = after(Array(310).fill(100), s, now);
  t.same(echoed(calm.s, calm.now).told, []);
  t.end();
});

t.test('a peer that never answers makes nothing grow', (t) => {
  let s = echoed(NOT_SLOW, 0);
  for (let now = 1000, gapMs = 200; now < 2_000_000; now += 10_000, gapMs = 200 + ((gapMs * 7) % 700)) {
    s = ticked(CONFIG, s, gapMs, now);
    s = ticked(CONFIG, s, gapMs, now + 5_000);
  }
  t.ok(s.told.length <= 17);
  t.ok(s.late.length <= 8);
  t.equal(s.grantedMs, 0);
  t.end();
});

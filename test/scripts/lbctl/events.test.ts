import t from 'tap';
import type { ControlEvent } from '../../../common/control.ts';
import { eventLine, localTime, NewEvents, sinceMs } from '../../../scripts/lbctl/events.ts';

const event = (time: string, text: string): ControlEvent => ({
  time,
  mono_ms: 1,
  source: 'lbd',
  kind: 'pool',
  text,
});

t.test('since when', async (t) => {
  const now = Date.parse('2030-01-02T00:00:00Z');
  t.equal(sinceMs('10m', now), now - 600_000);
  t.equal(sinceMs('1d', now), now - 86_400_000);
  t.equal(sinceMs('2030-01-01T00:00:00Z', now), now - 86_400_000);
  for (const wrong of ['', '10', 'yesterday', '2030-13-01']) t.equal(sinceMs(wrong, now), undefined, wrong);
});

t.test('what is new since the last look', async (t) => {
  const fresh = new NewEvents();
  const [a, b, c] = ['a', 'b', 'c'].map((text) => event('2030-01-01T00:00:00.000Z', text));
  t.same(fresh.of([a!, b!]), [a, b]);
  t.same(fresh.of([a!, b!]), []);
  t.same(fresh.of([b!, c!]), [c], 'the daemon has forgotten the oldest');
});

t.test('what a daemon had is no news after a moment without an answer of it', async (t) => {
  const fresh = new NewEvents();
  const lbd = event('2030-01-01T00:00:00.000Z', 'a');
  const agent: ControlEvent = { ...lbd, source: 'agent' };
  t.same(fresh.of([lbd, agent]), [lbd, agent]);
  t.same(fresh.of([lbd]), [], 'the agent does not answer');
  t.same(fresh.of([]), [], 'nobody does');
  t.same(fresh.of([lbd, agent]), []);
});

t.test('the time of a line: UTC, or of the zone', async (t) => {
  t.match(
    eventLine(event('2030-01-01T00:00:00.000Z', 'x'), false),
    /^2030-01-01T00:00:00\.000Z lbd {3}pool {5}x$/,
  );
  const time = new Date('2030-01-01T00:00:00.000Z');
  t.equal(localTime(time, 330), '2030-01-01T05:30:00.000+05:30');
  t.equal(localTime(time, -210), '2029-12-31T20:30:00.000-03:30');
  t.equal(localTime(time, 0), '2030-01-01T00:00:00.000+00:00');
});

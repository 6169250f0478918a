import t from 'tap';
import { EventLog, monotonicMs } from '../../common/events.ts';

t.test('keeps the newest events, oldest first', async (t) => {
  const log = new EventLog('lbd', 3);
  for (const n of [1, 2, 3, 4, 5]) log.add('backend', `change ${n}`);
  t.same(
    log.list().map((e) => e.text),
    ['change 3', 'change 4', 'change 5'],
  );
});

t.test('an event has its source, both clocks and one line of text', async (t) => {
  const log = new EventLog('agent');
  const before = monotonicMs();
  log.add('vip', 'added\n  because\r\nlb2 died');
  const event = log.list()[0]!;
  t.match(event, { source: 'agent', kind: 'vip', text: 'added because lb2 died' });
  t.match(event.time, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  t.ok(event.mono_ms >= before && event.mono_ms <= monotonicMs());
});

t.test('the list is a copy', async (t) => {
  const log = new EventLog('lbd');
  log.add('sync', 'synced');
  log.list().pop();
  t.equal(log.list().length, 1);
});

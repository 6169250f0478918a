import t from 'tap';
import { SlotMap } from '../../../lbd/control/slots.ts';

t.test('who stays keeps its row, whatever the order', async (t) => {
  const slots = new SlotMap('backends', 8, () => 0);
  const first = slots.assign(['web/a', 'web/b', 'web/c']);
  t.same(first, { rows: { 'web/a': 0, 'web/b': 1, 'web/c': 2 }, added: ['web/a', 'web/b', 'web/c'] });
  const second = slots.assign(['web/c', 'api/x', 'web/a']);
  t.same(second, { rows: { 'web/a': 0, 'web/c': 2, 'api/x': 3 }, added: ['api/x'] });
  t.equal(slots.get('web/b'), undefined);
  t.equal(slots.get('web/c'), 2);
});

t.test('a freed row is given away last, the longest free first', async (t) => {
  const slots = new SlotMap('backends', 4, () => 0);
  slots.assign(['a', 'b', 'c']);
  slots.assign(['a', 'c']);
  slots.assign(['c']);
  t.same(slots.assign(['c', 'x', 'y', 'z']).rows, { c: 2, x: 3, y: 1, z: 0 });
});

t.test('a row with something in flight is not given away', async (t) => {
  const inFlight = [0, 0];
  const slots = new SlotMap('backends', 2, (row) => inFlight[row] ?? 0);
  slots.assign(['a', 'b']);
  inFlight[1] = 5;
  t.throws(() => slots.assign(['a', 'c']), {
    code: 'TOO_MANY',
    message: '2 backends do not fit: there is room for 2, 0 of it free now',
  });
  slots.assign(['a']);
  t.throws(() => slots.assign(['a', 'c']), { code: 'TOO_MANY' });
  inFlight[1] = 0;
  t.same(slots.assign(['a', 'c']).rows, { a: 0, c: 1 });
});

t.test('a refusal changes nothing', async (t) => {
  const slots = new SlotMap('frontends', 2, () => 0);
  slots.assign(['a', 'b']);
  t.throws(() => slots.assign(['x', 'y', 'z']), /3 frontends do not fit/);
  t.same(slots.assign(['a', 'b']), { rows: { a: 0, b: 1 }, added: [] });
});

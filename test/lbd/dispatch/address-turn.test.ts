import t from 'tap';
import { AddressTurn } from '../../../lbd/dispatch/address-turn.ts';

t.test('connections go to all addresses by turns', (t) => {
  const turn = new AddressTurn(['a', 'b', 'c']);
  const six = Array.from({ length: 6 }, () => turn.next());
  t.strictSame(six.slice(0, 3).toSorted(), ['a', 'b', 'c']);
  t.strictSame(six.slice(3), six.slice(0, 3));
  t.equal(turn.peek(), six[0]);
  t.equal(turn.peek(), turn.next(), 'a peek moves nothing');
  t.end();
});

t.test('an address that failed is passed over for two seconds, unless all have failed', (t) => {
  let nowMs = 0;
  const turn = new AddressTurn(['a', 'b'], () => nowMs);
  turn.failed('a');
  t.strictSame([turn.next(), turn.next(), turn.next()], ['b', 'b', 'b']);
  t.ok(turn.hasAlternative);
  turn.failed('b');
  t.notOk(turn.hasAlternative);
  t.strictSame([turn.next(), turn.next()].toSorted(), ['a', 'b']);
  nowMs = 2_000;
  t.ok(turn.hasAlternative);
  t.strictSame([turn.next(), turn.next()].toSorted(), ['a', 'b']);
  t.end();
});

t.test('one address is what it is, and there may be none', (t) => {
  const turn = new AddressTurn(['a']);
  turn.failed('a');
  t.strictSame([turn.next(), turn.peek(), turn.hasAlternative], ['a', 'a', false]);
  t.ok(turn.replace([]));
  t.strictSame([turn.next(), turn.peek()], ['', '']);
  t.end();
});

t.test('other addresses take the place of those that were there', (t) => {
  const turn = new AddressTurn(['a', 'b']);
  t.notOk(turn.replace(['a', 'b']));
  turn.failed('a');
  t.ok(turn.replace(['a', 'c']));
  t.strictSame([turn.next(), turn.next()].toSorted(), ['a', 'c'], 'what failed before is forgotten');
  t.end();
});

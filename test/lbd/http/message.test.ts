import t from 'tap';
import { Message } from '../../../lbd/http/message.ts';

t.test('pieces of all kinds, one behind the other, whatever room there was', (t) => {
  const from = Buffer.from('abcdefghij'.repeat(1000), 'latin1');
  const message = new Message(4096);
  for (const length of [0, 1, 7, 4094, 4095, 4096, 4097, 9999]) {
    message.clear();
    message.copy(from, 1, 1 + length);
    message.line();
    message.text('x'.repeat(length));
    message.text('é');
    t.equal(message.toString(), `${from.latin1Slice(1, 1 + length)}\r\n${'x'.repeat(length)}é`, `${length}`);
    t.equal(message.length, 2 * length + 3);
  }
  t.end();
});

t.test('what was there before is gone, what comes next does not touch what was copied out', (t) => {
  const message = new Message(0);
  message.text('first');
  const copied = Buffer.copyBytesFrom(message.bytes, 0, message.length);
  t.equal(message.clear().length, 0);
  message.text('2nd');
  t.equal(message.toString(), '2nd');
  t.equal(copied.latin1Slice(0, 5), 'first');
  t.end();
});

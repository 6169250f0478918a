import t from 'tap';
import { MAX_REGISTERS, type Register, Registers } from '../../../lbd/session/registers.ts';

t.test('the last writer wins, on both nodes alike', async (t) => {
  const states: Register[] = [
    { key: 'k', value: 'old', version: 1, origin: 'lb2' },
    { key: 'k', value: 'a', version: 3, origin: 'lb1' },
    { key: 'k', value: 'b', version: 3, origin: 'lb2' },
    { key: 'k', value: 'a', version: 3, origin: 'lb2' },
  ];
  for (const order of [states, [...states].reverse(), [states[2]!, states[0]!, states[3]!, states[1]!]]) {
    const registers = new Registers('lb1');
    for (const state of order) registers.merge(state);
    t.equal(registers.get('k'), 'b');
  }
});

t.test('a value set here beats everything heard so far', async (t) => {
  const registers = new Registers('lb1');
  const heard: unknown[] = [];
  const stop = registers.onChange((...change) => heard.push(change));
  registers.merge({ key: 'other', value: 1, version: 41, origin: 'lb2' });
  registers.set('k', { state: 'drain' });
  t.strictSame(registers.register('k'), { key: 'k', value: { state: 'drain' }, version: 42, origin: 'lb1' });
  t.strictSame(heard, [
    ['other', 1, 'lb2'],
    ['k', { state: 'drain' }, 'lb1'],
  ]);
  stop();
  registers.set('k', null);
  t.equal(heard.length, 2);
  t.equal(registers.get('k'), null);
});

t.test('limits', async (t) => {
  const registers = new Registers('lb1');
  t.throws(() => registers.set('', 1), /1 to 256 characters/);
  t.throws(() => registers.set('k'.repeat(257), 1), /it has 257/);
  t.throws(() => registers.set('k', 'v'.repeat(4095)), /4096 bytes: it has 4097/);
  registers.set('k', 'v'.repeat(4094));
  t.notOk(registers.merge({ key: 'k', value: 'v'.repeat(5000), version: 9, origin: 'lb2' }));
  for (const version of [0, -1, 1.5, 2 ** 50, Number.NaN])
    t.notOk(registers.merge({ key: 'k', value: 1, version, origin: 'lb2' }), `version ${version}`);
  for (let i = 1; i < MAX_REGISTERS; i++) registers.set(`k${i}`, i);
  t.throws(() => registers.set('one more', 1), /16384 already/);
  registers.set('k', 'still changes');
  t.equal(registers.entries().length, MAX_REGISTERS);
});

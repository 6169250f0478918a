import t from 'tap';
import {
  MAX_FOREIGN_REGISTERS,
  MAX_REGISTERS,
  type Register,
  Registers,
} from '../../../lbd/session/registers.ts';

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

t.test('a peer that fills the registers with junk keeps no operator from a drain', async (t) => {
  const ours = new Set(['backend/web/s1', 'health/web/s1']);
  const registers = new Registers('lb1', (key) =>
    ours.has(key) ? 'ours' : key.startsWith('backend/') ? 'foreign' : 'unknown',
  );
  for (let i = 0; i < 2 * MAX_REGISTERS; i++)
    registers.merge({ key: `backend/junk/${i}`, value: i, version: i + 1, origin: 'lb2' });
  t.equal(registers.entries().length, MAX_FOREIGN_REGISTERS);
  t.equal(registers.leftOut, 2 * MAX_REGISTERS - MAX_FOREIGN_REGISTERS);
  registers.set('backend/web/s1', 'drain');
  t.equal(registers.get('backend/web/s1'), 'drain');
  t.ok(
    registers.merge({ key: 'health/web/s1', value: true, version: 2 ** 30, origin: 'lb2' }),
    'ours always has room',
  );
  ours.add('backend/junk/3');
  t.ok(registers.merge({ key: 'backend/junk/3', value: 0, version: 2 ** 31, origin: 'lb2' }));
});

t.test('a value of this node finds room among what the config does not have any more', async (t) => {
  const ours = new Set<string>();
  const registers = new Registers('lb1', (key) => (ours.has(key) ? 'ours' : 'foreign'));
  for (let i = 0; i < MAX_REGISTERS; i++) registers.set(`backend/old/${i}`, i);
  ours.add('backend/web/s1');
  registers.set('backend/web/s1', 'drain');
  t.equal(registers.get('backend/web/s1'), 'drain');
  t.equal(registers.entries().length, MAX_REGISTERS);
});

t.test('what no node would say is a breach: a key of no kind, a version far ahead', async (t) => {
  const registers = new Registers('lb1', (key) => (key.startsWith('backend/') ? 'ours' : 'unknown'));
  const said = (key: string, version: number, nowMs = 0) =>
    registers.breachOf({ key, value: 1, version, origin: 'lb2' }, nowMs);
  t.match(said('junk', 1), /unknown kind: "junk"/);
  t.match(said('backend/a', 2 ** 48), /281474976710656 ahead/);
  t.equal(said('backend/a', 2 ** 47), undefined, 'a node that starts has much to catch up with');
  registers.merge({ key: 'backend/a', value: 1, version: 2 ** 47, origin: 'lb2' });
  t.match(said('backend/a', 2 ** 47 + 2 ** 20), /ahead/);
  t.equal(said('backend/a', 2 ** 47 + 1000, 2000), undefined, 'and goes on with the changes of every day');
  registers.set('backend/b', 1);
  t.equal(registers.register('backend/b')?.version, 2 ** 47 + 1);
});

import t from 'tap';
import type { Answer } from '../../../../lbd/control/names/name-life.ts';
import { afterAnswer, asked, MAX_ADDRESSES, newName } from '../../../../lbd/control/names/name-life.ts';

const BOUNDS = { minTtlMs: 1_000, maxTtlMs: 60_000 };
const found = (addresses: readonly string[], ttlMs = 5_000, unanswered?: 4 | 6): Answer => ({
  kind: 'found',
  addresses,
  ttlMs,
  unanswered,
});
const none = (why = 'no name server answers'): Answer => ({ kind: 'none', why });

t.test('a name is asked for at once, not twice at a time, and again when its TTL is over', (t) => {
  const life = newName(100);
  t.equal(life.askMs, 100);
  t.equal(asked(life).askMs, Number.POSITIVE_INFINITY);
  t.match(afterAnswer(asked(life), found(['10.0.0.2', '10.0.0.1']), 200, BOUNDS), {
    addresses: ['10.0.0.1', '10.0.0.2'],
    goodMs: 200,
    trouble: '',
    askMs: 5_200,
  });
  t.end();
});

t.test('a TTL is bounded below and above', (t) => {
  t.equal(afterAnswer(newName(0), found(['10.0.0.1'], 0), 0, BOUNDS).askMs, 1_000);
  t.equal(afterAnswer(newName(0), found(['10.0.0.1'], 86_400_000), 0, BOUNDS).askMs, 60_000);
  t.end();
});

t.test('the last good addresses stay while nobody answers, with their age', (t) => {
  let life = afterAnswer(newName(0), found(['10.0.0.1']), 0, BOUNDS);
  const pauses: number[] = [];
  for (let nowMs = 5_000, i = 0; i < 7; i++) {
    life = afterAnswer(asked(life), none(), nowMs, BOUNDS);
    pauses.push(life.askMs - nowMs);
    nowMs = life.askMs;
  }
  t.match(life, { addresses: ['10.0.0.1'], goodMs: 0, trouble: 'no name server answers', failures: 7 });
  t.strictSame(pauses, [1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000]);
  const back = afterAnswer(life, found(['10.0.0.2']), 99_000, BOUNDS);
  t.match(back, { addresses: ['10.0.0.2'], goodMs: 99_000, trouble: '', failures: 0 });
  t.end();
});

t.test('what is no address of one host is left out', (t) => {
  const all = [
    '0.0.0.0',
    '::',
    '224.0.0.1',
    'ff02::1',
    '255.255.255.255',
    'nonsense',
    '10.0.0.1',
    '10.0.0.1',
  ];
  t.strictSame(afterAnswer(newName(0), found([...all, 'FD00::0:1']), 0, BOUNDS).addresses, [
    '10.0.0.1',
    'fd00::1',
  ]);
  const mapped = [
    '::ffff:0.0.0.0',
    '::ffff:0:0',
    '::ffff:224.0.0.1',
    '::ffff:255.255.255.255',
    '::FFFF:f000:1',
    '0.1.2.3',
  ];
  t.match(afterAnswer(newName(0), found(mapped), 0, BOUNDS), {
    addresses: [],
    trouble: 'it has no address that can be connected to',
  });
  t.strictSame(
    afterAnswer(newName(0), found(['::ffff:10.0.0.1', '10.0.0.1']), 0, BOUNDS).addresses,
    ['10.0.0.1'],
    'IPv4 written as IPv6 is what it stands for',
  );
  const life = afterAnswer(newName(0), found(['10.0.0.1']), 0, BOUNDS);
  t.match(afterAnswer(life, found(['0.0.0.0']), 1, BOUNDS), {
    addresses: ['10.0.0.1'],
    trouble: 'it has no address that can be connected to',
  });
  const many = Array.from({ length: 200 }, (_, i) => `10.0.1.${i}`);
  const cut = afterAnswer(newName(0), found(many), 0, BOUNDS);
  t.equal(cut.addresses.length, MAX_ADDRESSES);
  t.equal(cut.leftOut, 200 - MAX_ADDRESSES);
  t.equal(afterAnswer(cut, none(), 1, BOUNDS).leftOut, 200 - MAX_ADDRESSES, 'as long as these are in use');
  t.equal(afterAnswer(cut, found(many.slice(0, 64)), 1, BOUNDS).leftOut, 0);
  t.end();
});

t.test('addresses of a family that was asked for in vain stay, those of the other are as answered', (t) => {
  const life = afterAnswer(newName(0), found(['10.0.0.1', 'fd00::1']), 0, BOUNDS);
  t.strictSame(afterAnswer(life, found(['10.0.0.2'], 0, 6), 1, BOUNDS).addresses, ['10.0.0.2', 'fd00::1']);
  t.strictSame(afterAnswer(life, found(['10.0.0.2']), 1, BOUNDS).addresses, ['10.0.0.2']);
  t.end();
});

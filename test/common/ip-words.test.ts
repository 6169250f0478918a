import t from 'tap';
import { formatAddress, maskAddress, parseAddress } from '../../common/ip-words.ts';

const words = new Int32Array(4);

const same: [text: string, canonical: string][] = [
  ['10.0.0.1', '10.0.0.1'],
  ['255.255.255.255', '255.255.255.255'],
  ['0.0.0.0', '0.0.0.0'],
  ['::ffff:10.0.0.1', '10.0.0.1'],
  ['::FFFF:0a00:1', '10.0.0.1'],
  ['2001:db8::1', '2001:db8::1'],
  ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
  ['2001:0db8:0000:0000:0001:0000:0000:0001', '2001:db8::1:0:0:1'],
  ['fe80::1%eth0', 'fe80::1'],
  ['::', '::'],
  ['::1', '::1'],
  ['1::', '1::'],
  ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
  ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
  ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
];
for (const [text, canonical] of same)
  t.test(`${text} is ${canonical}`, async (t) => {
    t.ok(parseAddress(text, words));
    t.equal(formatAddress(words), canonical);
  });

const wrong = [
  '',
  '1.2.3',
  '1.2.3.4.5',
  '1.2.3.256',
  '1..2.3',
  'a.b.c.d',
  '1.2.3.4 ',
  ':',
  ':::',
  '1:2',
  '1::2::3',
];
wrong.push(
  '12345::',
  '1:2:3:4:5:6:7:8:9',
  '1:2:3:4:5:6:7:8::',
  'g::',
  '1:',
  '::1.2.3',
  '1:2:3:4:5:6:7:1.2.3.4',
);
for (const text of wrong)
  t.test(`${JSON.stringify(text)} is no address`, async (t) => t.notOk(parseAddress(text, words)));

t.test('the first bits of an address', async (t) => {
  for (const [bits, network] of [
    [0, '::'],
    [1, '8000::'],
    [32, 'ffff:ffff::'],
    [33, 'ffff:ffff:8000::'],
    [56, 'ffff:ffff:ffff:ff00::'],
    [64, 'ffff:ffff:ffff:ffff::'],
    [128, 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ] as const) {
    parseAddress('ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', words);
    maskAddress(words, bits);
    t.equal(formatAddress(words), network);
  }
});

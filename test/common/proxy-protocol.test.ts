import t from 'tap';
import { unmapped } from '../../common/address.ts';
import { type Endpoints, INVALID, MORE, ProxyHeader, proxyHeader } from '../../common/proxy-protocol.ts';

const FOUR: Endpoints = { address: '192.0.2.7', port: 51234, toAddress: '198.51.100.1', toPort: 443 };
const SIX: Endpoints = { address: '2001:db8::7', port: 51234, toAddress: 'fd00::1', toPort: 443 };
const SIGNATURE = '\r\n\r\n\0\r\nQUIT\n';

function v2(command: number, family: number, length: number, rest = ''): string {
  const head = Buffer.from([command, family, length >> 8, length & 255]).toString('latin1');
  return SIGNATURE + head + rest;
}

interface Read {
  readonly after: number;
  readonly endpoints: Endpoints | undefined;
  readonly fault: string;
}

/** Feeds a text in pieces that end at the given places. */
function read(text: string, cuts: readonly number[] = []): Read {
  const bytes = Buffer.from(text, 'latin1');
  const header = new ProxyHeader();
  let start = 0;
  let after = MORE;
  for (const end of [...cuts, bytes.length]) {
    after = header.feed(bytes, start, end);
    if (after !== MORE) break;
    start = end;
  }
  return { after, endpoints: header.endpoints, fault: header.fault };
}

const TLVS = '\x04\x00\x03abc\x20\x00\x02xy';
const FOUR_V2 = proxyHeader('v2', FOUR)
  .toString('latin1')
  .slice(SIGNATURE.length + 4);
const GOOD: readonly [name: string, text: string, endpoints: Endpoints | undefined][] = [
  ['v1 TCP4', 'PROXY TCP4 192.0.2.7 198.51.100.1 51234 443\r\n', FOUR],
  ['v1 TCP6', 'PROXY TCP6 2001:db8::7 fd00::1 51234 443\r\n', SIX],
  ['v1 UNKNOWN', 'PROXY UNKNOWN\r\n', undefined],
  ['v1 UNKNOWN with addresses', 'PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n', undefined],
  [
    'v1, the longest line',
    `PROXY UNKNOWN ${'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff '.repeat(2)}65535 65535\r\n`,
    undefined,
  ],
  ['v1 IPv4-mapped', 'PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 51234 443\r\n', FOUR],
  ['v2 TCP4', proxyHeader('v2', FOUR).toString('latin1'), FOUR],
  ['v2 TCP6', proxyHeader('v2', SIX).toString('latin1'), SIX],
  ['v2 TLVs are skipped', v2(0x21, 0x11, 12 + TLVS.length, FOUR_V2 + TLVS), FOUR],
  ['v2 with 65,535 bytes', v2(0x21, 0x11, 65535, FOUR_V2.padEnd(65535, 'T')), FOUR],
  ['v2 LOCAL', v2(0x20, 0, 0), undefined],
  ['v2 LOCAL with addresses', v2(0x20, 0x11, 12, FOUR_V2), undefined],
  ['v2 UNSPEC', v2(0x21, 0, 3, 'abc'), undefined],
  ['v2 unix', v2(0x21, 0x31, 216, 'u'.repeat(216)), undefined],
];

for (const [name, text, endpoints] of GOOD)
  t.test(`${name}: read whole, cut anywhere, and with bytes behind it`, async (t) => {
    const expected = { after: text.length, endpoints, fault: '' };
    t.strictSame(read(text), expected);
    t.strictSame(read(`${text}GET / HTTP/1.1\r\n`), expected, 'not a byte more is taken');
    const places = Math.min(text.length, 120);
    for (let cut = 1; cut < places; cut++) t.strictSame(read(text, [cut]), expected, `cut at ${cut}`);
    const everywhere = Array.from({ length: text.length - 1 }, (_, i) => i + 1);
    t.strictSame(read(text, everywhere), expected, 'byte by byte');
    for (let end = 0; end < places; end++) t.equal(read(text.slice(0, end)).after, MORE, `only ${end} bytes`);
  });

t.test('what is no header is refused, whole and byte by byte', async (t) => {
  for (const [name, text, fault] of [
    ['a request', 'GET / HTTP/1.1\r\n\r\n', 'something else'],
    ['a TLS hello', '\x16\x03\x01\x02\x00', 'something else'],
    ['another word', 'PROXX TCP4 1.2.3.4 1.2.3.4 1 2\r\n', 'something else'],
    ['a line without end', `PROXY TCP4 ${'1'.repeat(200)}`, 'longer than 107'],
    ['a bare LF', 'PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n', 'its line is not'],
    ['two spaces', 'PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n', 'its line is not'],
    ['UDP', 'PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n', 'its line is not'],
    ['the other family', 'PROXY TCP4 ::1 ::1 1 2\r\n', 'its line is not'],
    ['no address', 'PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n', 'its line is not'],
    ['a leading zero', 'PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n', 'its line is not'],
    ['a sign', 'PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n', 'its line is not'],
    ['a missing port', 'PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n', 'its line is not'],
    ['a sixth part', 'PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n', 'its line is not'],
    ['port 65536', 'PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n', 'above 65535'],
    ['a CR within', 'PROXY UNKNOWN \rx\r\n', 'its line is not'],
    ['UNKNOWNX', 'PROXY UNKNOWNX\r\n', 'its line is not'],
    ['half a signature', '\r\n\r\n\0\r\nQUIX\n', 'something else'],
    ['an empty line', '\r\n\r\nGET / HTTP/1.1\r\n', 'something else'],
    ['version 1 in binary', v2(0x11, 0x11, 12), 'its version is 1'],
    ['version 3', v2(0x31, 0x11, 12), 'its version is 3'],
    ['command 2', v2(0x22, 0x11, 12), 'its command is 2'],
    ['family 4', v2(0x21, 0x41, 12), 'its address family is 0x41'],
    ['transport 3', v2(0x21, 0x13, 12), 'its address family is 0x13'],
    ['short addresses', v2(0x21, 0x11, 11, 'x'.repeat(11)), 'cut short'],
    ['short IPv6 addresses', v2(0x21, 0x21, 35, 'x'.repeat(35)), 'cut short'],
  ] as const) {
    const everywhere = Array.from({ length: text.length - 1 }, (_, i) => i + 1);
    for (const cuts of [[], everywhere]) {
      const { after, fault: found, endpoints } = read(text, cuts);
      t.equal(after, INVALID, name);
      t.match(found, fault, name);
      t.equal(endpoints, undefined, name);
    }
  }
});

t.test('what is sent can be read', async (t) => {
  for (const version of ['v1', 'v2'] as const) {
    for (const endpoints of [FOUR, SIX]) {
      const text = proxyHeader(version, endpoints).toString('latin1');
      t.strictSame(read(text), { after: text.length, endpoints, fault: '' });
    }
    const own = proxyHeader(version, undefined).toString('latin1');
    t.strictSame(read(own), { after: own.length, endpoints: undefined, fault: '' });
    const zoned = proxyHeader(version, { ...SIX, address: 'fe80::1%eth0' }).toString('latin1');
    t.equal(read(zoned).endpoints?.address, 'fe80::1', 'a zone stays at home');
    const mixed = proxyHeader(version, { ...SIX, address: '192.0.2.7' }).toString('latin1');
    t.strictSame(read(mixed).endpoints, { ...SIX, address: '192.0.2.7' }, 'two families');
    const gone = proxyHeader(version, { ...FOUR, address: '' }).toString('latin1');
    t.equal(read(gone).endpoints, undefined, 'a client that is gone has no address');
  }
});

t.test('IPv4-mapped addresses are IPv4 addresses', async (t) => {
  t.equal(unmapped('::ffff:192.0.2.7'), '192.0.2.7');
  t.equal(unmapped('::ffff:c000:207'), '192.0.2.7');
  t.equal(unmapped('0:0:0:0:0:ffff:c000:207'), '192.0.2.7');
  t.equal(unmapped('2001:db8::ffff'), '2001:db8::ffff');
});

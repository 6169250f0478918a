import t from 'tap';
import {
  canonicalIp,
  formatEndpoint,
  isHostName,
  isMulticast,
  isNetworkOrBroadcast,
  parseCidr,
  parseEndpoint,
  specialRange,
} from '../../common/address.ts';

t.test('endpoints', async (t) => {
  for (const [text, host, port] of [
    ['10.0.0.21:9000', '10.0.0.21', 9000],
    ['[2001:DB8::0001]:80', '2001:db8::1', 80],
    ['[::]:80', '::', 80],
    ['*:443', '*', 443],
    ['app-1.example.org:8080', 'app-1.example.org', 8080],
    ['localhost:1', 'localhost', 1],
  ] as const) {
    t.strictSame(parseEndpoint(text), { host, port }, text);
    t.strictSame(parseEndpoint(formatEndpoint({ host, port })), { host, port }, `${text} and back`);
  }
  for (const text of [
    ...['', ':80', '1.2.3.4', '1.2.3.4:', '1.2.3.4:0', '1.2.3.4:65536', '1.2.3:80', '256.1.1.1:80', '::1:80'],
    ...['[1.2.3.4]:80', '[::1]', '[fe80::1%eth0]:80', 'a b:80', '-a:80', 'a..b:80', 'a:80x', 'http://a:80'],
  ])
    t.equal(parseEndpoint(text), undefined, text);
});

t.test('CIDR', async (t) => {
  t.strictSame(parseCidr('192.0.2.1/24'), { address: '192.0.2.1', prefix: 24, family: 4 });
  t.strictSame(parseCidr('192.0.2.1'), { address: '192.0.2.1', prefix: 32, family: 4 });
  t.strictSame(parseCidr('2001:DB8::1/64'), { address: '2001:db8::1', prefix: 64, family: 6 });
  for (const text of [
    '192.0.2.1/33',
    '192.0.2.1/0',
    '192.0.2.1/',
    '192.0.2/24',
    '::1/129',
    '/24',
    'x/24',
    '1.2.3.4/24/24',
  ])
    t.equal(parseCidr(text), undefined, text);
  t.ok(isNetworkOrBroadcast('192.0.2.0', 24));
  t.ok(isNetworkOrBroadcast('192.0.2.255', 24));
  t.ok(isNetworkOrBroadcast('10.255.255.255', 8));
  t.notOk(isNetworkOrBroadcast('192.0.2.0', 31));
  t.notOk(isNetworkOrBroadcast('192.0.2.0', 16));
  t.notOk(isNetworkOrBroadcast('2001:db8::', 64));
});

t.test('kinds', async (t) => {
  t.equal(canonicalIp('0::1'), '::1');
  t.equal(canonicalIp('fe80::1%eth0'), undefined);
  t.equal(canonicalIp('example.org'), undefined);
  t.ok(isMulticast('224.0.0.1') && isMulticast('239.255.255.255') && isMulticast('ff02::1'));
  t.notOk(isMulticast('223.255.255.255') || isMulticast('240.0.0.0') || isMulticast('fe80::1'));
  t.ok(isHostName('a') && isHostName('a.b-c.example') && isHostName('3com.example'));
  t.ok(isHostName('a_b') && isHostName('_a._tcp.b') && isHostName('a.'));
  t.notOk(
    isHostName('1.2.3.4.') ||
      isHostName('1.2.3.4') ||
      isHostName('a..') ||
      isHostName('.') ||
      isHostName('a'.repeat(64)),
  );
});

t.test('addresses that no other host can reach', async (t) => {
  for (const [address, kind] of [
    ['0.0.0.1', 'of 0.0.0.0/8, this network'],
    ['127.0.0.1', 'of 127.0.0.0/8, loopback'],
    ['127.255.255.254', 'of 127.0.0.0/8, loopback'],
    ['::1', 'of ::1/128, loopback'],
    ['240.0.0.1', 'of 240.0.0.0/4, reserved'],
    ['255.255.255.255', 'of 240.0.0.0/4, reserved'],
    ['::ffff:192.0.2.1', 'of ::ffff:0:0/96, IPv4 written as IPv6'],
  ] as const)
    t.equal(specialRange(address), kind, address);
  for (const address of [
    '1.0.0.1',
    '126.0.0.1',
    '128.0.0.1',
    '169.254.1.1',
    '192.0.2.1',
    '239.0.0.1',
    '::2',
    'fd00::1',
    'fe80::1',
  ])
    t.equal(specialRange(address), undefined, address);
});

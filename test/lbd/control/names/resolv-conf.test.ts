import t from 'tap';
import { candidatesOf, parseResolvConf } from '../../../../lbd/control/names/resolv-conf.ts';

t.test('reads servers, search domains and ndots as the C library does', (t) => {
  const text = [
    '# made by hand',
    'nameserver 10.0.0.53 ; the first',
    'nameserver not-an-address',
    'nameserver fd00::53',
    'domain old.example',
    'search Shop.Example. . example',
    'options edns0 ndots:2 rotate',
    'nameserver 10.0.0.54',
    'nameserver 10.0.0.55',
  ].join('\n');
  t.strictSame(parseResolvConf(text, 'lb1.other.example'), {
    servers: ['10.0.0.53', 'fd00::53', '10.0.0.54'],
    search: ['shop.example', 'example'],
    ndots: 2,
  });
  t.end();
});

t.test('of search and domain the last one counts', (t) => {
  t.strictSame(parseResolvConf('search a.test b.test\ndomain c.test', 'h').search, ['c.test']);
  t.strictSame(parseResolvConf('domain c.test\nsearch a.test b.test', 'h').search, ['a.test', 'b.test']);
  t.end();
});

t.test('an empty file means this machine, and the domain of its name', (t) => {
  t.strictSame(parseResolvConf('', 'lb1.shop.example'), {
    servers: ['127.0.0.1'],
    search: ['shop.example'],
    ndots: 1,
  });
  t.strictSame(parseResolvConf('', 'lb1').search, []);
  t.end();
});

t.test('what is too much is left out', (t) => {
  const search = Array.from({ length: 40 }, (_, i) => `d${i}.test`);
  const conf = parseResolvConf(`search ${search.join(' ')}\noptions ndots:999`, 'h');
  t.equal(conf.search.length, 16);
  t.equal(conf.ndots, 15);
  t.strictSame(candidatesOf('a'.repeat(60), { search: ['b'.repeat(200)], ndots: 1 }), ['a'.repeat(60)]);
  t.end();
});

t.test('a name without dots is asked for in the search domains first, one with enough dots last', (t) => {
  const conf = { search: ['shop.example', 'example'], ndots: 1 };
  t.strictSame(candidatesOf('db', conf), ['db.shop.example', 'db.example', 'db']);
  t.strictSame(candidatesOf('db.eu', conf), ['db.eu', 'db.eu.shop.example', 'db.eu.example']);
  t.strictSame(candidatesOf('db.eu', { ...conf, ndots: 2 }), [
    'db.eu.shop.example',
    'db.eu.example',
    'db.eu',
  ]);
  t.strictSame(candidatesOf('db', { search: [], ndots: 1 }), ['db']);
  t.end();
});

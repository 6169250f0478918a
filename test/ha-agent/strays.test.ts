import t from 'tap';
import { Strays } from '../../ha-agent/strays.ts';
import { vip } from './vips.ts';

const PROXY = '02:00:00:00:00:09';
const HOST = '02:00:00:00:00:08';

const answer = (addresses: readonly string[], by: string) => addresses.map((address) => ({ address, by }));

t.test('three addresses of the network of the VIPs that nobody is known to have', async (t) => {
  const vips = [vip('192.0.2.100/24'), vip('192.0.2.101/24', 'eth2'), vip('fd00::100/64')];
  const picked = new Strays().pick(vips, ['192.0.2.1']);
  t.equal(picked.length, 6);
  t.equal(new Set(picked).size, 6);
  const own = picked.filter((address) => /^192\.0\.2\.\d+$/.test(address));
  t.equal(own.length, 3);
  t.notOk(own.some((address) => ['192.0.2.0', '192.0.2.1', '192.0.2.100', '192.0.2.255'].includes(address)));
  t.equal(picked.filter((address) => address.startsWith('fd00::')).length, 3);
  t.same(new Strays().pick(vips, ['192.0.2.1']), picked, 'the same each time');
});

t.test('a VIP that stands alone, and a network with no room', async (t) => {
  const near = new Strays().pick([vip('192.0.2.100/32')], []);
  t.equal(near.filter((address) => address.startsWith('192.0.2.')).length, 3);
  t.same(new Strays().pick([vip('192.0.2.100/29')], ['192.0.2.97', '192.0.2.98', '192.0.2.99']), []);
});

t.test('who answers for all of them answers for everybody', async (t) => {
  const strays = new Strays();
  const picked = strays.pick([vip('192.0.2.100/24')], []);
  t.same(strays.judge(answer([...picked, '192.0.2.100'], PROXY)), [PROXY]);
  t.same(strays.pick([vip('192.0.2.100/24')], []), picked, 'asked again');
  t.same(strays.judge(answer(['192.0.2.100'], HOST)), [], 'who has the VIP alone is none');
});

t.test('who has some of them is none, and others are asked for next', async (t) => {
  const strays = new Strays();
  const picked = strays.pick([vip('192.0.2.100/24')], []);
  t.same(strays.judge([...answer(picked.slice(0, 2), PROXY), ...answer(picked.slice(2), HOST)]), []);
  const next = strays.pick([vip('192.0.2.100/24')], []);
  t.notSame(next, picked);
  t.same(strays.judge(answer(next, PROXY)), [PROXY]);
});

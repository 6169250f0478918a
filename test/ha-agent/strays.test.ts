import t from 'tap';
import type { VipAnswer } from '../../ha-agent/election-types.ts';
import { Strays } from '../../ha-agent/strays.ts';
import { vip } from './vips.ts';

const PROXY = '02:00:00:00:00:09';
const HOST = '02:00:00:00:00:08';

const answer = (addresses: readonly string[], by: string) => addresses.map((address) => ({ address, by }));

t.test('three addresses of the network of the VIPs that nobody is known to have', async (t) => {
  const vips = [vip('192.0.2.100/24'), vip('192.0.2.101/24', 'eth2'), vip('fd00::100/64')];
  const picked = new Strays().pick(vips, ['192.0.2.1']).flat();
  t.equal(picked.length, 6);
  t.equal(new Set(picked).size, 6);
  const own = picked.filter((address) => /^192\.0\.2\.\d+$/.test(address));
  t.equal(own.length, 3);
  t.notOk(own.some((address) => ['192.0.2.0', '192.0.2.1', '192.0.2.100', '192.0.2.255'].includes(address)));
  t.equal(picked.filter((address) => address.startsWith('fd00::')).length, 3);
  t.same(new Strays().pick(vips, ['192.0.2.1']).flat(), picked, 'the same each time');
});

t.test('a VIP that stands alone, and a network with no room', async (t) => {
  const near = new Strays().pick([vip('192.0.2.100/32')], []).flat();
  t.equal(near.filter((address) => address.startsWith('192.0.2.')).length, 3);
  t.same(new Strays().pick([vip('192.0.2.100/29')], ['192.0.2.97', '192.0.2.98', '192.0.2.99']), []);
});

/** One network, its strays asked for again and again. */
function network() {
  const strays = new Strays();
  const pick = () => strays.pick([vip('192.0.2.100/24')], []);
  return {
    pick: () => pick().flat(),
    /** @param answers to a question about what is picked now */
    judge: (now: number, ...answers: VipAnswer[]) => strays.judge(pick(), answers, now),
  };
}

t.test('who answers for all of them answers for everybody', async (t) => {
  const { pick, judge } = network();
  const picked = pick();
  t.same(judge(0, ...answer([...picked, '192.0.2.100'], PROXY)), [PROXY]);
  t.same(pick(), picked, 'asked again');
  t.same(judge(60_000, ...answer(['192.0.2.100'], HOST)), [], 'who has the VIP alone is none');
});

t.test('so does one that answers late: one now, the others after later questions', async (t) => {
  const { pick, judge } = network();
  const picked = pick();
  const [one, two, three] = picked as [string, string, string];
  t.same(judge(0, ...answer([two], PROXY)), []);
  t.same(judge(270, ...answer([three, two], PROXY)), []);
  t.same(judge(540), [], 'no answer');
  t.same(pick(), picked, 'the same are asked for all the time');
  t.same(judge(810, ...answer([one], PROXY)), [PROXY]);
  t.same(judge(5_000), [PROXY], 'for a while');
  t.same(judge(20_000, ...answer([one], PROXY)), [], 'not for ever');
});

t.test('two of them are known by what adds up', async (t) => {
  const { pick, judge } = network();
  const [one, two, three] = pick() as [string, string, string];
  const other = '02:00:00:00:00:0a';
  judge(0, ...answer([one, two], PROXY), ...answer([three], other));
  t.same(judge(270, ...answer([one, two], other), ...answer([three], PROXY)).toSorted(), [PROXY, other]);
});

t.test('who has some of them is none, and others are asked for in time', async (t) => {
  const { pick, judge } = network();
  const picked = pick();
  const answers = [...answer(picked.slice(0, 2), PROXY), ...answer(picked.slice(2), HOST)];
  t.same(judge(0, ...answers), []);
  t.same(judge(1_400, ...answers), []);
  t.same(pick(), picked, 'the rest may be late');
  t.same(judge(1_600, ...answers), []);
  const next = pick();
  t.notSame(next, picked);
  t.same(judge(1_700, ...answer(next, PROXY)), [PROXY]);
});

t.test('an answer of long ago is no reason to ask for others', async (t) => {
  const { pick, judge } = network();
  const picked = pick();
  judge(0, ...answer(picked.slice(0, 1), PROXY));
  judge(60_000, ...answer(picked.slice(1, 2), PROXY));
  t.same(pick(), picked);
});

t.test('whoever answers by many names is not remembered by all of them', async (t) => {
  const { pick, judge } = network();
  const picked = pick();
  for (let i = 0; i < 1_000; i++) judge(i, ...answer(picked.slice(0, 2), `02:00:00:00:${i >> 8}:${i & 255}`));
  t.same(judge(1_000, ...answer(picked.slice(2), '02:00:00:00:0:0')), [], 'the oldest is forgotten');
});

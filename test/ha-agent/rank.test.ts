import t from 'tap';
import { type Claim, compareActives, compareAddresses, compareCandidates } from '../../ha-agent/rank.ts';

const CLAIM: Claim = { epoch: 1, servedMs: 0, healthy: true, priority: 100, address: '10.0.0.1' };

t.test('addresses compare as numbers', (t) => {
  const ascending = ['10.0.0.9', '10.0.0.10', '192.168.0.1', '::1', 'fd00::9', 'fd00::10', 'fd00:1::'];
  for (const [i, a] of ascending.entries())
    for (const [j, b] of ascending.entries())
      t.equal(compareAddresses(a, b), Math.sign(i - j), `${a} against ${b}`);
  t.equal(compareAddresses('::ffff:10.0.0.1', '::ffff:a00:1'), 0);
  t.end();
});

t.test('candidates: health, then priority, then address', (t) => {
  t.ok(compareCandidates(CLAIM, { ...CLAIM, healthy: false, priority: 200 }) > 0);
  t.ok(compareCandidates(CLAIM, { ...CLAIM, priority: 99, address: '10.0.0.2' }) > 0);
  t.ok(compareCandidates(CLAIM, { ...CLAIM, address: '10.0.0.2' }) < 0);
  t.end();
});

t.test('actives in one epoch: who has served clearly longer, before the priority', (t) => {
  const server = { ...CLAIM, servedMs: 5_000 };
  t.ok(compareActives(server, { ...CLAIM, priority: 200 }) > 0);
  t.ok(compareActives({ ...CLAIM, priority: 200 }, server) < 0);
  t.ok(compareActives({ ...CLAIM, epoch: 2 }, server) > 0, 'the later epoch knew of more');
  t.ok(compareActives({ ...CLAIM, servedMs: 900 }, { ...CLAIM, priority: 200 }) < 0, 'about as long');
  t.end();
});

t.test('actives: epoch, then priority, then address; health does not count', (t) => {
  t.ok(compareActives({ ...CLAIM, epoch: 2 }, { ...CLAIM, priority: 200 }) > 0);
  t.ok(compareActives({ ...CLAIM, priority: 101, healthy: false }, CLAIM) > 0);
  t.ok(compareActives(CLAIM, { ...CLAIM, address: '10.0.0.2' }) < 0);
  t.end();
});

import t from 'tap';
import { forwardable, forwardRules } from '../../ha-agent/forward-rules.ts';
import { vip } from './vips.ts';

const VIPS = [vip('192.0.2.100/24'), vip('192.0.2.101/24'), vip('fd00::100/64')];

t.test("only VIPs of the family of the peer's address can be forwarded", (t) => {
  t.same(
    forwardable(VIPS, '192.0.2.2').map(({ address }) => address),
    ['192.0.2.100', '192.0.2.101'],
  );
  t.same(
    forwardable(VIPS, 'fd00::2').map(({ address }) => address),
    ['fd00::100'],
  );
  t.end();
});

t.test('flows that the kernel balances are looked at only where there may be some', (t) => {
  t.notMatch(forwardRules('blue', VIPS.slice(0, 1), '192.0.2.2', false), /\bct\b/);
  t.match(
    forwardRules('blue', VIPS.slice(0, 1), '192.0.2.2', true),
    /chain strangers {\s+ct status dnat accept/,
  );
  t.end();
});

t.test('the rules name the VIPs, the peer and nobody else', (t) => {
  const rules = forwardRules('blue', VIPS.slice(0, 2), '192.0.2.2', false);
  t.match(rules, 'ip daddr { 192.0.2.100, 192.0.2.101 } meta l4proto tcp jump strangers');
  t.match(rules, 'socket transparent 0 dup to 192.0.2.2 drop');
  t.match(forwardRules('blue', VIPS.slice(2), 'fd00::2', false), 'ip6 daddr { fd00::100 }');
  t.end();
});

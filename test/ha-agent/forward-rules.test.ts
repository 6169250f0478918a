import t from 'tap';
import type { VipConfig } from '../../common/model.ts';
import { forwardable, forwardRules } from '../../ha-agent/forward-rules.ts';

const VIPS: readonly VipConfig[] = [
  { address: '192.0.2.100', prefix: 24, family: 4, interface: 'eth1' },
  { address: '192.0.2.101', prefix: 24, family: 4, interface: 'eth1' },
  { address: 'fd00::100', prefix: 64, family: 6, interface: 'eth1' },
];

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

t.test('the rules name the VIPs, the peer and nobody else', (t) => {
  const rules = forwardRules(VIPS.slice(0, 2), '192.0.2.2');
  t.match(rules, 'ip daddr { 192.0.2.100, 192.0.2.101 } meta l4proto tcp jump strangers');
  t.match(rules, 'socket transparent 0 dup to 192.0.2.2 drop');
  t.match(forwardRules(VIPS.slice(2), 'fd00::2'), 'ip6 daddr { fd00::100 }');
  t.end();
});

import t from 'tap';
import type { VipConfig } from '../../common/model.ts';
import { SecondChance, type SecondChanceHost } from '../../ha-agent/second-chance.ts';

const IPV4: VipConfig = {
  ...{ address: '192.0.2.100', prefix: 24, family: 4, interface: 'eth1', prefixRoute: true },
  ...{ provider: 'interface', command: [] },
};
const IPV6: VipConfig = { ...IPV4, address: 'fd84::100', prefix: 64, family: 6 };
/** Nothing but the address is looked at before `find`. */
const HOST = { peerAddress: '192.0.2.2' } as unknown as SecondChanceHost;

t.test('a VIP whose connections break by its kind is a note, and nothing to mend', (t) => {
  const both = new SecondChance('default', [IPV4, IPV6], HOST);
  t.match(both.notes, [/^a switchover breaks open connections of fd84::100: only VIPs of /]);
  t.match(both.warnings, [/: not known yet$/], 'what the other VIP lacks is still to be found out');
  const alone = new SecondChance('default', [IPV6], HOST);
  t.match(alone.notes, [/^a switchover breaks open connections of fd84::100: /]);
  t.same(alone.warnings, []);
  t.same(new SecondChance('default', [IPV4], HOST).notes, []);
  t.end();
});

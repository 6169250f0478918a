import t from 'tap';
import type { VipConfig } from '../../common/model.ts';
import { LinuxGroup, type LinuxHost } from '../../ha-agent/linux-group.ts';
import { cidr } from '../../ha-agent/vip-lines.ts';
import { group, vip } from './vips.ts';

const V4 = vip('192.0.2.100/24');
const V6 = vip('fd00::100/64');

/** A group on a host that has every VIP except `refused`. */
function scene(vips: readonly VipConfig[]) {
  const refused = new Set<string>();
  const troubles: string[] = [];
  let addresses: { local: string; prefixlen: number }[] = [];
  const list = (lines: readonly string[]) => ({
    objects: lines.some((line) => line.startsWith('addr show'))
      ? [{ ifname: 'eth1', addr_info: addresses }]
      : [],
    errors: [...refused].map((name) => `${name}: IPv6 is disabled on this device`),
    complete: true,
  });
  const relay = {
    renew: async (lines: readonly string[]) => {
      addresses = vips
        .filter((it) => !refused.has(cidr(it)))
        .map(({ address, prefix }) => ({ local: address, prefixlen: prefix }));
      return list(lines);
    },
    change: async (lines: readonly string[]) => {
      addresses = [];
      return list(lines);
    },
    refresh() {},
  };
  const host = {
    relay,
    announcer: { learn() {}, announce() {} },
    quietArp: { release() {} },
    routes: {},
    peerAddress: '192.0.2.2',
    knowsFlows: () => false,
    onTrouble: (text: string) => void troubles.push(text),
    onAbility() {},
    onTold() {},
    onFormerRoutes() {},
  };
  const network = new LinuxGroup(group('default', vips), host as unknown as LinuxHost);
  t.teardown(() => network.close());
  return { network, refused, troubles };
}

t.test('a VIP that this host cannot have any more is a fault once; then the others are served', async (t) => {
  const { network, refused, troubles } = scene([V4, V6]);
  await network.addVips();
  refused.add('fd00::100/64');
  await t.rejects(network.renewVips(), {
    code: 'VIP_FAILED',
    message: /^fd00::100\/64 dev eth1 is not there/,
  });
  await network.removeVips();
  await network.addVips();
  await network.renewVips();
  t.strictSame([...network.held], ['192.0.2.100/24'], 'the peer could not do better');
  t.match(
    troubles.at(-1),
    /^fd00::100\/64 dev eth1 is left aside, tried again and again: .*IPv6 is disabled/,
  );
  t.match(network.warnings.at(-1), /^fd00::100\/64 dev eth1 is left aside/);
  refused.clear();
  await network.renewVips();
  t.equal(network.held.size, 2, 'it is taken as soon as it can be had');
  t.notMatch(network.warnings, [/left aside/]);
  refused.add('fd00::100/64');
  await t.rejects(network.renewVips(), { code: 'VIP_FAILED' }, 'and its next loss counts');
});

t.test('a node that has lost all is in fault each time', async (t) => {
  const { network, refused } = scene([V4]);
  await network.addVips();
  refused.add('192.0.2.100/24');
  for (let i = 0; i < 2; i++) {
    await t.rejects(network.addVips(), { code: 'VIP_FAILED' });
    await network.removeVips();
  }
});

import t from 'tap';
import type { VipRoute } from '../../common/model.ts';
import { formerRoute } from '../../ha-agent/former-route.ts';

const route = (to: string, table?: number): VipRoute => ({
  ...{ to, family: 4, via: undefined, interface: 'eth1', src: undefined, table },
});

const CASES: readonly (readonly [name: string, shown: Record<string, unknown>, line: string | undefined])[] =
  [
    [
      'of a DHCP client',
      {
        ...{ dst: 'default', gateway: '10.9.0.9', dev: 'eth1', protocol: 'dhcp', prefsrc: '10.9.0.1' },
        ...{ metric: 100, flags: ['onlink'], metrics: [{ mtu: 1400 }] },
      },
      'route add 0.0.0.0/0 via 10.9.0.9 dev eth1 onlink proto 16 src 10.9.0.1 metric 100 mtu 1400',
    ],
    [
      'with several gateways',
      {
        dst: 'default',
        nexthops: [
          { gateway: '10.9.0.8', dev: 'eth1', weight: 2, flags: [] },
          { via: { family: 'inet6', host: 'fd00::7' }, dev: 'eth2', weight: 1, flags: [] },
        ],
      },
      'route add 0.0.0.0/0 nexthop via 10.9.0.8 dev eth1 weight 2 nexthop via inet6 fd00::7 dev eth2 weight 1',
    ],
    [
      'with a protocol without a name',
      { dst: 'default', dev: 'eth1', protocol: '201' },
      'route add 0.0.0.0/0 dev eth1 proto 201',
    ],
    ['of this agent', { dst: 'default', dev: 'eth1', protocol: '77' }, undefined],
    ['of the kernel', { dst: 'default', dev: 'eth1', protocol: 'kernel' }, undefined],
    [
      'with words that are none',
      { dst: 'default', gateway: '1; x', dev: 'a\nb', protocol: '$' },
      'route add 0.0.0.0/0',
    ],
  ];

for (const [name, shown, line] of CASES)
  t.test(`a route of the host ${name}`, async (t) => {
    t.equal(formerRoute(shown, route('0.0.0.0/0')), line);
  });

t.test('in another table', async (t) => {
  const shown = { dst: '10.8.0.0/16', gateway: '10.9.0.9', dev: 'eth1', flags: [] };
  t.equal(
    formerRoute(shown, route('10.8.0.0/16', 77)),
    'route add 10.8.0.0/16 via 10.9.0.9 dev eth1 table 77',
  );
});

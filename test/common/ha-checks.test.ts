import t from 'tap';
import { parseConfig } from '../../common/config.ts';
import { PAIR, problemsIn } from './config-helper.ts';

/** The pair with this content of `ha`. */
const pair = (ha: string) => PAIR.replace(/^ha:.*$/m, `ha: { ${ha} }`);
const ha = (content: string) => parseConfig(pair(content), '/f', { node: 'lb1' }).ha!;

const BLUE = 'blue: { vips: [{ address: 192.0.2.100/24, interface: eth1 }]';
const GREEN = 'green: { vips: [{ address: 192.0.2.101/24, interface: eth2 }]';

t.test('groups: by name, each with its VIPs and priorities', async (t) => {
  const { groups, vips, track, paths } = ha(
    `preempt: { delay: 1s }, groups: { ${GREEN}, priority: { lb2: 200 }, preempt: false }, ${BLUE} } }`,
  );
  t.match(groups, [
    { name: 'blue', priority: { lb1: 100, lb2: 100 }, preemptDelayMs: 1000 },
    { name: 'green', priority: { lb1: 100, lb2: 200 }, preemptDelayMs: undefined },
  ]);
  t.strictSame(
    vips.map(({ address }) => address),
    ['192.0.2.100', '192.0.2.101'],
  );
  t.strictSame(track.interfaces, ['eth1', 'eth2']);
  t.match(paths[0], { interface: 'eth1' });
});

t.test('a witness is asked over the interface of the VIP in whose network it is', async (t) => {
  const two = `vips: [{ address: 192.0.2.100/24, interface: eth1 }, { address: 198.51.100.9/24, interface: eth2 }]`;
  t.strictSame(ha(two).witness, undefined);
  t.strictSame(ha(`${two}, witness: [198.51.100.1, 203.0.113.1, "fd00::1"]`).witness, {
    addresses: [
      { address: '198.51.100.1', interface: 'eth2', isNeighbour: true },
      { address: '203.0.113.1', interface: 'eth1', isNeighbour: false },
      { address: 'fd00::1', interface: 'eth1', isNeighbour: false },
    ],
    intervalMs: 1000,
    timeoutMs: 500,
    lease: undefined,
  });
  t.match(ha(`${two}, witness: { addresses: [198.51.100.1], interval: 2s, timeout: 100ms }`).witness, {
    intervalMs: 2000,
    timeoutMs: 100,
  });
  t.match(ha(`${two}, witness: { lease: "192.0.2.9:7473" }`).witness, {
    addresses: [],
    lease: { host: '192.0.2.9', port: 7473 },
  });
});

t.test('VIPs of every kind', async (t) => {
  const { vips, track, paths } = ha(`vips: [
    { address: 192.0.2.7/24, provider: lo },
    { address: 192.0.2.8/32, interface: eth1, prefix_route: false },
    { address: "fd00::9/64", interface: eth1, provider: exec, command: [/bin/move, --zone, a] }]`);
  t.match(vips, [
    { address: '192.0.2.7', prefix: 32, interface: 'lo', provider: 'lo' },
    { prefix: 32, prefixRoute: false, provider: 'interface', command: [] },
    { family: 6, provider: 'exec', command: ['/bin/move', '--zone', 'a'] },
  ]);
  t.strictSame(track.interfaces, ['eth1'], 'lo has no cable');
  t.equal(paths[0]!.type, 'multicast');
  t.strictSame(
    ha('vips: [{ address: 192.0.2.7, provider: lo }]').paths.map(({ type }) => type),
    ['unicast'],
    'no multicast where there is no interface for it',
  );
});

t.test('routes', async (t) => {
  const { groups } = ha(`vips: [{ address: 192.0.2.100/24, interface: eth1 }],
    routes: [{ to: 10.9.0.0/16, via: 192.0.2.1, interface: eth1, src: 192.0.2.100, table: 100 },
             { to: "fd09::/32", interface: eth1 }]`);
  t.strictSame(groups[0]!.routes, [
    {
      ...{ to: '10.9.0.0/16', family: 4, via: '192.0.2.1', interface: 'eth1' },
      ...{ src: '192.0.2.100', table: 100 },
    },
    { to: 'fd09::/32', family: 6, via: undefined, interface: 'eth1', src: undefined, table: undefined },
  ]);
});

const VIPS = 'vips: [{ address: 192.0.2.100/24, interface: eth1 }]';
const many = (n: number, text: (i: number) => string) =>
  Array.from({ length: n }, (_, i) => text(i)).join(', ');

for (const [name, content, expected] of [
  ['neither', 'preempt: false', 'ha: has neither "vips" nor "groups": what should move?'],
  ['both', `${VIPS}, groups: { ${GREEN} } }`, 'ha.vips: is for a config without "groups"'],
  [
    'priority beside groups',
    `priority: { lb1: 7 }, groups: { ${BLUE} } }`,
    'ha.priority: is for a config without',
  ],
  ['routes beside groups', `routes: [], groups: { ${BLUE} } }`, 'ha.routes: is for a config without'],
  ['no group', 'groups: {}', 'ha.groups: found no group'],
  [
    'a group with the name of all',
    `groups: { ${BLUE.replace('blue', 'all')} } }`,
    'ha.groups.all: no group can',
  ],
  [
    'too many groups',
    `groups: { ${many(17, (i) => `g${i}: { vips: [{ address: 192.0.2.${100 + i}/24, interface: e }] }`)} }`,
    'found 17 groups, expected at most 16',
  ],
  [
    'too many VIPs',
    `groups: { ${many(5, (g) => `g${g}: { vips: [${many(13, (i) => `{ address: 10.${g}.1.${i + 1}/24, interface: e }`)}] }`)} }`,
    'found 65 virtual addresses, expected at most 64',
  ],
  [
    'a VIP in two groups',
    `groups: { ${BLUE} }, ${GREEN.replace('.101', '.100')} } }`,
    'ha.groups.green.vips.0.address: 192.0.2.100 is listed twice (ha.groups.blue)',
  ],
  [
    'a node of a group that does not exist',
    `groups: { ${BLUE}, priority: { lb3: 1 } } }`,
    'ha.groups.blue.priority.lb3: there is no node "lb3"; did you mean',
  ],
  [
    'a VIP of this host alone',
    'vips: [{ address: 127.0.0.1/8, interface: eth1 }]',
    'ha.vips.0.address: found 127.0.0.1, of 127.0.0.0/8, loopback; expected an address that other hosts can reach',
  ],
  [
    'an IPv6 VIP of this host alone',
    'vips: [{ address: "::1/128", interface: eth1 }]',
    'ha.vips.0.address: found ::1, of ::1/128, loopback; expected',
  ],
  [
    'a VIP of this network',
    'vips: [{ address: 0.0.0.1/8, interface: eth1 }]',
    'ha.vips.0.address: found 0.0.0.1, of 0.0.0.0/8, this network; expected',
  ],
  [
    'the broadcast address as a VIP',
    'vips: [{ address: 255.255.255.255/32, interface: eth1 }]',
    'ha.vips.0.address: found 255.255.255.255, of 240.0.0.0/4, reserved; expected',
  ],
  [
    'a reserved VIP',
    'vips: [{ address: 240.0.0.1/24, interface: eth1 }]',
    'ha.vips.0.address: found 240.0.0.1, of 240.0.0.0/4, reserved; expected',
  ],
  [
    'a multicast VIP',
    'vips: [{ address: 224.0.0.1/24, interface: eth1 }]',
    'ha.vips.0.address: found "224.0.0.1/24", expected an IP address with its prefix length',
  ],
  [
    'the broadcast address of a link-local network as a VIP',
    'vips: [{ address: 169.254.255.255/16, interface: eth1 }]',
    'ha.vips.0.address: 169.254.255.255/16 is the network or broadcast address',
  ],
  [
    'a VIP that is a backend',
    'vips: [{ address: 10.0.0.1/24, interface: eth1 }]',
    'pools.web.backends.s1.address: found 10.0.0.1, which is a VIP (ha.vips.0): lbd would be its own backend; expected the address of a server',
  ],
  [
    'no interface',
    'vips: [{ address: 192.0.2.100/24 }]',
    'ha.vips.0.interface: missing, expected the name of',
  ],
  [
    'lo on an interface',
    'vips: [{ address: 192.0.2.100, interface: eth1, provider: lo }]',
    'ha.vips.0.interface: found eth1, but provider lo keeps the address on lo',
  ],
  [
    'a prefix route on lo',
    'vips: [{ address: 192.0.2.100, provider: lo, prefix_route: false }]',
    'ha.vips.0.prefix_route: is for provider interface and exec only',
  ],
  [
    'no command',
    'vips: [{ address: 192.0.2.100/24, interface: eth1, provider: exec }]',
    'ha.vips.0.command: missing, expected a list',
  ],
  [
    'a command for nobody',
    'vips: [{ address: 192.0.2.100/24, interface: eth1, command: [/x] }]',
    'ha.vips.0.command: is for provider exec only',
  ],
  [
    'a relative command',
    'vips: [{ address: 192.0.2.100/24, interface: eth1, provider: exec, command: [move] }]',
    'ha.vips.0.command.0: expected the absolute path of an executable',
  ],
  [
    'a witness that is a node',
    `${VIPS}, witness: [192.0.2.1]`,
    'ha.witness.0: 192.0.2.1 is node "lb1"; a witness must be a third party',
  ],
  [
    'a witness that is the VIP',
    `${VIPS}, witness: { addresses: [192.0.2.100] }`,
    'ha.witness.addresses.0: 192.0.2.100 is a VIP; a witness must be a third party',
  ],
  [
    'a witness that grants leases and is a node',
    `${VIPS}, witness: { lease: "192.0.2.1:7473" }`,
    'ha.witness.lease: 192.0.2.1 is node "lb1"; a witness must be a third party',
  ],
  [
    'a witness of the other IP version',
    `${VIPS}, witness: { lease: "[fd00::1]:7473" }`,
    'ha.witness.lease: found fd00::1, expected the same IP version as the nodes have',
  ],
  [
    'a dead time that is longer than a witness grants',
    `heartbeat: { interval: 1s, dead_after: 6 }, ${VIPS}, witness: { lease: "192.0.2.9:7473" }`,
    'ha.witness.lease: a lease would last nearly as long as the dead time, 6 s; a witness grants at most 5 s: make interval × dead_after 5s at most',
  ],
  [
    'a witness of no kind',
    `${VIPS}, witness: {}`,
    'ha.witness: has neither "addresses" nor "lease": who is the witness?',
  ],
  [
    'an interval without addresses',
    `${VIPS}, witness: { lease: "192.0.2.9:7473", interval: 2s }`,
    'ha.witness.interval: is for "addresses" only',
  ],
  [
    'multicast without an interface',
    'paths: [{ type: multicast }], vips: [{ address: 192.0.2.100, provider: lo }]',
    'ha.paths.0.interface: missing, and no VIP is on an interface that could serve',
  ],
  [
    'a route of two families',
    `${VIPS}, routes: [{ to: 10.9.0.0/16, via: "fd00::1", interface: eth1 }]`,
    'ha.routes.0.via: found fd00::1, expected the same IP version as 10.9.0.0/16 has',
  ],
  [
    'a route to more than its prefix',
    `${VIPS}, routes: [{ to: 10.9.1.0/16, interface: eth1 }]`,
    'ha.routes.0.to: found "10.9.1.0/16", expected a network with its prefix length',
  ],
] as const)
  t.test(`refused: ${name}`, async (t) => {
    const found = problemsIn(pair(content));
    t.equal(found.length, 1, found.join('\n'));
    t.ok(found[0]?.includes(expected), found.join());
  });

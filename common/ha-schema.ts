import { z } from 'zod';
import {
  absolutePath,
  duration,
  hostAddress,
  iface,
  integer,
  LONGEST_MS,
  leaseAddress,
  mapping,
  multicastGroup,
  named,
  port,
  routeTarget,
  vipAddress,
  yesNo,
} from './fields.ts';

/** The section `ha` of the config file; what it means is beside each key, see `common/json-schema.ts`. */

const multicastPath = mapping({
  type: z.literal('multicast').describe('`multicast`: heartbeats to a multicast group, on one interface.'),
  group: multicastGroup
    .prefault('239.255.84.1')
    .describe(
      'Multicast group, the same on both nodes. Heartbeats of other clusters are dropped, and counted.',
    ),
  port: port.default(7470).describe('UDP port of a multicast path, the same on both nodes.'),
  interface: iface.optional().meta({
    description: 'Interface on which the group is joined and sent to.',
    'x-default': 'that of the first VIP that is not on `lo`',
  }),
});
const unicastPath = mapping({
  type: z.literal('unicast').describe('`unicast`: heartbeats straight to the address of the other node.'),
  port: port.default(7471).describe('UDP port of a unicast path, the same on both nodes.'),
});

const vips = z
  .array(
    mapping(
      {
        address: vipAddress.meta({
          description:
            'The virtual address and the prefix length of its network. No node may have it as its own, nor another program add it.',
          'x-example': '192.168.56.100/24',
        }),
        interface: iface.optional().meta({
          description:
            'Interface on which the address is while the node is active. Its loss is a fault of the node; see `ha.track.interfaces`.',
          'x-default': 'required, but for provider `lo`',
        }),
        prefix_route: yesNo
          .default(true)
          .describe(
            'Whether the kernel adds a route to the network of the prefix along with the address. Providers `interface` and `exec` only.',
          ),
        provider: z
          .enum(['interface', 'lo', 'exec'])
          .default('interface')
          .describe(
            'How the network learns where the address is. `interface`: by gratuitous ARP, or an unsolicited neighbour advertisement for IPv6. `lo`: the address is on the loopback interface, for a routing daemon that announces it. `exec`: the address is on its interface, and `command` tells the network.',
          ),
        command: z
          .array(z.string({ error: 'a text' }).max(4095, { error: 'a text' }), {
            error: 'a list: an executable and its arguments',
          })
          .min(1, { error: 'an executable' })
          .max(64, { error: 'at most 64 arguments' })
          .optional()
          .meta({
            description:
              'Provider `exec` only: the absolute path of an executable, and its first arguments. It is called with `add ADDRESS` after the address is there and `remove ADDRESS` after it has left, without a shell, for at most 10 s. Three failures of `add` in a row are a fault. It must belong to root, and nobody else may write it.',
            'x-default': 'required for provider `exec`',
            'x-example': '[/usr/local/sbin/move-address, --zone, a]',
          }),
      },
      '{ address: 192.168.56.100/24, interface: eth1 }',
    ),
    { error: 'a list of { address, interface }' },
  )
  .min(1, { error: 'at least one virtual address' })
  .max(64, { error: 'at most 64 virtual addresses' });

const routes = z
  .array(
    mapping({
      to: routeTarget.meta({ description: 'Destination.', 'x-example': '10.9.0.0/16' }),
      via: hostAddress.optional().meta({
        description: 'Gateway, of the same IP version as `to`.',
        'x-default': 'none: the destination is on the link',
      }),
      interface: iface.describe('Interface that the route leads out of.'),
      src: hostAddress.optional().meta({
        description:
          "Source address of this host's own packets on that route, of the same IP version as `to`.",
        'x-default': 'the kernel picks one',
      }),
      table: integer(1, 4_294_967_295)
        .optional()
        .meta({ description: 'Number of the routing table.', 'x-default': 'the main table' }),
    }),
    { error: 'a list of { to, via, interface }' },
  )
  .max(64, { error: 'at most 64 routes' });

const priority = named(integer(1, 254));
const preempt = z.union(
  [
    z.literal(false),
    mapping({
      delay: duration(0, 3_600_000).describe('How long the better node must have been ready before.'),
    }),
  ],
  { error: 'false or { delay: 30s }' },
);

// Of `ha`, where there is one group, and of each group.
const VIPS = 'Virtual addresses. The active node has all of them, the other one has none.';
const ROUTES =
  'Routes that are on the active node only: added after the VIPs, removed before them. One that cannot be added is a warning, no fault.';
const PRIORITY =
  'By node: the higher one is active where both could be and neither is, and with `preempt` takes the role back. 100 for a node that is not named.';
const PREEMPT =
  'Whether the node with the higher priority takes the role back when it is ready again: by a planned switchover, once its backends are healthy, its sessions in step and `delay` over. Not after an operator gave the role away by `lbctl switchover`.';

const witnessAddresses = z
  .array(hostAddress, { error: 'a list of IP addresses' })
  .min(1, { error: 'at least one address' })
  .max(8, { error: 'at most 8 addresses' });
const witness = z.union(
  [
    witnessAddresses.transform((addresses) => ({
      addresses,
      lease: undefined,
      interval: 1000,
      timeout: 500,
    })),
    mapping({
      addresses: witnessAddresses.optional().meta({
        description:
          'Third parties, such as gateways. A node that hears neither its peer nor any of these is the one that is cut off, and in fault. Neighbours are asked by ARP, others by ping, over the interface of the VIPs.',
        'x-default': 'none; `lease` is required then',
        'x-example': '[192.168.56.1, 192.168.56.2]',
      }),
      lease: leaseAddress.optional().meta({
        description:
          'Where a witness of Tandem grants leases: of two nodes that do not hear each other only the one with the lease serves. `interval` × `dead_after` may be 5s at most then.',
        'x-default': 'none; `addresses` is required then',
        'x-example': '"192.168.56.3:7473"',
      }),
      interval: duration(100, 3_600_000).prefault('1s').describe('Time between two checks of `addresses`.'),
      timeout: duration(10, 60_000)
        .prefault('500ms')
        .describe('How long an answer of one of `addresses` may take.'),
    }),
  ],
  { error: 'a list of IP addresses, or { addresses: […], interval: 1s, timeout: 500ms, lease: IP:PORT }' },
);

const role = (text: string) =>
  absolutePath.optional().meta({
    description: `Executable that is called when the node ${text}, with the role and, where there is more than one, the VIP group as arguments. It may take 30 s; the agent waits for none. It must belong to root, and nobody else may write it.`,
    'x-default': 'none',
  });

/** `ha` */
export const ha = mapping({
  heartbeat: mapping({
    interval: duration(10, 60_000).prefault('100ms').describe('Time between two heartbeats on each path.'),
    dead_after: integer(2, 100)
      .default(3)
      .describe(
        'After so many missed intervals the other node counts as dead. Both nodes go by the longer one of their two dead times (`interval` × `dead_after`).',
      ),
  })
    .prefault({})
    .describe('How fast a dead node is noticed. A machine must never be late by as much as the dead time.'),
  paths: z
    .array(z.discriminatedUnion('type', [multicastPath, unicastPath], { error: 'multicast or unicast' }), {
      error: 'a list of paths',
    })
    .min(1, { error: 'at least one path' })
    .max(16, { error: 'at most 16 paths' })
    .prefault([{ type: 'multicast' }, { type: 'unicast' }])
    .describe(
      'Ways on which the heartbeats travel, all at once: a node is silent when nothing comes on any of them. Besides these, heartbeats travel over the session sync.',
    ),
  vips: vips.optional().meta({
    description: VIPS,
    'x-default': 'none; this or `groups` is required',
    'x-example': '[{ address: 192.168.56.100/24, interface: eth1 }]',
  }),
  priority: priority.prefault({}).meta({ description: PRIORITY, 'x-example': '{ lb1: 150, lb2: 100 }' }),
  preempt: preempt.prefault(false).meta({ description: PREEMPT, 'x-example': '{ delay: 30s }' }),
  routes: routes
    .prefault([])
    .meta({ description: ROUTES, 'x-example': '[{ to: 10.9.0.0/16, via: 192.168.56.1, interface: eth1 }]' }),
  groups: named(
    mapping({
      vips: vips.describe(VIPS),
      priority: priority.prefault({}).meta({ description: PRIORITY, 'x-example': '{ lb1: 100, lb2: 150 }' }),
      preempt: preempt.optional().meta({ description: PREEMPT, 'x-default': 'that of `ha`' }),
      routes: routes.prefault([]).describe(ROUTES),
    }),
  )
    .optional()
    .meta({
      description:
        'VIP groups by name, 1 to 16, in the place of `vips`, `priority` and `routes`: each has an election of its own, so that each node can be active for one. No group can be called `all`. 64 VIPs over all groups.',
      'x-default': 'one group of the name `default`, with `vips`',
    }),
  garp: mapping({
    count: integer(1, 100)
      .default(5)
      .describe('So often the VIPs are announced after a takeover, every 200 ms.'),
    refresh: duration(1000, LONGEST_MS)
      .prefault('60s')
      .describe(
        'Time between two announcements after that. While the other node is not heard, every 5 s at the latest.',
      ),
  })
    .prefault({})
    .describe(
      'Announcements of VIPs of provider `interface` to their neighbours: gratuitous ARP, or neighbour advertisements.',
    ),
  track: mapping({
    lbd: yesNo
      .default(true)
      .describe(
        'Whether the node needs its `lbd`: it is in fault without, hands over where only the other node has backends, and preempts only with sessions in step.',
      ),
    interfaces: z.array(iface, { error: 'a list of interface names' }).optional().meta({
      description:
        'Interfaces whose loss (down, no carrier) is a fault. One with VIPs concerns the groups of these, any other one all groups.',
      'x-default': 'the interfaces of all VIPs',
    }),
  })
    .prefault({})
    .describe('What a node must have to be active.'),
  settle: duration(0, 600_000, '; 0s turns it off')
    .prefault('30s')
    .describe(
      'After its start, or a new link, a node that hears nothing at all takes nothing over for so long: as long as the network may hold back frames, as with spanning tree. Any sign that the network works ends it.',
    ),
  witness: witness.optional().meta({
    description: 'Who tells a split from a death. A list is `addresses` alone.',
    'x-default': 'none: a node that does not hear its peer counts as the one that lives',
    'x-example': '[192.168.56.1]',
  }),
  notify: mapping({
    active: role('becomes active'),
    standby: role('becomes the standby'),
    fault: role('comes into fault'),
  })
    .prefault({})
    .describe(
      'Commands that are called at changes of the role. One runs at a time, and of those that wait the latest.',
    ),
});

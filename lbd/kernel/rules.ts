import { formatAddress, maskAddress } from '../../common/ip-words.ts';
import type { KernelBackend, KernelPool, KernelService } from './kernel-service.ts';
import type { NftChain, NftSet, Ruleset } from './ruleset.ts';
import { hasTurns, turnsOf } from './turns.ts';

const ADDRESS_TYPE = { 4: 'ipv4_addr', 6: 'ipv6_addr' } as const;
const IP = { 4: 'ip', 6: 'ip6' } as const;

/**
 * The rules of all kernel frontends.
 *
 * Only the first packet of a connection walks them: `nat` chains see no other, and of TCP only a SYN counts. What lbd's
 * rules do not take goes on to the sockets of the host, where the workers listen. So clients of the loopback addresses,
 * and all clients when somebody removes the table, are served by lbd itself.
 *
 * - `prerouting`, `output`: address and port lead to a pool's chain; the pool's turns lead to the chain of a backend.
 *   When the health of a backend changes, only the places of its pool are exchanged.
 * - `postrouting`: the source address of these flows.
 * - `input`: what is left of them on this host. A new connection to a pool without backends is refused. Segments of a
 *   flow that is not known are dropped while the address has just moved here (`young`): a reset would end the connection,
 *   the client's next try may find the flow.
 * - `forward`: of what passes through, only the segments that end a connection match; so the kernel tells of it.
 *
 * @param tracking how the kernel of this host follows flows
 */
export function rulesOf(
  services: readonly KernelService[],
  pools: readonly KernelPool[],
  tracking = DEFAULT_TRACKING,
): Ruleset {
  const sets = new Map<string, NftSet>();
  const chains = new Map<string, NftChain>(Object.entries(BASE_CHAINS));
  chains.set('closing', { hook: '', rules: closingRules(tracking) });
  const empty = new Set(pools.filter(({ backends }) => !hasTurns(backends)).map(({ name }) => name));
  for (const family of [4, 6] as const) {
    const own = services.filter((service) => service.family === family);
    const keys = (wildcard: boolean, wanted = own) =>
      wanted.filter(({ addresses }) => (addresses.length === 0) === wildcard).flatMap(keysOf);
    const lead = (to: (pool: string) => string, wildcard: boolean, wanted = own) =>
      new Map(keys(wildcard, wanted).map(({ key, pool }) => [key, to(pool)] as const));
    const closed = own.filter(({ pool }) => empty.has(pool));
    const address = ADDRESS_TYPE[family];
    const add = (name: string, definition: string, elements: ReadonlyMap<string, string>) =>
      sets.set(`${name}${family}`, { kind: definition.includes(':') ? 'map' : 'set', definition, elements });
    const toPool = (pool: string) => `goto ${poolChain(pool)}`;
    const full = `type ${address} . inet_proto . inet_service : verdict;`;
    const short = 'type inet_proto . inet_service : verdict;';
    add('frontends', full, lead(toPool, false));
    add('everywhere', short, lead(toPool, true));
    add(
      'closed',
      full,
      lead(() => 'goto refuse', false, closed),
    );
    add(
      'closed_everywhere',
      short,
      lead(() => 'goto refuse', true, closed),
    );
    add(
      'known',
      full,
      lead(() => 'goto unknown', false),
    );
    const backends = own.flatMap((service) =>
      service.backends.map((it) => `${it.address} . ${service.protocol} . ${it.port}`),
    );
    add(
      'backends',
      `type ${address} . inet_proto . inet_service;`,
      new Map(backends.map((key) => [key, ''])),
    );
    sets.set(`young${family}`, {
      kind: 'set',
      definition: `type ${address}; flags timeout;`,
      elements: undefined,
    });
  }
  for (const pool of pools) addPool(pool, sets, chains);
  chains.set('sources', { hook: '', rules: services.flatMap(sourceRule) });
  return { sets, chains };
}

/** Without `fin` and `rst`, and with `syn` alone: the segment that opens a connection. */
const OPENS = 'tcp flags & (fin | syn | rst | ack) == syn';
/** Bits of `enum ip_conntrack_events` of the kernel: changes of a connection that it tells to who listens. */
const EVENT = { destroy: 0x4, assured: 0x10, state: 0x20, mark: 0x80 } as const;
/**
 * That it is assured, so after the handshake; another mark; its end. Each message costs as much as two packets; the steps
 * of the handshake would be as many again, and nobody needs them.
 */
const QUIET_EVENTS = EVENT.destroy | EVENT.assured | EVENT.mark;

/** How the kernel follows flows, by settings of the host (`net.netfilter.nf_conntrack_…`). */
export interface Tracking {
  /** `tcp_timeout_last_ack`, `tcp_timeout_fin_wait` and `tcp_timeout_close_wait`, in seconds. */
  readonly lastAckS: number;
  readonly finWaitS: number;
  readonly closeWaitS: number;
  /** `acct`: it counts bytes, and tells them when a flow leaves its table. */
  readonly countsBytes: boolean;
}

export const DEFAULT_TRACKING: Tracking = {
  lastAckS: 30,
  finWaitS: 120,
  closeWaitS: 60,
  countsBytes: false,
};

/**
 * From the second FIN or the first RST on the kernel tells the state, and with it that both sides have closed. It does not
 * match on a state, but each one has a life of its own: that of LAST_ACK, which the second FIN leads to, is shorter than
 * those after the first. That the flow leaves the table, a minute or two later, need not be told then, unless bytes count
 * or where it is not sure that this FIN was the second one.
 */
function closingRules({ lastAckS, finWaitS, closeWaitS, countsBytes }: Tracking): string[] {
  const isSure = lastAckS < Math.min(finWaitS, closeWaitS);
  const events = EVENT.state | (countsBytes || !isSure ? EVENT.destroy : 0);
  return [
    `tcp flags & rst != 0 ct event set ${events}`,
    `ct expiration <= ${lastAckS}s ct event set ${events}`,
  ];
}

/** Before the rules of others, such as a container engine's: the first translation counts. */
const BEFORE = 5;
/** NF_IP_PRI_NAT_DST: the name is not known at the output hook. */
const DSTNAT = -100;

const BASE_CHAINS: Readonly<Record<string, NftChain>> = {
  prerouting: {
    hook: `type nat hook prerouting priority dstnat - ${BEFORE}; policy accept;`,
    rules: ['fib daddr type local jump entry'],
  },
  output: {
    hook: `type nat hook output priority ${DSTNAT - BEFORE}; policy accept;`,
    // A flow from a loopback address cannot leave the host.
    rules: ['ip daddr 127.0.0.0/8 return', 'ip6 daddr ::1 return', 'fib daddr type local jump entry'],
  },
  entry: {
    hook: '',
    rules: [
      'meta l4proto tcp tcp flags & (fin | syn | rst | ack) != syn return',
      ...(['frontends', 'everywhere'] as const).flatMap((name) => [leadRule(name, 4), leadRule(name, 6)]),
    ],
  },
  postrouting: {
    hook: `type nat hook postrouting priority srcnat - ${BEFORE}; policy accept;`,
    rules: ['ct status dnat jump sources'],
  },
  forward: {
    hook: 'type filter hook forward priority filter - 10; policy accept;',
    // The one rule that every segment meets.
    rules: ['tcp flags & (fin | rst) != 0 ct status dnat jump closing'],
  },
  input: {
    hook: 'type filter hook input priority filter - 10; policy accept;',
    rules: [
      'ct state established,related accept',
      leadRule('closed', 4),
      leadRule('closed', 6),
      leadRule('closed_everywhere', 4),
      leadRule('closed_everywhere', 6),
      // Not of the flow that it claims to be: a reset to the backend would end that one.
      'ct state invalid ip saddr . meta l4proto . th sport @backends4 goto unknown',
      'ct state invalid ip6 saddr . meta l4proto . th sport @backends6 goto unknown',
      'meta l4proto tcp ip daddr @young4 jump young',
      'meta l4proto tcp ip6 daddr @young6 jump young',
    ],
  },
  young: {
    hook: '',
    rules: [
      leadRule('known', 4),
      leadRule('known', 6),
      'ip saddr . meta l4proto . th sport @backends4 goto unknown',
      'ip6 saddr . meta l4proto . th sport @backends6 goto unknown',
    ],
  },
  unknown: {
    hook: '',
    rules: [
      `${OPENS} return`,
      // A connection of lbd itself, or of another process of this host.
      'meta l4proto tcp socket wildcard 0 return',
      'meta l4proto tcp drop',
    ],
  },
  refuse: {
    hook: '',
    rules: [
      `meta l4proto tcp ${OPENS} reject with tcp reset`,
      'meta l4proto udp reject with icmpx type port-unreachable',
    ],
  },
};

function leadRule(name: string, family: 4 | 6): string {
  return name.endsWith('everywhere')
    ? `meta nfproto ipv${family} meta l4proto . th dport vmap @${name}${family}`
    : `${IP[family]} daddr . meta l4proto . th dport vmap @${name}${family}`;
}

/** A key for each address and port of a service. */
function keysOf({ addresses, ports, protocol, pool }: KernelService): { key: string; pool: string }[] {
  const all = ports.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, i) => first + i));
  return (addresses.length === 0 ? [''] : addresses.map((address) => `${address} . `)).flatMap((address) =>
    all.map((port) => ({ key: `${address}${protocol} . ${port}`, pool })),
  );
}

/** Entries of the sticky clients of one backend; beyond, the newest are not remembered. */
const MAX_STUCK = 65_536;

function addPool(pool: KernelPool, sets: Map<string, NftSet>, chains: Map<string, NftChain>): void {
  const { name, family, backends, stick } = pool;
  const ip = IP[family];
  const { expression, places } = turnsOf(pool);
  const slots = `places/${name}`;
  const elements = new Map(
    places.map((index, place) => [`${place}`, `goto ${backendChain(name, backends[index]!)}`]),
  );
  // The number of places is a matter of the rule, not of the map's type.
  sets.set(slots, { kind: 'map', definition: 'typeof numgen inc mod 2 : verdict;', elements });
  const stuck = (backend: KernelBackend) => `@${stuckSet(pool, backend)}`;
  for (const backend of backends) {
    const { address, port } = backend;
    const remembers = stick !== undefined && backend.stuck;
    // That of a backend that is out goes, and with it who was stuck there: they have another one by the time it is back.
    if (remembers)
      sets.set(stuckSet(pool, backend), {
        kind: 'set',
        definition: `type ${ADDRESS_TYPE[family]}; flags dynamic,timeout; timeout ${Math.ceil(stick.expireMs / 1000)}s; size ${MAX_STUCK};`,
        elements: undefined,
      });
    chains.set(backendChain(name, backend), {
      hook: '',
      rules: [
        ...(!remembers ? [] : [`update ${stuck(backend)} { ${clientOf(pool)} }`]),
        // Connections of this host itself do not come by `forward`, and so all is told of them.
        `meta l4proto tcp fib saddr type != local ct event set ${QUIET_EVENTS}`,
        `meta l4proto { tcp, udp } dnat ${ip} to ${family === 4 ? address : `[${address}]`}:${port}`,
      ],
    });
  }
  const toStuck = backends
    .filter((backend) => stick !== undefined && backend.stuck)
    .map((backend) => `${clientOf(pool)} ${stuck(backend)} goto ${backendChain(name, backend)}`);
  chains.set(poolChain(name), {
    hook: '',
    rules: [...toStuck, ...(places.length === 0 ? [] : [`${expression} vmap @${slots}`])],
  });
}

function sourceRule({ family, protocol, source, addresses, ports }: KernelService): string[] {
  if (source === 'none') return [];
  const ip = IP[family];
  const list = ports.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(', ');
  const to = addresses.length === 0 ? '' : ` ct original ${ip} daddr { ${addresses.join(', ')} }`;
  const how = source === 'host' ? 'masquerade' : `snat ${ip} to ct original ${ip} daddr`;
  return [`meta nfproto ipv${family} meta l4proto ${protocol}${to} ct original proto-dst { ${list} } ${how}`];
}

// A slash is in no name of the config.
function poolChain(pool: string): string {
  return `pool/${pool}`;
}

function backendChain(pool: string, { name }: KernelBackend): string {
  return `to/${pool}/${name}`;
}

/** What a client is remembered by: of IPv6 its network, because whoever has one address of it mostly has all. */
function clientOf({ family, stick }: KernelPool): string {
  if (family === 4 || stick === undefined || stick.prefix6 === 128) return `${IP[family]} saddr`;
  const mask = new Int32Array(4).fill(-1);
  maskAddress(mask, stick.prefix6);
  return `ip6 saddr & ${formatAddress(mask)}`;
}

/** Another time, family or length of the network makes it another set. */
export function stuckSet({ name, family, stick }: KernelPool, backend: { readonly name: string }): string {
  return `stuck/${name}/${backend.name}/${family === 4 ? 4 : `6-${stick?.prefix6}`}/${Math.ceil((stick?.expireMs ?? 0) / 1000)}`;
}

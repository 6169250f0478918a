import type { VipConfig } from '../common/model.ts';

/** A table of its own for each VIP group, so that making and removing it touches nobody's rules. */
export function tableName(group: string): string {
  return `tandem_second_chance_${group}`;
}

/**
 * VIPs whose connections can be forwarded: those of the family of the peer's address that the neighbours are asked for.
 * Where the network is told in another way, it would not carry a segment for the VIP to the peer.
 */
export function forwardable(vips: readonly VipConfig[], peerAddress: string): readonly VipConfig[] {
  const family = peerAddress.includes(':') ? 6 : 4;
  return vips.filter((vip) => vip.family === family && vip.provider === 'interface');
}

/** Removes the rules, whether or not they are there. Input for `nft -f -`. */
export function removeRules(group: string): string {
  const table = tableName(group);
  return ['ip', 'ip6']
    .map((family) => `table ${family} ${table}\ndelete table ${family} ${table}\n`)
    .join('');
}

/** Handshakes that are remembered at the same time; with more, those beyond may fail while the peer finishes. */
const MAX_OPENED = 262_144;
/** Longer than a handshake with its repetitions usually takes. */
const OPENED_S = 10;

/**
 * The rules that send on to the peer what belongs to TCP connections of the peer. They do not track connections:
 * the sockets of this host tell them apart. Only where the kernel tracks them in any case, because lbd lets it balance,
 * what it translates is not looked at: such a flow came with the VIP, and its port has a listener here too.
 *
 * - a segment that opens a connection is this host's, and so is what follows it shortly: until its handshake is over,
 *   or where the kernel uses SYN cookies, the connection has no socket of its own;
 * - a full socket that is not bound to every address is a connection of this host;
 * - what else has a socket is sent on: a listener, which says that the segment is a stranger's, or the remains of a
 *   connection (TIME-WAIT, a minute long), whose client has used the same port again since, with the peer.
 *
 * A listener that is bound to the VIP itself is not found this way.
 *
 * @param vips of the group, of the family of `peerAddress`
 * @param knowsFlows whether this host's kernel balances flows itself
 * @returns input for `nft -f -`; replaces rules that are there
 */
export function forwardRules(
  group: string,
  vips: readonly VipConfig[],
  peerAddress: string,
  knowsFlows: boolean,
): string {
  const [family, type] = peerAddress.includes(':') ? ['ip6', 'ipv6_addr'] : ['ip', 'ipv4_addr'];
  const addresses = [...new Set(vips.map(({ address }) => address))].join(', ');
  const flow = `${family} saddr . tcp sport . ${family} daddr . tcp dport`;
  return `${removeRules(group)}table ${family} ${tableName(group)} {
  set opened {
    type ${type} . inet_service . ${type} . inet_service
    flags dynamic, timeout
    timeout ${OPENED_S}s
    size ${MAX_OPENED}
  }
  chain strangers {${knowsFlows ? '\n    ct status dnat accept' : ''}
    tcp flags & (syn | ack) == syn update @opened { ${flow} } accept
    ${flow} @opened accept
    socket wildcard 0 accept
    socket transparent 0 dup to ${peerAddress} drop
  }
  chain prerouting {
    type filter hook prerouting priority mangle; policy accept;
    ${family} daddr { ${addresses} } meta l4proto tcp jump strangers
  }
}
`;
}

import { BlockList, isIP, isIPv4, SocketAddress as NetSocketAddress } from 'node:net';

/** Where something listens, or is reached. */
export interface SocketAddress {
  /** IP address, or host name for a backend; `*` only in `BindConfig`. */
  readonly host: string;
  readonly port: number;
}

const MULTICAST = new BlockList();
MULTICAST.addSubnet('224.0.0.0', 4, 'ipv4');
MULTICAST.addSubnet('ff00::', 8, 'ipv6');

/** IPv4 addresses of no host: this network, and what is reserved, with the broadcast of a link (RFC 6890). */
const NO_HOST = new BlockList();
NO_HOST.addSubnet('0.0.0.0', 8, 'ipv4');
NO_HOST.addSubnet('240.0.0.0', 4, 'ipv4');

/** RFC 6890, RFC 4291. By IP version, because to `BlockList` every IPv4 address is one of ::ffff:0:0/96 too. */
const SPECIAL: readonly (readonly [network: string, prefix: number, family: 4 | 6, use: string])[] = [
  ['0.0.0.0', 8, 4, 'this network'],
  ['127.0.0.0', 8, 4, 'loopback'],
  ['240.0.0.0', 4, 4, 'reserved'],
  ['::1', 128, 6, 'loopback'],
  ['::ffff:0:0', 96, 6, 'IPv4 written as IPv6'],
];
const SPECIAL_RANGES = SPECIAL.map(([network, prefix, family, use]) => {
  const list = new BlockList();
  list.addSubnet(network, prefix, `ipv${family}`);
  return { list, family, text: `of ${network}/${prefix}, ${use}` };
});

/**
 * RFC 1123 host name: labels of letters, digits and hyphens, at most 253 characters, not all digits and dots. Besides it
 * what resolvers take: underscores (RFC 2181 §11), as containers have them, and the root's dot at the end.
 */
const HOST_NAME =
  /^(?=.{1,253}\.?$)(?![\d.]+$)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?$/;

export function isHostName(text: string): boolean {
  return HOST_NAME.test(text);
}

/**
 * One spelling for each address, so that equal addresses are equal strings (RFC 5952 for IPv6). Zones
 * (`fe80::1%eth0`) are refused: their number means something else on the other node.
 *
 * @returns undefined where `text` is no IP address
 */
export function canonicalIp(text: string): string | undefined {
  const family = isIP(text);
  if (family === 0 || text.includes('%')) return undefined;
  return new NetSocketAddress({ address: text, family: family === 4 ? 'ipv4' : 'ipv6' }).address;
}

export function ipFamily(address: string): 4 | 6 {
  return isIP(address) === 6 ? 6 : 4;
}

export function isMulticast(address: string): boolean {
  return MULTICAST.check(address, ipFamily(address) === 4 ? 'ipv4' : 'ipv6');
}

/** `0.0.0.0` or `::`: no address of a machine. */
export function isUnspecified(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}

/** An IPv4 address in its IPv6 form (RFC 4291 section 2.5.5.2) as IPv4. */
export function unmapped(address: string): string {
  const rest = /^(?:::ffff:|(?:0{1,4}:){5}ffff:)(.+)$/i.exec(address)?.[1];
  if (rest === undefined) return address;
  if (isIPv4(rest)) return rest;
  const [high, low] = rest.split(':').map((group) => Number.parseInt(group, 16));
  return low === undefined ? address : [high! >> 8, high! & 255, low >> 8, low & 255].join('.');
}

/** Whether a text is the IP address of one host, in its one spelling. IPv4 written as IPv6 is what it stands for. */
export function isOneHost(address: string): boolean {
  const ip = unmapped(address);
  if (isIP(ip) === 0 || isMulticast(ip) || isUnspecified(ip)) return false;
  return ipFamily(ip) === 6 || !NO_HOST.check(ip, 'ipv4');
}

/**
 * Which range keeps a unicast address from being one that other hosts can reach, such as `of 127.0.0.0/8, loopback`.
 *
 * @param address canonical, see `canonicalIp`
 */
export function specialRange(address: string): string | undefined {
  const family = ipFamily(address);
  return SPECIAL_RANGES.find((range) => range.family === family && range.list.check(address, `ipv${family}`))
    ?.text;
}

/**
 * Parses `host:port` and `[ipv6]:port`; the port is 1 to 65535. The host comes back as a canonical IP address,
 * a host name, or `*`; which of them a place accepts is the caller's rule.
 *
 * @returns undefined where `text` is none of these
 */
export function parseEndpoint(text: string): SocketAddress | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  if (!(port >= 1 && port <= 65535)) return undefined;
  if (bracketed !== undefined) {
    const host = canonicalIp(bracketed);
    return host !== undefined && ipFamily(host) === 6 ? { host, port } : undefined;
  }
  if (plain === '*') return { host: '*', port };
  const host = canonicalIp(plain!) ?? (isHostName(plain!) ? plain! : undefined);
  return host === undefined ? undefined : { host, port };
}

/** The inverse of `parseEndpoint`. */
export function formatEndpoint({ host, port }: SocketAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * Parses `192.0.2.1/24`; without a prefix length the address stands alone (/32, /128).
 *
 * @returns undefined where the address or its prefix length is not valid
 */
export function parseCidr(text: string): { address: string; prefix: number; family: 4 | 6 } | undefined {
  const [, ip, digits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const address = canonicalIp(ip ?? '');
  if (address === undefined) return undefined;
  const family = ipFamily(address);
  const longest = family === 4 ? 32 : 128;
  const prefix = digits === undefined ? longest : Number(digits);
  return prefix >= 1 && prefix <= longest ? { address, prefix, family } : undefined;
}

/** IPv4: the address is the network's own or its broadcast address, which no host can hold (RFC 3021: /31 has none). */
export function isNetworkOrBroadcast(address: string, prefix: number): boolean {
  if (ipFamily(address) !== 4 || prefix > 30) return false;
  const value = address.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0);
  const host = value % 2 ** (32 - prefix);
  return host === 0 || host === 2 ** (32 - prefix) - 1;
}

/** Whether the address has no bit beyond its prefix, so that the two name a network. */
export function isNetwork(address: string, prefix: number): boolean {
  const width = ipFamily(address) === 4 ? 32n : 128n;
  return (numericIp(address) & ((1n << (width - BigInt(prefix))) - 1n)) === 0n;
}

/**
 * The 4 or 16 bytes of an address in network order.
 *
 * @param address canonical, see `canonicalIp`
 */
export function ipBytes(address: string): Buffer {
  return Buffer.from(
    numericIp(address)
      .toString(16)
      .padStart(ipFamily(address) === 4 ? 8 : 32, '0'),
    'hex',
  );
}

/** @param address canonical, see `canonicalIp` */
function numericIp(address: string): bigint {
  if (ipFamily(address) === 4) return address.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n);
  // The last 32 bits may be written as an IPv4 address.
  const plain = address.replace(/[\d.]+\.[\d.]+$/, (ipv4) => {
    const value = numericIp(ipv4);
    return `${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`;
  });
  const [head = '', tail = ''] = plain.split('::');
  const groups = (text: string) => (text === '' ? [] : text.split(':'));
  const zeros = new Array<string>(Math.max(0, 8 - groups(head).length - groups(tail).length)).fill('0');
  const all = [...groups(head), ...zeros, ...groups(tail)];
  return all.reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n);
}

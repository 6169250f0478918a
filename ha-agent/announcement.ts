import { ipBytes } from '../common/address.ts';

/** All announcements are of one length, so that a stream of them can be cut into frames; the rest of ARP is padding. */
export const FRAME_BYTES = 86;

const ETHERNET_BYTES = 14;
const ETHERTYPE_ARP = 0x0806;
const ETHERTYPE_IPV6 = 0x86dd;
const ICMPV6 = 58;
const IPV6_AT = ETHERNET_BYTES;
const ICMP_AT = IPV6_AT + 40;
const ICMP_BYTES = FRAME_BYTES - ICMP_AT;
const ADVERTISEMENT = 136;
const OVERRIDE = 0x20;
const TARGET_LINK_LAYER_ADDRESS = 2;
const ALL_NODES = 'ff02::1';
const BROADCAST = Buffer.alloc(6, 0xff);
/** Of `ALL_NODES`, RFC 2464 section 7. */
const ALL_NODES_MAC = Buffer.from('333300000001', 'hex');

/**
 * The Ethernet frame that tells all neighbours on which machine an address is: a gratuitous ARP request for IPv4 (RFC
 * 5944 section 4.6), an unsolicited neighbour advertisement with the override flag for IPv6 (RFC 4861 section 7.2.6).
 *
 * @param mac 6 bytes
 * @param address canonical
 * @returns `FRAME_BYTES`
 */
export function announcement(mac: Buffer, address: string): Buffer {
  const ip = ipBytes(address);
  return ip.length === 4 ? gratuitousArp(mac, ip) : advertisement(mac, ip);
}

function frame(to: Buffer, from: Buffer, etherType: number): Buffer {
  const out = Buffer.alloc(FRAME_BYTES);
  to.copy(out, 0);
  from.copy(out, 6);
  out.writeUInt16BE(etherType, 12);
  return out;
}

/** RFC 826: Ethernet, IPv4, request; sender and target are the same address. */
function gratuitousArp(mac: Buffer, ip: Buffer): Buffer {
  const out = frame(BROADCAST, mac, ETHERTYPE_ARP);
  out.write('0001080006040001', ETHERNET_BYTES, 'hex');
  mac.copy(out, 22);
  ip.copy(out, 28);
  BROADCAST.copy(out, 32);
  ip.copy(out, 38);
  return out;
}

/** RFC 4861 section 4.4, from the address itself; a hop limit of 255 shows that no router sent it on. */
function advertisement(mac: Buffer, ip: Buffer): Buffer {
  const out = frame(ALL_NODES_MAC, mac, ETHERTYPE_IPV6);
  out[IPV6_AT] = 0x60;
  out.writeUInt16BE(ICMP_BYTES, IPV6_AT + 4);
  out[IPV6_AT + 6] = ICMPV6;
  out[IPV6_AT + 7] = 255;
  ip.copy(out, IPV6_AT + 8);
  ipBytes(ALL_NODES).copy(out, IPV6_AT + 24);
  out[ICMP_AT] = ADVERTISEMENT;
  out[ICMP_AT + 4] = OVERRIDE;
  ip.copy(out, ICMP_AT + 8);
  out[ICMP_AT + 24] = TARGET_LINK_LAYER_ADDRESS;
  out[ICMP_AT + 25] = 1;
  mac.copy(out, ICMP_AT + 26);
  out.writeUInt16BE(checksum(out), ICMP_AT + 2);
  return out;
}

/** Of the ICMPv6 message, with the pseudo-header of RFC 8200 section 8.1. */
function checksum(out: Buffer): number {
  let sum = ICMP_BYTES + ICMPV6;
  for (let at = IPV6_AT + 8; at < FRAME_BYTES; at += 2) sum += out.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

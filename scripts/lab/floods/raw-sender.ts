import { ipBytes, isMulticast } from '../../../common/address.ts';
import { errorText, libc, MSG, SOCK } from '../../../common/libc.ts';

const [AF_INET, IPPROTO_IP, IPPROTO_RAW] = [2, 0, 255];
const PROTOCOLS = { icmp: 1, udp: 17 } as const;
const IP_MULTICAST_IF = 32;
const [IP_HEAD, UDP_HEAD, ICMP_HEAD] = [20, 8, 8];
const UNREACHABLE_PORT = [3, 3] as const;
/** Version 4, five words. */
const VERSION_AND_LENGTH = 0x45;
const TTL = 1;

interface Place {
  readonly address: string;
  readonly port: number;
}

export interface RawSenderOptions {
  /** Messages of ICMP are sent as they are. */
  readonly protocol: keyof typeof PROTOCOLS;
  /** What they claim. */
  readonly from: Place;
  /** An address of the interface by which they leave. */
  readonly own: string;
  readonly to: Place;
}

/**
 * Sends packets that claim to come from another host, by a raw socket (raw(7); RFC 791, RFC 768). The kernel fills in
 * the checksum of the IP header; that of UDP is left out, as IPv4 allows.
 */
export class RawSender {
  readonly #fd: number;
  readonly #head: Buffer;
  readonly #isUdp: boolean;

  /** @throws Error without CAP_NET_RAW */
  constructor({ protocol, from, own, to }: RawSenderOptions) {
    const { socket, connect, setsockopt } = libc();
    this.#fd = socket(AF_INET, SOCK.raw | SOCK.nonBlocking | SOCK.closeOnExec, IPPROTO_RAW);
    if (this.#fd < 0) throw failed('socket');
    const device = ipBytes(own);
    if (isMulticast(to.address) && setsockopt(this.#fd, IPPROTO_IP, IP_MULTICAST_IF, device, 4) < 0)
      throw failed('setsockopt');
    const address = Buffer.alloc(16);
    address.writeUInt16LE(AF_INET);
    ipBytes(to.address).copy(address, 4);
    if (connect(this.#fd, address, address.length) < 0) throw failed('connect');
    const head = ipHead(protocol, from.address, to.address);
    this.#head = protocol === 'icmp' ? head : Buffer.concat([head, udpHead(from.port, to.port)]);
    this.#isUdp = protocol === 'udp';
  }

  /** @param data at most what fits into one packet of the link; one that the kernel does not take is lost */
  send(data: Buffer): void {
    const packet = Buffer.concat([this.#head, data]);
    if (this.#isUdp) packet.writeUInt16BE(UDP_HEAD + data.length, IP_HEAD + 4);
    libc().send(this.#fd, packet, BigInt(packet.length), MSG.dontWait | MSG.noSignal);
  }

  close(): void {
    libc().close(this.#fd);
  }
}

function ipHead(protocol: keyof typeof PROTOCOLS, from: string, to: string): Buffer {
  const head = Buffer.alloc(IP_HEAD);
  head[0] = VERSION_AND_LENGTH;
  head[8] = TTL;
  head[9] = PROTOCOLS[protocol];
  ipBytes(from).copy(head, 12);
  ipBytes(to).copy(head, 16);
  return head;
}

function udpHead(from: number, to: number): Buffer {
  const head = Buffer.alloc(UDP_HEAD);
  head.writeUInt16BE(from);
  head.writeUInt16BE(to, 2);
  return head;
}

/** "Port unreachable" (RFC 792), as the host `from` says it of a datagram that `to` has sent there. */
export function refusal(to: Place, from: Place): Buffer {
  const quoted = Buffer.concat([ipHead('udp', to.address, from.address), udpHead(to.port, from.port)]);
  quoted.writeUInt16BE(quoted.length, 2);
  const message = Buffer.concat([Buffer.alloc(ICMP_HEAD), quoted]);
  [message[0], message[1]] = UNREACHABLE_PORT;
  let sum = 0;
  for (let at = 0; at < message.length; at += 2) sum += message.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  message.writeUInt16BE(~sum & 0xffff, 2);
  return message;
}

function failed(call: string): Error {
  return new Error(`${call}: ${errorText(libc().errno())}`);
}

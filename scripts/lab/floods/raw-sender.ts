import { ipBytes, isMulticast } from '../../../common/address.ts';
import { errorText, libc, MSG, SOCK } from '../../../common/libc.ts';

const [AF_INET, IPPROTO_IP, IPPROTO_UDP, IPPROTO_RAW] = [2, 0, 17, 255];
const IP_MULTICAST_IF = 32;
const [IP_HEAD, UDP_HEAD] = [20, 8];
/** Version 4, five words. */
const VERSION_AND_LENGTH = 0x45;
const TTL = 1;

export interface RawSenderOptions {
  /** What the datagrams claim. */
  readonly from: { readonly address: string; readonly port: number };
  /** An address of the interface by which they leave. */
  readonly own: string;
  readonly to: { readonly address: string; readonly port: number };
}

/**
 * Sends UDP datagrams that claim to come from another host, by a raw socket (raw(7); RFC 791, RFC 768). The kernel fills in
 * the checksum of the IP header; that of UDP is left out, as IPv4 allows.
 */
export class RawSender {
  readonly #fd: number;
  readonly #head: Buffer;

  /** @throws Error without CAP_NET_RAW */
  constructor({ from, own, to }: RawSenderOptions) {
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
    this.#head = Buffer.alloc(IP_HEAD + UDP_HEAD);
    this.#head[0] = VERSION_AND_LENGTH;
    this.#head[8] = TTL;
    this.#head[9] = IPPROTO_UDP;
    ipBytes(from.address).copy(this.#head, 12);
    ipBytes(to.address).copy(this.#head, 16);
    this.#head.writeUInt16BE(from.port, IP_HEAD);
    this.#head.writeUInt16BE(to.port, IP_HEAD + 2);
  }

  /** @param data at most what fits into one packet of the link; one that the kernel does not take is lost */
  send(data: Buffer): void {
    const packet = Buffer.concat([this.#head, data]);
    packet.writeUInt16BE(UDP_HEAD + data.length, IP_HEAD + 4);
    libc().send(this.#fd, packet, BigInt(packet.length), MSG.dontWait | MSG.noSignal);
  }

  close(): void {
    libc().close(this.#fd);
  }
}

function failed(call: string): Error {
  return new Error(`${call}: ${errorText(libc().errno())}`);
}

import { isIP, isIPv4, isIPv6 } from 'node:net';
import { unmapped } from './address.ts';
import { parseAddress } from './ip-words.ts';

/**
 * The PROXY protocol, versions 1 and 2: what a proxy says first on a connection, so that the next one knows whose it
 * is. Source: Willy Tarreau, "The PROXY protocol", `doc/proxy-protocol.txt` of HAProxy.
 */

/** Both ends of a client's connection. IPv4 addresses are written as such. */
export interface Endpoints {
  /** Address and port of the client. */
  readonly address: string;
  readonly port: number;
  /** Where it connected to. */
  readonly toAddress: string;
  readonly toPort: number;
}

/** Section 2.1: the longest line, its CRLF included. */
const MAX_V1_BYTES = 107;
/** Section 2.2. */
const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const V2_HEAD_BYTES = 16;
const TCP4 = 0x11;
const TCP6 = 0x21;
const ADDRESS_BYTES: Readonly<Record<number, number>> = { [TCP4]: 12, [TCP6]: 36 };
const V1_LINE = /^PROXY (TCP4|TCP6) ([\dA-Fa-f.:]+) ([\dA-Fa-f.:]+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4})\r\n$/;
const V1_PREFIX = Buffer.from('PROXY ', 'latin1');
const LF = 10;
const CR = 13;

/** `feed`: the header goes on in bytes that have not come yet. */
export const MORE = -1;
/** `feed`: this is no PROXY header; `fault` says why. */
export const INVALID = -2;

/** Reads one header, however it is cut into pieces. Keeps at most 107 bytes of it; what it does not need it skips. */
export class ProxyHeader {
  /** Set when the header is read: whose connection it is; undefined: the sender's own (LOCAL, UNKNOWN, no IP). */
  endpoints: Endpoints | undefined;
  fault = '';
  readonly #bytes = Buffer.allocUnsafe(MAX_V1_BYTES);
  #length = 0;
  /** Version 2: address block and extensions that are still to be skipped; -1: not there yet. */
  #skip = -1;

  /** @returns offset of the first byte after the header, `MORE` or `INVALID` */
  feed(buffer: Buffer, start: number, end: number): number {
    let at = start;
    while (at < end) {
      if (this.#skip >= 0) {
        const take = Math.min(this.#skip, end - at);
        this.#skip -= take;
        at += take;
        if (this.#skip === 0) return at;
        continue;
      }
      const byte = buffer[at++]!;
      this.#bytes[this.#length++] = byte;
      const done = this.#bytes[0] === CR ? this.#advanceV2() : this.#advanceV1(byte);
      if (this.fault !== '') return INVALID;
      if (done) return at;
    }
    return MORE;
  }

  #advanceV1(byte: number): boolean {
    const length = this.#length;
    if (length <= V1_PREFIX.length && byte !== V1_PREFIX[length - 1])
      return this.#fail('it begins with something else');
    if (byte !== LF) {
      if (length === MAX_V1_BYTES) return this.#fail('its line is longer than 107 bytes');
      return false;
    }
    const line = this.#bytes.latin1Slice(0, length);
    if (/^PROXY UNKNOWN(?: [^\r\n]*)?\r\n$/.test(line)) return true;
    const [, family, address = '', toAddress = '', port, toPort] = V1_LINE.exec(line) ?? [];
    const fits = family === 'TCP4' ? isIPv4 : isIPv6;
    if (family === undefined || !fits(address) || !fits(toAddress))
      return this.#fail('its line is not "PROXY TCP4|TCP6 source destination port port"');
    if (Number(port) > 65535 || Number(toPort) > 65535) return this.#fail('a port is above 65535');
    this.endpoints = {
      address: unmapped(address),
      port: Number(port),
      toAddress: unmapped(toAddress),
      toPort: Number(toPort),
    };
    return true;
  }

  #advanceV2(): boolean {
    const bytes = this.#bytes;
    const length = this.#length;
    if (length <= SIGNATURE.length) {
      if (bytes[length - 1] !== SIGNATURE[length - 1]) return this.#fail('it begins with something else');
      return false;
    }
    if (length === 13 && bytes[12]! >> 4 !== 2) return this.#fail(`its version is ${bytes[12]! >> 4}`);
    if (length === 13 && (bytes[12]! & 15) > 1) return this.#fail(`its command is ${bytes[12]! & 15}`);
    if (length === 14 && (bytes[13]! >> 4 > 3 || (bytes[13]! & 15) > 2))
      return this.#fail(`its address family is 0x${bytes[13]!.toString(16)}`);
    if (length < V2_HEAD_BYTES) return false;
    const total = bytes.readUInt16BE(14);
    const wanted = ADDRESS_BYTES[bytes[13]!] ?? 0;
    if (length === V2_HEAD_BYTES && total < wanted) return this.#fail('its addresses are cut short');
    // LOCAL: the sender checks its backends; what else it says does not count (section 2.2).
    const local = (bytes[12]! & 15) === 0 || wanted === 0;
    if (!local && length < V2_HEAD_BYTES + wanted) return false;
    if (!local) this.endpoints = wanted === 12 ? readTcp4(bytes) : readTcp6(bytes);
    this.#skip = total - (length - V2_HEAD_BYTES);
    return this.#skip === 0;
  }

  #fail(fault: string): boolean {
    this.fault = fault;
    return false;
  }
}

function readTcp4(bytes: Buffer): Endpoints {
  return {
    address: bytes.subarray(16, 20).join('.'),
    toAddress: bytes.subarray(20, 24).join('.'),
    port: bytes.readUInt16BE(24),
    toPort: bytes.readUInt16BE(26),
  };
}

function readTcp6(bytes: Buffer): Endpoints {
  return {
    address: textOf6(bytes, 16),
    toAddress: textOf6(bytes, 32),
    port: bytes.readUInt16BE(48),
    toPort: bytes.readUInt16BE(50),
  };
}

function textOf6(bytes: Buffer, at: number): string {
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(at + 2 * i).toString(16)).join(':');
  // The URL parser writes IPv6 addresses as RFC 5952 wants them.
  return unmapped(new URL(`http://[${groups}]`).hostname.slice(1, -1));
}

/**
 * The header to send.
 *
 * @param endpoints undefined, or not IP: the connection is this proxy's own (v1 UNKNOWN, v2 LOCAL)
 */
export function proxyHeader(version: 'v1' | 'v2', endpoints: Endpoints | undefined): Buffer {
  const families = endpoints && [isIP(plain(endpoints.address)), isIP(plain(endpoints.toAddress))];
  const known = endpoints !== undefined && families !== undefined && !families.includes(0);
  const six = known && families.includes(6);
  if (version === 'v1') {
    if (!known) return Buffer.from('PROXY UNKNOWN\r\n', 'latin1');
    const { address, toAddress, port, toPort } = endpoints;
    const text = (of: string) => (six && isIPv4(of) ? `::ffff:${of}` : plain(of));
    const family = six ? 'TCP6' : 'TCP4';
    return Buffer.from(`PROXY ${family} ${text(address)} ${text(toAddress)} ${port} ${toPort}\r\n`, 'latin1');
  }
  const length = known ? ADDRESS_BYTES[six ? TCP6 : TCP4]! : 0;
  const header = Buffer.alloc(V2_HEAD_BYTES + length);
  SIGNATURE.copy(header);
  header[12] = known ? 0x21 : 0x20;
  header[13] = known ? (six ? TCP6 : TCP4) : 0;
  header.writeUInt16BE(length, 14);
  if (!known) return header;
  const width = six ? 16 : 4;
  writeAddress(header, V2_HEAD_BYTES, width, endpoints.address);
  writeAddress(header, V2_HEAD_BYTES + width, width, endpoints.toAddress);
  header.writeUInt16BE(endpoints.port, V2_HEAD_BYTES + 2 * width);
  header.writeUInt16BE(endpoints.toPort, V2_HEAD_BYTES + 2 * width + 2);
  return header;
}

function writeAddress(header: Buffer, at: number, width: number, address: string): void {
  const words = new Int32Array(4);
  parseAddress(address, words);
  for (let i = 0; i < width; i += 4) header.writeInt32BE(words[(16 - width + i) / 4]!, at + i);
}

/** A zone (`%eth0`) means nothing to another machine. */
function plain(address: string): string {
  const zone = address.indexOf('%');
  return zone < 0 ? address : address.slice(0, zone);
}

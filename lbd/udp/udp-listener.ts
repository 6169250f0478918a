import type dgram from 'node:dgram';
import { networkInterfaces } from 'node:os';
import type { SocketAddress } from '../../common/address.ts';
import { OperatorError } from '../../common/errors.ts';
import { bindDatagrams, type DatagramSink } from '../io/udp-socket.ts';

/** A datagram at an address that is not bound yet makes this look for new addresses, at most so often. */
const LOOK_AGAIN_MS = 250;

/** A client's datagrams, as the address that they come to sees them. */
export interface ClientFlow {
  onClientDatagram(bytes: Buffer): void;
  /** Answers go out through another socket from now on. */
  moveTo(socket: UdpSocket): void;
}

/** One bound address: what comes to it and, because answers must leave from where the question went, what leaves. */
export class UdpSocket implements DatagramSink {
  readonly host: string;
  /** By `ADDRESS PORT` of the client. */
  readonly flows = new Map<string, ClientFlow>();
  readonly #listener: UdpListener;
  #socket: dgram.Socket | undefined;

  constructor(host: string, listener: UdpListener) {
    this.host = host;
    this.#listener = listener;
  }

  /** @throws NodeJS.ErrnoException */
  async open(port: number): Promise<void> {
    this.#socket = await bindDatagrams(this.host, port, this);
  }

  /** undefined: closed. */
  get socket(): dgram.Socket | undefined {
    return this.#socket;
  }

  onDatagram(bytes: Buffer, from: dgram.RemoteInfo): void {
    this.#listener.onDatagram(this, bytes, from);
  }

  onSocketError(error: NodeJS.ErrnoException): void {
    this.#listener.options.onError(error);
  }

  /** One of its flows ended. */
  flowGone(): void {
    this.#listener.onFlowGone(this);
  }

  /** Its last flow is gone. */
  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }
}

export interface UdpListenerOptions {
  /** A datagram of a client without a flow; not called any more after `close`. */
  onClient(socket: UdpSocket, key: string, bytes: Buffer, from: dgram.RemoteInfo): void;
  /** A socket failed once; it goes on. */
  onError(error: NodeJS.ErrnoException): void;
}

/**
 * Receives the datagrams of one bind for this worker. A socket on all addresses would answer from whichever address
 * the route to the client suggests, not from the one that the client asked; so `*` means one socket for each address
 * of this node and each VIP, and one for all others, until a look finds out which they are.
 */
export class UdpListener {
  readonly options: UdpListenerOptions;
  readonly #address: SocketAddress;
  #vips: readonly string[];
  readonly #sockets = new Map<string, UdpSocket>();
  #closing = false;
  #lookedMs = 0;
  #looking = false;
  #lookTimer: NodeJS.Timeout | undefined;

  private constructor(address: SocketAddress, vips: readonly string[], options: UdpListenerOptions) {
    this.#address = address;
    this.#vips = vips;
    this.options = options;
  }

  /**
   * @param vips addresses that this node has, or will have
   * @throws OperatorError `BIND` when the address cannot be had
   */
  static async open(
    address: SocketAddress,
    vips: readonly string[],
    options: UdpListenerOptions,
  ): Promise<UdpListener> {
    const listener = new UdpListener(address, vips, options);
    let last: NodeJS.ErrnoException | undefined;
    for (const host of listener.#wildcards() ?? [address.host]) {
      try {
        await listener.#bind(host);
      } catch (error) {
        last = error as NodeJS.ErrnoException;
        if (last.code !== 'EAFNOSUPPORT' && last.code !== 'EADDRNOTAVAIL') break;
      }
    }
    if (listener.#sockets.size === 0 || (last !== undefined && last.code === 'EADDRINUSE')) {
      listener.#drop();
      throw new OperatorError('BIND', `cannot listen on ${address.host}:${address.port}: ${last?.code}`, {
        cause: last,
      });
    }
    await listener.look();
    return listener;
  }

  /** Addresses that have a socket of their own now, and the ones for all others. */
  get hosts(): string[] {
    return [...this.#sockets.keys()];
  }

  /** The VIPs of a new config. */
  async setVips(vips: readonly string[]): Promise<void> {
    this.#vips = vips;
    await this.look();
  }

  /** Gives each address of this node its socket; sockets of addresses that went stay for the case that they return. */
  async look(): Promise<void> {
    const wildcards = this.#wildcards();
    if (wildcards === undefined || this.#looking || this.#closing) return;
    this.#looking = true;
    clearTimeout(this.#lookTimer);
    this.#lookTimer = undefined;
    this.#lookedMs = performance.now();
    for (const host of new Set([...this.#vips, ...this.#ownAddresses()])) {
      const any = host.includes(':') ? '::' : '0.0.0.0';
      if (this.#sockets.has(host) || !this.#sockets.has(any)) continue;
      try {
        await this.#bind(host);
      } catch {
        // Not an address of this node now; what comes to it nevertheless comes to the socket for all others.
      }
    }
    this.#looking = false;
  }

  onDatagram(socket: UdpSocket, bytes: Buffer, from: dgram.RemoteInfo): void {
    const key = `${from.address} ${from.port}`;
    const flow = socket.flows.get(key) ?? this.#adopt(socket, key);
    if (flow !== undefined) flow.onClientDatagram(bytes);
    else if (!this.#closing) {
      if (isAny(socket.host)) this.#lookSoon();
      this.options.onClient(socket, key, bytes, from);
    }
  }

  #lookSoon(): void {
    const waitMs = this.#lookedMs + LOOK_AGAIN_MS - performance.now();
    if (waitMs <= 0) void this.look();
    else this.#lookTimer ??= setTimeout(() => void this.look(), waitMs).unref();
  }

  /** A flow that began before its address had a socket of its own. */
  #adopt(socket: UdpSocket, key: string): ClientFlow | undefined {
    if (isAny(socket.host)) return undefined;
    const flow = this.#sockets.get(socket.host.includes(':') ? '::' : '0.0.0.0')?.flows.get(key);
    flow?.moveTo(socket);
    return flow;
  }

  /** A flow ended. */
  onFlowGone(socket: UdpSocket): void {
    if (this.#closing && socket.flows.size === 0) socket.close();
  }

  /** Takes no new clients; the flows that there are go on, and the last one closes the socket. */
  close(): void {
    this.#closing = true;
    clearTimeout(this.#lookTimer);
    for (const socket of this.#sockets.values()) this.onFlowGone(socket);
  }

  async #bind(host: string): Promise<void> {
    const socket = new UdpSocket(host, this);
    await socket.open(this.#address.port);
    this.#sockets.set(host, socket);
    // Closed meanwhile.
    this.onFlowGone(socket);
  }

  #ownAddresses(): string[] {
    try {
      return ownAddresses();
    } catch (error) {
      this.options.onError(error as NodeJS.ErrnoException);
      return [];
    }
  }

  #drop(): void {
    for (const socket of this.#sockets.values()) socket.close();
    this.#sockets.clear();
  }

  /** undefined: the bind names one address. */
  #wildcards(): string[] | undefined {
    const { host } = this.#address;
    // As for TCP: `[::]` takes IPv4 too (RFC 3493 section 5.3).
    if (host === '*' || host === '::') return ['0.0.0.0', '::'];
    return host === '0.0.0.0' ? ['0.0.0.0'] : undefined;
  }
}

function isAny(host: string): boolean {
  return host === '::' || host === '0.0.0.0';
}

function ownAddresses(): string[] {
  return Object.entries(networkInterfaces()).flatMap(([device, addresses]) =>
    (addresses ?? []).map(({ address, scopeid }) => (scopeid ? `${address}%${device}` : address)),
  );
}

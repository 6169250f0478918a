import { createHash } from 'node:crypto';
import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { DgramAsPromised, type SocketAsPromised } from 'dgram-as-promised';
import { formatEndpoint } from '../common/address.ts';
import { descriptorOfDatagrams } from '../common/datagram-descriptor.ts';
import { messageOf } from '../common/errors.ts';
import type { PathConfig } from '../common/model.ts';
import { type FilterProgram, filterSocket } from '../common/socket-filter.ts';
import { ConnectedSocket } from './connected-socket.ts';
import type { Lane, LaneEvents } from './lane.ts';
import { StateNews } from './state-news.ts';

/** A path that failed gets new sockets so often; until then each heartbeat tries the old ones. */
const RETRY_MS = 1_000;
/** What the kernel holds for a link that is full; a heartbeat that waits there for long is worth nothing. */
const SEND_BUFFER_BYTES = 32_768;

/** A path as datagrams name it: 8 hexadecimal digits, the same on both nodes. */
export function pathId(config: PathConfig): string {
  const way =
    config.type === 'multicast'
      ? [config.type, config.port, config.group, config.interface]
      : [config.type, config.port];
  return createHash('sha256').update(JSON.stringify(way)).digest('hex').slice(0, 8);
}

export interface HeartbeatPathOptions extends LaneEvents {
  readonly config: PathConfig;
  /** Address of this node. */
  readonly selfAddress: string;
  /** Address of the peer. */
  readonly peerAddress: string;
  /** VIPs: never the address by which an interface is named to the kernel. */
  readonly vips: ReadonlySet<string>;
}

/** One way to the peer: a socket that heals itself and never holds up another path. */
export class HeartbeatPath implements Lane {
  readonly name: string;
  readonly #options: HeartbeatPathOptions;
  #socket: SocketAsPromised | undefined;
  /** Sends on a unicast path. */
  #connected: ConnectedSocket | undefined;
  #why: string | undefined;
  /** The sockets are open. */
  #ready = false;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;
  /** In force for all sockets. */
  #program: FilterProgram | undefined;
  /** Datagrams that the kernel has not taken yet. */
  readonly #waiting = new Set<(taken: boolean) => void>();
  readonly #news: StateNews;

  constructor(options: HeartbeatPathOptions) {
    this.#options = options;
    this.#news = new StateNews(options.onState);
    const { config } = options;
    this.name =
      config.type === 'multicast'
        ? `multicast ${formatEndpoint({ host: config.group, port: config.port })} on ${config.interface}`
        : `unicast ${formatEndpoint({ host: options.peerAddress, port: config.port })}`;
  }

  /** Whether it leads to the peer's own address. */
  get unicast(): boolean {
    return this.#options.config.type === 'unicast';
  }

  /** Why the path does not work; undefined when it does. */
  get why(): string | undefined {
    return this.#why;
  }

  /** Opens the socket. Settles when it is open or has failed; then it is tried again in the background. */
  async open(): Promise<void> {
    if (this.#closed) return;
    this.#retry = undefined;
    const { config, selfAddress } = this.#options;
    const address = config.type === 'multicast' ? scoped(config) : selfAddress;
    // Sockets of one user share the port; with SO_REUSEADDR anybody's could, and the newest one gets the datagrams.
    const socket = DgramAsPromised.createSocket({
      type: isIPv6(address) ? 'udp6' : 'udp4',
      reusePort: true,
      sendBufferSize: SEND_BUFFER_BYTES,
    });
    this.#socket = socket;
    try {
      await socket.bind({ port: config.port, address });
      if (this.#socket !== socket) return;
      if (config.type === 'unicast') await this.#connect(socket, config.port);
      if (this.#socket !== socket) return;
      if (config.type === 'multicast') {
        const via = this.#multicastInterface(config.interface, isIPv6(address));
        socket.addMembership(config.group, via);
        socket.setMulticastInterface(via);
        // Both nodes are on one link; a router must not carry heartbeats elsewhere (RFC 1112 section 6.1).
        socket.setMulticastTTL(1);
        socket.setMulticastLoopback(false);
      }
      if (this.#program !== undefined) this.filter(this.#program);
      this.#ready = true;
      this.#works();
      this.#listen(socket);
    } catch (error) {
      this.#fail(socket, error);
    }
  }

  /** @returns settles when the kernel has taken the datagram or refused it, or the socket is gone; never rejects */
  send(data: Buffer): Promise<boolean> {
    const socket = this.#socket;
    if (socket === undefined || !this.#ready) return Promise.resolve(false);
    return new Promise((resolve) => {
      const settle = (taken: boolean) => {
        if (this.#waiting.delete(settle)) resolve(taken);
      };
      this.#waiting.add(settle);
      this.#transmit(socket, data).then(
        () => {
          if (this.#socket === socket) this.#works();
          settle(true);
        },
        (error: unknown) => {
          if (this.#socket === socket && !this.#closed) this.#limp(socket, error);
          settle(false);
        },
      );
    });
  }

  filter(program: FilterProgram | undefined): string | undefined {
    this.#program = program;
    const sockets = [this.#socket?.socket, this.#connected?.socket];
    const troubles = sockets.map((socket) => socket && filterSocket(descriptorOfDatagrams(socket), program));
    return troubles.find((trouble) => trouble !== undefined);
  }

  /** An interface is there again: what waits for its next try is tried now. */
  retry(): void {
    if (this.#retry === undefined || this.#socket !== undefined) return;
    clearTimeout(this.#retry);
    void this.open();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#news.close();
    const socket = this.#socket;
    this.#drop();
    await socket?.close().catch(() => {});
  }

  async #transmit(socket: SocketAsPromised, data: Buffer): Promise<void> {
    const { config } = this.#options;
    if (config.type === 'multicast') await socket.send(data, config.port, config.group);
    else await this.#connected?.send(data);
  }

  async #connect(socket: SocketAsPromised, port: number): Promise<void> {
    const { selfAddress, peerAddress, onDatagram, onRefused } = this.#options;
    const connected = new ConnectedSocket({
      selfAddress,
      peerAddress,
      port,
      sendBufferBytes: SEND_BUFFER_BYTES,
      sendUnconnected: (data) => socket.send(data, port, peerAddress),
      onDatagram,
      onRefused,
      onError: (error) => this.#fail(socket, error),
    });
    this.#connected = connected;
    await connected.open();
  }

  /**
   * On the library's own socket: its `recv` listens only while it is awaited, and makes a promise and six listeners for
   * each datagram, which a flood would turn into lost heartbeats.
   */
  #listen(socket: SocketAsPromised): void {
    socket.socket.on('message', (data, { address }) => {
      if (this.#socket === socket) this.#options.onDatagram(data, address);
    });
    socket.socket.on('error', (error) => this.#fail(socket, error));
  }

  #multicastInterface(name: string, v6: boolean): string {
    const addresses = networkInterfaces()[name] ?? [];
    if (v6) {
      if (addresses.length === 0) throw new Error(`interface ${name} does not exist or is down`);
      return `::%${name}`;
    }
    const own = addresses.find(
      ({ family, address }) => family === 'IPv4' && !this.#options.vips.has(address),
    );
    if (own === undefined)
      throw new Error(`interface ${name} does not exist, is down or has no IPv4 address`);
    return own.address;
  }

  #works(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#set(undefined);
  }

  /** A cable that is plugged in again must not cost a retry: the next heartbeat may get through as it is. */
  #limp(socket: SocketAsPromised, error: unknown): void {
    this.#set(explain(error));
    this.#retry ??= setTimeout(() => this.#fail(socket, error), RETRY_MS);
  }

  #fail(socket: SocketAsPromised, error: unknown): void {
    if (this.#socket !== socket || this.#closed) return;
    const isLimping = this.#retry !== undefined;
    this.#drop();
    socket.close().catch(() => {});
    this.#set(explain(error));
    this.#retry = setTimeout(() => void this.open(), isLimping ? 0 : RETRY_MS);
  }

  #drop(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#ready = false;
    this.#socket = undefined;
    this.#connected?.close();
    this.#connected = undefined;
    for (const settle of [...this.#waiting]) settle(false);
  }

  #set(why: string | undefined): void {
    if (this.#closed || why === this.#why) return;
    this.#why = why;
    this.#news.change(why);
  }
}

/** An IPv6 group of one link is only one together with the link (RFC 4007 section 6). */
function scoped({ group, interface: device }: Extract<PathConfig, { type: 'multicast' }>): string {
  return isIPv6(group) ? `${group}%${device}` : group;
}

function explain(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'EADDRNOTAVAIL') return `no interface of this machine has the address (${messageOf(error)})`;
  if (code === 'EADDRINUSE') return `another program uses the port (${messageOf(error)})`;
  if (code === 'ENETUNREACH' || code === 'EHOSTUNREACH') return `there is no route (${messageOf(error)})`;
  return messageOf(error);
}

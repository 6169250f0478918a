import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { DgramAsPromised, type SocketAsPromised } from 'dgram-as-promised';
import { messageOf } from '../common/errors.ts';
import type { PathConfig } from '../common/model.ts';
import { ConnectedSocket } from './connected-socket.ts';

/** A path that failed gets new sockets so often; until then each heartbeat tries the old ones. */
const RETRY_MS = 1_000;

export interface HeartbeatPathOptions {
  readonly config: PathConfig;
  /** Address of this node. */
  readonly selfAddress: string;
  /** Address of the peer. */
  readonly peerAddress: string;
  /** VIPs: never the address by which an interface is named to the kernel. */
  readonly vips: ReadonlySet<string>;
  /** Called for each datagram, whoever sent it. Must not wait: meanwhile datagrams are lost. */
  onDatagram(data: Buffer): void;
  /** The peer's host says that nobody listens for heartbeats there; see `ConnectedSocket`. */
  onRefused(roundTripMs: number): void;
  /** The path failed with this cause, or works (again): undefined. Called on change only. */
  onState(why: string | undefined): void;
}

/** One way to the peer: a socket that heals itself and never holds up another path. */
export class HeartbeatPath {
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

  constructor(options: HeartbeatPathOptions) {
    this.#options = options;
    const { config } = options;
    this.name =
      config.type === 'multicast'
        ? `multicast ${config.group}:${config.port} on ${config.interface}`
        : `unicast ${options.peerAddress}:${config.port}`;
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
    const address = config.type === 'multicast' ? config.group : selfAddress;
    const socket = DgramAsPromised.createSocket({ type: isIPv6(address) ? 'udp6' : 'udp4', reuseAddr: true });
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
      this.#ready = true;
      this.#works();
      this.#listen(socket);
    } catch (error) {
      this.#fail(socket, error);
    }
  }

  /** @returns settles when the kernel has taken the datagram or refused it; never rejects */
  async send(data: Buffer): Promise<boolean> {
    const socket = this.#socket;
    const { config } = this.#options;
    if (socket === undefined || !this.#ready) return false;
    try {
      if (config.type === 'multicast') await socket.send(data, config.port, config.group);
      else await this.#connected?.send(data);
      if (this.#socket === socket) this.#works();
      return true;
    } catch (error) {
      if (this.#socket === socket && !this.#closed) this.#limp(socket, error);
      return false;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    const socket = this.#socket;
    this.#drop();
    await socket?.close().catch(() => {});
  }

  async #connect(socket: SocketAsPromised, port: number): Promise<void> {
    const { selfAddress, peerAddress, onDatagram, onRefused } = this.#options;
    const connected = new ConnectedSocket({
      selfAddress,
      peerAddress,
      port,
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
    socket.socket.on('message', (data) => {
      if (this.#socket === socket) this.#options.onDatagram(data);
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
  }

  #set(why: string | undefined): void {
    if (this.#closed || (why === this.#why && why !== undefined)) return;
    const changed = why !== this.#why;
    this.#why = why;
    if (changed) this.#options.onState(why);
  }
}

function explain(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'EADDRNOTAVAIL') return `no interface of this machine has the address (${messageOf(error)})`;
  if (code === 'EADDRINUSE') return `another program uses the port (${messageOf(error)})`;
  if (code === 'ENETUNREACH' || code === 'EHOSTUNREACH') return `there is no route (${messageOf(error)})`;
  return messageOf(error);
}

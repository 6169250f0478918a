import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { monotonicMs } from '../common/events.ts';

/** Turns of the event loop without another refusal: the sockets were polled in between. */
const QUIET_TURNS = 2;
/** A refusal is told after so many turns at the latest; a turn takes microseconds. */
const MAX_TURNS = 20;

export interface ConnectedSocketOptions {
  readonly selfAddress: string;
  readonly peerAddress: string;
  /** The same on both nodes. */
  readonly port: number;
  readonly sendBufferBytes: number;
  /** Sends from the same address and port, by a socket that hears of no refusals. */
  sendUnconnected(data: Buffer): Promise<unknown>;
  onDatagram(data: Buffer, from: string): void;
  /** The peer's host says that nobody listens there; the datagram before was sent so long ago. */
  onRefused(roundTripMs: number): void;
  /** It does not work any more. */
  onError(error: Error): void;
}

/**
 * A UDP socket with one peer. Only such a socket is told when a datagram was refused (ICMP port unreachable, RFC 1122
 * section 4.1.3.3), which is how a node learns within a round trip that the process at the other end is gone.
 *
 * It shares its address and port with the path's other socket: the kernel gives it what comes from the peer's port,
 * and the rest, such as a guardian's farewell, to the other one.
 */
export class ConnectedSocket {
  readonly #options: ConnectedSocketOptions;
  /** For what only its descriptor can do, such as a filter. */
  readonly socket: Socket;
  #sentMs = 0;
  #isReporting = false;
  #quietTurns = 0;
  #closed = false;

  constructor(options: ConnectedSocketOptions) {
    this.#options = options;
    this.socket = createSocket({
      type: isIPv6(options.selfAddress) ? 'udp6' : 'udp4',
      reusePort: true,
      sendBufferSize: options.sendBufferBytes,
    });
  }

  /** Rejects when the address is not this machine's or there is no route to the peer. */
  async open(): Promise<void> {
    const { selfAddress, peerAddress, port } = this.#options;
    const socket = this.socket;
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind({ port, address: selfAddress }, () => {
        socket.connect(port, peerAddress, ((error?: Error) => {
          socket.off('error', reject);
          if (error) reject(error);
          else resolve();
        }) as () => void);
      });
    });
    socket.on('message', (data, { address }) => this.#options.onDatagram(data, address));
    socket.on('error', (error) => this.#failed(error));
  }

  /** @returns settles when the kernel has taken the datagram or refused it; rejects with any other error */
  async send(data: Buffer): Promise<void> {
    this.#sentMs = monotonicMs();
    try {
      await this.#send(data);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      this.#failed(error);
      // The kernel reports the refusal of an earlier datagram instead of sending this one. Whoever forges refusals could
      // have it do so each time; the other socket is not told of any.
      await this.#options.sendUnconnected(data);
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // What the kernel still has to say is nobody's business any more.
    this.socket.removeAllListeners('error').on('error', () => {});
    this.socket.close();
  }

  #send(data: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.socket.send(data, (error) => (error ? reject(error) : resolve()));
    });
  }

  #failed(error: Error): void {
    if (this.#closed) return;
    if (isRefusal(error)) this.#refused(monotonicMs() - this.#sentMs);
    else this.#options.onError(error);
  }

  /**
   * What waits in the socket is heard first: it may be the peer's farewell. The kernel hands out an error before the
   * datagrams, and each answer to one of these may bring the next error: until a poll has met none.
   */
  #refused(roundTripMs: number): void {
    this.#quietTurns = 0;
    if (this.#isReporting) return;
    this.#isReporting = true;
    let left = MAX_TURNS;
    const look = () => {
      if (this.#quietTurns++ < QUIET_TURNS && left-- > 0) {
        setImmediate(look);
        return;
      }
      this.#isReporting = false;
      if (!this.#closed) this.#options.onRefused(roundTripMs);
    };
    setImmediate(look);
  }
}

function isRefusal(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && error.code === 'ECONNREFUSED';
}

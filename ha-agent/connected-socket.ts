import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { monotonicMs } from '../common/events.ts';

export interface ConnectedSocketOptions {
  readonly selfAddress: string;
  readonly peerAddress: string;
  /** The same on both nodes. */
  readonly port: number;
  onDatagram(data: Buffer): void;
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
  readonly #socket: Socket;
  #sentMs = 0;
  #closed = false;

  constructor(options: ConnectedSocketOptions) {
    this.#options = options;
    this.#socket = createSocket({ type: isIPv6(options.selfAddress) ? 'udp6' : 'udp4', reuseAddr: true });
  }

  /** Rejects when the address is not this machine's or there is no route to the peer. */
  async open(): Promise<void> {
    const { selfAddress, peerAddress, port } = this.#options;
    const socket = this.#socket;
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
    socket.on('message', (data) => this.#options.onDatagram(data));
    socket.on('error', (error) => this.#failed(error));
  }

  /** @returns settles when the kernel has taken the datagram; rejects with its error */
  send(data: Buffer): Promise<void> {
    this.#sentMs = monotonicMs();
    return this.#send(data).catch((error: unknown) => {
      if (!isRefusal(error)) throw error;
      // The kernel reports the refusal of an earlier datagram instead of sending this one.
      this.#failed(error);
      return this.#send(data);
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // What the kernel still has to say is nobody's business any more.
    this.#socket.removeAllListeners('error').on('error', () => {});
    this.#socket.close();
  }

  #send(data: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.send(data, (error) => (error ? reject(error) : resolve()));
    });
  }

  #failed(error: Error): void {
    if (this.#closed) return;
    if (isRefusal(error)) this.#options.onRefused(monotonicMs() - this.#sentMs);
    else this.#options.onError(error);
  }
}

function isRefusal(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && error.code === 'ECONNREFUSED';
}

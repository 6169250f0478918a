import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { SocketAddress } from '../../common/address.ts';
import { descriptorOf } from '../../common/descriptors.ts';
import { OperatorError } from '../../common/errors.ts';
import { libc, SO, SOL_SOCKET } from '../../common/libc.ts';
import type { ByteSink } from './byte-sink.ts';
import { adopt } from './raw-socket.ts';

/** `*` is every address of both families; on a host without IPv6, of IPv4. */
const ANY_HOSTS = ['::', '0.0.0.0'];

/** Handshakes that have begun get so long, and the thread as long to accept what they made. */
const LEAVE_MS = 250;
/** Indexes are given from 1 upwards. */
const NO_INTERFACE = 0x7fffffff;

/** Makes what handles a new connection; its socket is paused until it calls `resume()`. */
export type Accept = (socket: net.Socket) => ByteSink;
/** A connection could not be accepted; what is open goes on, and the next one may succeed again. */
export type OnAcceptError = (error: NodeJS.ErrnoException) => void;

/**
 * Listens on one address for this worker. Every worker listens on the same one with SO_REUSEPORT, and the
 * kernel spreads the connections over them.
 */
export class Listener {
  readonly address: SocketAddress;
  readonly #server: net.Server;
  #accept: Accept;
  #onError: OnAcceptError;

  private constructor(address: SocketAddress, accept: Accept, onError: OnAcceptError) {
    this.address = address;
    this.#accept = accept;
    this.#onError = onError;
    this.#server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true, noDelay: true }, (socket) =>
      adopt(socket, (it) => this.#accept(it)),
    );
  }

  /** @throws OperatorError `BIND` when the address cannot be had */
  static async open(address: SocketAddress, accept: Accept, onError: OnAcceptError): Promise<Listener> {
    let last: NodeJS.ErrnoException | undefined;
    for (const host of address.host === '*' ? ANY_HOSTS : [address.host]) {
      const listener = new Listener(address, accept, onError);
      try {
        await listener.#listen(host);
        return listener;
      } catch (error) {
        last = error as NodeJS.ErrnoException;
        if (last.code !== 'EAFNOSUPPORT' && last.code !== 'EADDRNOTAVAIL') break;
      }
    }
    throw new OperatorError('BIND', `cannot listen on ${address.host}:${address.port}: ${last?.code}`, {
      cause: last,
    });
  }

  #listen(host: string): Promise<void> {
    const server = this.#server;
    return new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port: this.address.port, reusePort: true, backlog: 4096 }, () => {
        server.off('error', reject);
        server.on('error', (error) => this.#onError(error));
        resolve();
      });
    });
  }

  /** Gives the socket to somebody else, and with it the connections that wait to be accepted. */
  handTo(accept: Accept, onError: OnAcceptError): void {
    this.#accept = accept;
    this.#onError = onError;
  }

  /**
   * Closes it once those have been accepted who have begun to connect: the kernel resets all that a listening socket still
   * has when it is closed, and their clients take themselves for connected. Nobody new comes in meanwhile, once every worker
   * does this.
   */
  async leave(): Promise<void> {
    if (this.#hide()) await delay(LEAVE_MS);
    this.close();
  }

  /**
   * Nobody finds the socket any more, but for handshakes that it has begun: it is bound to an interface that there is not
   * (SO_BINDTOIFINDEX, Linux 5.0; without a capability 5.7).
   *
   * @returns false where that cannot be had
   */
  #hide(): boolean {
    const index = Buffer.alloc(4);
    index.writeInt32LE(NO_INTERFACE);
    try {
      const fd = descriptorOf(this.#server);
      return libc().setsockopt(fd, SOL_SOCKET, SO.bindToInterface, index, index.length) === 0;
    } catch {
      return false;
    }
  }

  /** Takes no new connections; open ones are not touched. Those that wait to be accepted are reset. */
  close(): void {
    this.#server.close();
  }
}

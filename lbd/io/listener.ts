import net from 'node:net';
import type { SocketAddress } from '../../common/address.ts';
import { OperatorError } from '../../common/errors.ts';
import type { ByteSink } from './byte-sink.ts';
import { adopt } from './raw-socket.ts';

/** `*` is every address of both families; on a host without IPv6, of IPv4. */
const ANY_HOSTS = ['::', '0.0.0.0'];

/**
 * Listens on one address for this worker. Every worker listens on the same one with SO_REUSEPORT, and the
 * kernel spreads the connections over them.
 */
export class Listener {
  readonly address: SocketAddress;
  readonly #server: net.Server;

  private constructor(address: SocketAddress, server: net.Server) {
    this.address = address;
    this.#server = server;
  }

  /**
   * @param accept makes what handles a new connection; the socket is paused until it calls `resume()`
   * @param onError a connection could not be accepted; what is open goes on, and the next one may succeed again
   * @throws OperatorError `BIND` when the address cannot be had
   */
  static async open(
    address: SocketAddress,
    accept: (socket: net.Socket) => ByteSink,
    onError: (error: NodeJS.ErrnoException) => void,
  ): Promise<Listener> {
    let last: NodeJS.ErrnoException | undefined;
    for (const host of address.host === '*' ? ANY_HOSTS : [address.host]) {
      const server = net.createServer(
        { pauseOnConnect: true, allowHalfOpen: true, noDelay: true },
        (socket) => adopt(socket, accept),
      );
      try {
        await new Promise<void>((resolve, reject) => {
          server.once('error', reject);
          server.listen({ host, port: address.port, reusePort: true, backlog: 4096 }, resolve);
        });
        server.on('error', onError);
        return new Listener(address, server);
      } catch (error) {
        last = error as NodeJS.ErrnoException;
        if (last.code !== 'EAFNOSUPPORT' && last.code !== 'EADDRNOTAVAIL') break;
      }
    }
    throw new OperatorError('BIND', `cannot listen on ${address.host}:${address.port}: ${last?.code}`, {
      cause: last,
    });
  }

  /** Takes no new connections; open ones are not touched. */
  close(): void {
    this.#server.close();
  }
}

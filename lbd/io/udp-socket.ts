import dgram from 'node:dgram';

/** What the kernel may hold for a socket that is not read for a moment; it grants at most `net.core.rmem_max`. */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;
/** What may wait in this process because the kernel takes no more; UDP may lose, memory must not fill. */
const MAX_UNSENT_BYTES = 512 * 1024;

/** Who reads a socket. */
export interface DatagramSink {
  /** `bytes` is the receiver's to keep. */
  onDatagram(bytes: Buffer, from: dgram.RemoteInfo): void;
  onSocketError(error: NodeJS.ErrnoException): void;
}

/**
 * Binds an address and port of this node, together with all other workers (SO_REUSEPORT: the kernel gives each
 * client address and port to one of them).
 *
 * @param host an IP address; `::` is IPv6 alone
 * @throws NodeJS.ErrnoException from the kernel
 */
export async function bindDatagrams(host: string, port: number, sink: DatagramSink): Promise<dgram.Socket> {
  const socket = dgram.createSocket({
    type: typeOf(host),
    reusePort: true,
    ...(host.includes(':') ? { ipv6Only: true } : {}),
    lookup: asIs,
    recvBufferSize: RECEIVE_BUFFER_BYTES,
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', (error) => {
      socket.close();
      reject(error);
    });
    socket.bind(port, host, () => {
      socket.removeAllListeners('error');
      resolve();
    });
  });
  attach(socket, sink);
  return socket;
}

/**
 * A socket to one peer: it hears nobody else, and hears of it when nobody listens there. It can send at once.
 *
 * @param address an IP address
 */
export function connectDatagrams(address: string, port: number, sink: DatagramSink): dgram.Socket {
  const socket = dgram.createSocket({ type: typeOf(address), lookup: asIs });
  attach(socket, sink);
  socket.connect(port, address);
  return socket;
}

/**
 * @param to of a bound socket; a connected one has its peer
 * @returns false: dropped, because too much waits to leave already, or the socket is not connected, or no more
 */
export function sendDatagram(socket: dgram.Socket, bytes: Buffer, port?: number, to?: string): boolean {
  try {
    if (socket.getSendQueueSize() > MAX_UNSENT_BYTES) return false;
    if (port === undefined) socket.send(bytes);
    else socket.send(bytes, port, to);
    return true;
  } catch {
    // Its 'error' event tells why; a datagram must not end the thread.
    return false;
  }
}

function attach(socket: dgram.Socket, sink: DatagramSink): void {
  socket.on('message', (bytes, from) => sink.onDatagram(bytes, from));
  socket.on('error', (error) => sink.onSocketError(error));
}

function typeOf(host: string): 'udp4' | 'udp6' {
  return host.includes(':') ? 'udp6' : 'udp4';
}

/** Addresses are what they are: Node would look up even those, for every datagram. */
function asIs(
  host: string,
  _options: unknown,
  done: (error: null, address: string, family: number) => void,
): void {
  done(null, host, host.includes(':') ? 6 : 4);
}

import net from 'node:net';

/**
 * The only file that knows how a socket reads into the worker's one static buffer (`onread`, and the accepted
 * handle that Node does not offer it for). All sockets of a thread share the buffer: its bytes are valid only
 * during the callback; whoever needs them longer copies them.
 */
const READ_BYTES = 64 * 1024;

/** Receives what a socket reads. */
export interface ByteSink {
  /** `buffer` is shared and overwritten by the next read; the bytes are at 0 to `length - 1`. */
  onBytes(buffer: Buffer, length: number): void;
}

/** `onread` is not in the typings of the constructor, and neither is the handle. */
type SocketInternals = Omit<net.SocketConstructorOpts, 'handle'> & {
  handle: unknown;
  pauseOnCreate: boolean;
  onread: { buffer: Uint8Array; callback: (bytes: number, buffer: Uint8Array) => boolean };
};
type WithHandle = { _handle: { readonly fd?: number } | null | undefined };

let shared: Buffer | undefined;

/** Made at the first use, so that the main thread, which relays nothing, does not hold one. */
function readBuffer(): Buffer {
  shared ??= Buffer.allocUnsafeSlow(READ_BYTES);
  return shared;
}

/**
 * Rebuilds an accepted socket so that it reads into the shared buffer. The server must have been made with
 * `pauseOnConnect`, else bytes could be lost. Where the handle is not to be had, the socket itself is used with
 * `data` events, which is slower and otherwise the same.
 *
 * @param makeSink called with the socket to use; nothing is read before it returns and `socket.resume()` is called
 */
export function adopt(accepted: net.Socket, makeSink: (socket: net.Socket) => ByteSink): void {
  const handle = (accepted as unknown as WithHandle)._handle;
  if (handle === undefined || handle === null) {
    const sink = makeSink(accepted);
    accepted.on('data', (bytes: Buffer) => sink.onBytes(bytes, bytes.length));
    return;
  }
  (accepted as unknown as WithHandle)._handle = null;
  // Without its handle this only takes the connection off the server's books, so that server.close() can end.
  accepted.destroy();
  let sink: ByteSink | undefined;
  const options: SocketInternals = {
    handle,
    allowHalfOpen: true,
    pauseOnCreate: true,
    onread: {
      buffer: readBuffer(),
      callback: (bytes, buffer) => {
        sink?.onBytes(buffer as Buffer, bytes);
        return true;
      },
    },
  };
  const socket = new net.Socket(options as net.SocketConstructorOpts);
  sink = makeSink(socket);
}

/** File descriptor of an open socket; -1 where it is not to be had. */
export function descriptorOf(socket: net.Socket): number {
  return (socket as unknown as WithHandle)._handle?.fd ?? -1;
}

/** Connects to a backend, half-open allowed, without Nagle's delay; reads into the shared buffer. */
export function dial(host: string, port: number, sink: ByteSink): net.Socket {
  return net.connect({
    host,
    port,
    allowHalfOpen: true,
    noDelay: true,
    onread: {
      buffer: readBuffer(),
      callback: (bytes, buffer) => {
        sink.onBytes(buffer as Buffer, bytes);
        return true;
      },
    },
  });
}

/** Address of the client; an IPv4 one on a socket of both families is told as IPv4. */
export function clientAddress(socket: net.Socket): string {
  const address = socket.remoteAddress ?? '';
  return address.startsWith('::ffff:') ? address.slice(7) : address;
}

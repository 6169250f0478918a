import { readSync, writeSync } from 'node:fs';
import type net from 'node:net';
import { descriptorOf } from '../../common/descriptors.ts';
import type { Endpoints } from '../../common/proxy-protocol.ts';
import type { ByteSink } from './byte-sink.ts';
import { writeSoon } from './direct-io.ts';
import { encryptsAtOnce } from './encrypting.ts';
import { release } from './hold-back.ts';
import { readBuffer } from './read-buffer.ts';
import { RelaySocket } from './relay-socket.ts';
import { endsConnection } from './socket-error.ts';

/**
 * The only file that knows how a socket reads into the worker's one static buffer (`onread`, and the accepted
 * handle that Node does not offer it for). All sockets of a thread share the buffer: its bytes are valid only
 * during the callback; whoever needs them longer copies them.
 */
/** Up to here a copy costs less than waking the other side for each write. */
const SMALL_BYTES = 2048;
/** Of an answer that waits in the kernel while its connection breaks, at most so much is saved. */
const MAX_RESCUED_BYTES = 1 << 20;

/** `onread` is not in the typings of the constructor, and neither is the handle. */
type SocketInternals = Omit<net.SocketConstructorOpts, 'handle'> & {
  noDelay?: boolean;
  handle: unknown;
  pauseOnCreate: boolean;
  onread: { buffer: Uint8Array; callback: (bytes: number, buffer: Uint8Array) => boolean };
};
type WithHandle = { _handle: unknown };

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
  const socket = new RelaySocket(options as net.SocketConstructorOpts);
  sink = makeSink(socket);
  socket.sink = sink;
}

/**
 * Writes bytes that are valid only now, such as those of the shared buffer. What the kernel takes at once is not copied:
 * for a large body, copying and the memory for it cost several times what the rest of a relay does.
 *
 * @param to neither ended nor connecting
 * @returns as `write` of a socket: false where it has to wait for `drain`
 */
export function send(to: net.Socket, buffer: Buffer, start: number, length: number): boolean {
  if (length <= SMALL_BYTES) return writeSoon(to, buffer, start, length);
  let sent = 0;
  release(to);
  // Behind bytes that wait, a direct write would overtake them.
  if (to instanceof RelaySocket && to.writableLength === 0 && !to.writableEnded) {
    if (to.fd >= 0) sent = sendNow(to, buffer, start, length);
    if (sent === length) return true;
  } else if (encryptsAtOnce(to)) return to.write(buffer.subarray(start, start + length));
  return to.write(Buffer.copyBytesFrom(buffer, start + sent, length - sent));
}

/** @returns how much the kernel took; all of it where the connection is over, which is told later */
function sendNow(to: RelaySocket, buffer: Buffer, start: number, length: number): number {
  try {
    return writeSync(to.fd, buffer, start, length);
  } catch (error) {
    if (!endsConnection(-(error as { errno: number }).errno)) return 0;
    to.fail(error as Error);
    return length;
  }
}

/**
 * A connection to a backend. When a write fails, Node closes a socket without reading what the other side said
 * before: a backend that answers early and closes resets the rest of the request, and its answer would be lost.
 * This one reads it first.
 */
class DialSocket extends RelaySocket {
  readonly #sink: ByteSink;

  constructor(options: net.SocketConstructorOpts, sink: ByteSink) {
    super(options);
    this.#sink = this.sink = sink;
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const { syscall, code } = (error ?? {}) as NodeJS.ErrnoException;
    if (syscall === 'write') this.#rescue(code === 'EPIPE');
    super._destroy(error, callback);
  }

  /** @param ended the other side ended before it reset; behind a reset alone the kernel reads as an end, too */
  #rescue(ended: boolean): void {
    const fd = descriptorOf(this);
    if (fd < 0 || this.readableEnded) return;
    this.handOnEarly();
    const all = readRest(fd, (buffer, length) => {
      this.#sink.onBytes(buffer, length);
      return true;
    });
    if (all && ended) this.emit('end');
  }
}

/**
 * Reads what waits in the kernel on a connection whose write failed, into a buffer of its own: this runs within a
 * callback that may still use the one that all sockets share.
 *
 * @param take gets each piece, valid during the call; returns whether it wants more
 * @returns whether it came to the end; any other end of the connection is the error that is told already
 */
export function readRest(fd: number, take: (buffer: Buffer, length: number) => boolean): boolean {
  const buffer = Buffer.allocUnsafe(readBuffer().length);
  for (let left = MAX_RESCUED_BYTES; left > 0; ) {
    let length: number;
    try {
      length = readSync(fd, buffer);
    } catch {
      // EAGAIN: that was all.
      return false;
    }
    if (length === 0) return true;
    left -= length;
    if (!take(buffer, length)) return false;
  }
  return false;
}

/**
 * In the place of `dns.lookup`, which would hold threads of the process for as long as a name server does not answer: the
 * main thread resolves names, and here are addresses alone. Where there is none, the connection fails.
 */
export const noLookup: net.LookupFunction = (host, _options, done) => {
  process.nextTick(done, Object.assign(new Error(`no address: ${host}`), { code: 'ENOTFOUND' }), '');
};

/** Connects to a backend, half-open allowed, without Nagle's delay; reads into the shared buffer. */
export function dial(host: string, port: number, sink: ByteSink): net.Socket {
  const options: Omit<SocketInternals, 'handle' | 'pauseOnCreate'> = {
    allowHalfOpen: true,
    noDelay: true,
    onread: {
      buffer: readBuffer(),
      callback: (bytes, buffer) => {
        sink.onBytes(buffer as Buffer, bytes);
        return true;
      },
    },
  };
  return new DialSocket(options as net.SocketConstructorOpts, sink).connect({ host, port, lookup: noLookup });
}

/**
 * Ends a connection with a reset. libuv refuses one (EINVAL) while the end of our side is on its way to the kernel, and
 * Node then forgets the descriptor without closing it and never tells. By that time all that was written has left, so
 * that a plain close does.
 */
export function resetNow(socket: net.Socket): void {
  // What was written before still reaches the other side, if it is quick.
  release(socket);
  if (socket.writableEnded && !socket.writableFinished && socket.writableLength === 0) socket.destroy();
  else socket.resetAndDestroy();
}

/** Address of the client; an IPv4 one on a socket of both families is told as IPv4. */
export function clientAddress(socket: net.Socket): string {
  return asIPv4(socket.remoteAddress ?? '');
}

/** Both ends of an accepted connection; empty addresses where it is gone. */
export function endpointsOf(socket: net.Socket): Endpoints {
  return {
    address: clientAddress(socket),
    port: socket.remotePort ?? 0,
    toAddress: asIPv4(socket.localAddress ?? ''),
    toPort: socket.localPort ?? 0,
  };
}

/** An address as the kernel tells it of a socket of both families, as IPv4 where it is. */
export function asIPv4(address: string): string {
  return address.startsWith('::ffff:') ? address.slice(7) : address;
}

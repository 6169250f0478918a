import net from 'node:net';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import type { ByteSink } from './byte-sink.ts';
import { noLookup, readRest } from './raw-socket.ts';
import { readBuffer } from './read-buffer.ts';

/**
 * The only file that knows what is inside a TLSSocket: how it reads into the worker's static buffer, which Node offers
 * for outgoing connections only, how it is reset, which Node offers for plain ones only, and how it is read after a write
 * failed. Where a name is not to be had, `data` events, a plain close or a lost answer take its place.
 */
interface Handle {
  reading: boolean;
  useUserBuffer?(buffer: Uint8Array): void;
  /** Takes bytes as if the TCP connection had read them. */
  receive?(encrypted: Uint8Array): void;
  /** The handle of the TCP connection. */
  readonly _parent?: {
    readonly fd?: number;
    close(done?: () => void): void;
    reset?(done?: () => void): number;
  };
}
type Internals = TLSSocket & {
  _handle: Handle | null;
  readonly _parent: net.Socket;
  readonly _readableState: { readonly ended: boolean };
  secureReader?: SecureReader;
  [key: symbol]: unknown;
};

const SYMBOLS = Object.getOwnPropertySymbols(new net.Socket());
const BUFFER = SYMBOLS.find(({ description }) => description === 'kBuffer');
const CALLBACK = SYMBOLS.find(({ description }) => description === 'kBufferCb');

/** A paused socket stays still: OpenSSL may have decrypted more than was read when it was paused. */
class SecureReader {
  sink: ByteSink | undefined;
  #held: Buffer | undefined;
  #ended = false;
  readonly #socket: Internals;

  constructor(socket: Internals) {
    this.#socket = socket;
  }

  /** Whether nothing may be handed on now. */
  get #still(): boolean {
    return this.#held !== undefined || this.#socket._handle?.reading === false;
  }

  take(buffer: Buffer, length: number): void {
    if (!this.#still) this.sink!.onBytes(buffer, length);
    else {
      const bytes = Buffer.copyBytesFrom(buffer, 0, length);
      this.#held = this.#held === undefined ? bytes : Buffer.concat([this.#held, bytes]);
    }
  }

  /** @returns whether the end is told later, after the bytes before it */
  holdEnd(): boolean {
    if (this.#held === undefined) return false;
    this.#ended = true;
    return true;
  }

  resumed(): void {
    if (this.#held !== undefined) process.nextTick(release, this);
  }

  release(): void {
    const socket = this.#socket;
    const held = this.#held;
    // After the end of input Node does not read any more, paused or not.
    const paused = this.#ended ? socket.isPaused() : socket._handle?.reading === false;
    if (held === undefined || socket.destroyed || paused) return;
    this.#held = undefined;
    this.sink!.onBytes(held, held.length);
    if (!this.#ended) return;
    this.#ended = false;
    socket.push(null);
    socket.read(0);
  }
}

function release(reader: SecureReader): void {
  reader.release();
}

/**
 * Lets an accepted connection whose handshake is over read into the shared buffer. Called within `secureConnection`,
 * when no byte has been read yet.
 *
 * @param makeSink called with the socket to use; nothing is handed on before `socket.resume()` is called
 */
export function adoptSecure(accepted: TLSSocket, makeSink: (socket: net.Socket) => ByteSink): void {
  const socket = accepted as Internals;
  allowReset(socket);
  const handle = socket._handle;
  if (BUFFER === undefined || CALLBACK === undefined || handle?.useUserBuffer === undefined) {
    const sink = makeSink(socket);
    socket.on('data', (bytes: Buffer) => sink.onBytes(bytes, bytes.length));
    return;
  }
  const reader = new SecureReader(socket);
  socket.secureReader = reader;
  socket[BUFFER] = readBuffer();
  socket[CALLBACK] = onRead;
  handle.useUserBuffer(readBuffer());
  socket.push = push;
  socket.resume = resume;
  socket.pause();
  reader.sink = makeSink(socket);
}

type Options = ConnectionOptions & Pick<net.SocketConstructorOpts, 'allowHalfOpen' | 'onread'>;

/** What a TLS connection to a backend begins with, and the session that it leaves for the next one. */
export interface SecureTarget {
  readonly options: ConnectionOptions;
  session: Buffer | undefined;
}

/**
 * As `dial`, with TLS: the socket emits `secureConnect` once the backend has proven who it is, where it must. When it is
 * paused, what is decrypted already still comes.
 *
 * @param preamble the first bytes on the connection, in the clear: a PROXY header
 */
export function dialSecure(
  host: string,
  port: number,
  target: SecureTarget,
  sink: ByteSink,
  preamble?: Buffer,
): TLSSocket {
  const common: Options = {
    ...target.options,
    host,
    port,
    lookup: noLookup,
    session: target.session,
    allowHalfOpen: true,
  };
  const socket =
    preamble === undefined ? connectReading(common, sink) : connectAfter(preamble, host, port, common, sink);
  allowReset(socket);
  socket.destroy = destroy;
  // RFC 8446 section 4.6.1: tickets come after the handshake, and a later one replaces an earlier one.
  socket.on('session', (session) => {
    target.session = session;
  });
  return socket;
}

function connectReading(common: Options, sink: ByteSink): TLSSocket {
  const options: Options = {
    ...common,
    onread: {
      buffer: readBuffer(),
      callback: (bytes, buffer) => {
        sink.onBytes(buffer as Buffer, bytes);
        return true;
      },
    },
  };
  const socket = connect(options);
  socket.once('connect', withoutDelay);
  return socket;
}

/** A connection that was begun in the clear does not read into a buffer of ours. */
function connectAfter(
  preamble: Buffer,
  host: string,
  port: number,
  common: Options,
  sink: ByteSink,
): TLSSocket {
  const plain = net.connect({ host, port, lookup: noLookup, allowHalfOpen: true, noDelay: true });
  plain.write(preamble);
  const socket = connect({ ...common, socket: plain });
  socket.on('data', (bytes: Buffer) => sink.onBytes(bytes, bytes.length));
  return socket;
}

function withoutDelay(this: net.Socket): void {
  this.setNoDelay(true);
}

/** The connection that the TLS of an accepted one was put on. */
export function plainOf(socket: TLSSocket): net.Socket {
  return (socket as Internals)._parent;
}

/** Gives a TLS connection the `resetAndDestroy` that plain ones have. */
export function allowReset(socket: TLSSocket): void {
  socket.resetAndDestroy = resetAndDestroy;
}

// Shared functions instead of closures: a connection costs no function objects of its own.
function onRead(this: Internals, bytes: number, buffer: Buffer): boolean {
  this.secureReader!.take(buffer, bytes);
  return true;
}

function push(this: Internals, chunk: unknown, encoding?: BufferEncoding): boolean {
  if (chunk === null && this.secureReader!.holdEnd()) return false;
  return net.Socket.prototype.push.call(this, chunk, encoding);
}

function resume(this: Internals): Internals {
  net.Socket.prototype.resume.call(this);
  this.secureReader!.resumed();
  return this;
}

/**
 * As `DialSocket`: when a write fails, what the backend said before is read first. Here it must be decrypted, and that
 * only a socket does that is not destroyed yet.
 */
function destroy(this: TLSSocket, error?: Error): TLSSocket {
  this.destroy = net.Socket.prototype.destroy as TLSSocket['destroy'];
  if ((error as NodeJS.ErrnoException | undefined)?.syscall === 'write') rescue(this as Internals);
  return this.destroy(error);
}

function rescue(socket: Internals): void {
  const handle = socket._handle;
  const fd = handle?._parent?.fd ?? -1;
  if (fd < 0 || handle?.receive === undefined || socket.readableEnded) return;
  if (BUFFER !== undefined && handle.useUserBuffer !== undefined && socket[BUFFER]) {
    // Not the buffer that all sockets share, see `readRest`.
    const buffer = Buffer.allocUnsafe(readBuffer().length);
    socket[BUFFER] = buffer;
    handle.useUserBuffer(buffer);
  }
  // Without the end of TLS itself (RFC 8446 section 6.1) nobody knows whether more was to come before the reset.
  let { ended } = socket._readableState;
  // Where the buffer is not ours, what came to a paused connection waits in the stream, which tells it when it is read,
  // but takes nothing more.
  while (!socket.destroyed && socket.read() !== null);
  socket.push = (chunk: Buffer | null) => {
    if (chunk === null) ended = true;
    else socket.emit('data', chunk);
    return true;
  };
  readRest(fd, (encrypted, length) => {
    if (!socket.destroyed) handle.receive!(encrypted.subarray(0, length));
    return !socket.destroyed;
  });
  if (ended && !socket.destroyed) socket.emit('end');
}

function resetAndDestroy(this: TLSSocket): TLSSocket {
  const parent = (this as Internals)._handle?._parent;
  if (parent?.reset !== undefined) {
    const close = parent.close;
    parent.close = (done) => {
      // Once our end is out, the kernel does not reset any more: a close has to do.
      if (parent.reset!(done) !== 0) close.call(parent, done);
    };
  }
  return this.destroy();
}

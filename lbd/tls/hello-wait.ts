import type net from 'node:net';
import type { ByteSink } from '../io/byte-sink.ts';
import { MAX_HELLO_BYTES, readClientHello } from './client-hello.ts';

type Waiting = net.Socket & { helloWait?: HelloWait };

/** What becomes of a connection whose ClientHello is waited for: exactly one of the two. */
export interface HelloResult {
  /**
   * The socket is paused, and holds every byte that came.
   *
   * @param serverName lower case; empty where there is none, or no ClientHello that can be read
   */
  named(socket: net.Socket, serverName: string): void;
  /** The connection is over. */
  failed(socket: net.Socket, error: NodeJS.ErrnoException): void;
}

/**
 * Waits for the ClientHello of a connection whose TLS ends here, so that the certificates of its name are all that the
 * handshake knows. Node offers a name later, when the default's certificates stand in the connection already: of the
 * name's own it puts one beside them, and a client that cannot use that one, or likes the kind of the default's better,
 * would be shown another name's.
 */
export class HelloWait implements ByteSink {
  readonly #socket: net.Socket;
  readonly #result: HelloResult;
  readonly #timer: NodeJS.Timeout;
  #bytes: Buffer | undefined;
  #over = false;

  /**
   * @param socket paused
   * @param patienceMs for the ClientHello; the handshake has as long again
   */
  constructor(socket: net.Socket, patienceMs: number, result: HelloResult) {
    this.#socket = socket;
    this.#result = result;
    this.#timer = setTimeout(late, patienceMs, this);
    (socket as Waiting).helloWait = this;
    socket.on('error', onError);
    socket.on('close', onClose);
    socket.resume();
  }

  onBytes(buffer: Buffer, length: number): void {
    const came = buffer.subarray(0, length);
    // What comes behind the ClientHello belongs to whoever has the socket then.
    if (this.#over) {
      this.#socket.unshift(Buffer.from(came));
      return;
    }
    this.#bytes = this.#bytes === undefined ? Buffer.from(came) : Buffer.concat([this.#bytes, came]);
    const hello = readClientHello(this.#bytes.subarray(0, MAX_HELLO_BYTES));
    // What is wrong with one OpenSSL says, with the alert for it.
    if (hello.kind !== 'more') this.#named(hello.kind === 'hello' ? hello.serverName : '', this.#bytes);
  }

  #named(serverName: string, bytes: Buffer): void {
    this.#end();
    this.#socket.pause();
    this.#socket.unshift(bytes);
    this.#result.named(this.#socket, serverName);
  }

  /** The connection broke, or takes too long. */
  fail(code: string): void {
    if (this.#over) return;
    this.#end();
    // Without a listener an error would end the thread.
    this.#socket.on('error', onError);
    this.#result.failed(this.#socket, Object.assign(new Error(code), { code }));
    this.#socket.destroy();
  }

  #end(): void {
    this.#over = true;
    this.#bytes = undefined;
    clearTimeout(this.#timer);
    this.#socket.off('error', onError);
    this.#socket.off('close', onClose);
  }
}

function late(wait: HelloWait): void {
  wait.fail('ERR_TLS_HANDSHAKE_TIMEOUT');
}

// Shared functions instead of closures: a connection costs no function objects of its own.
function onError(): void {}
function onClose(this: Waiting): void {
  this.helloWait!.fail('ECONNRESET');
}

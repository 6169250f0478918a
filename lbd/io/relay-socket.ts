import net from 'node:net';
import { descriptorOf } from '../../common/descriptors.ts';
import type { ByteSink } from './byte-sink.ts';

/** Where text of sockets lies that is held back. */
export interface TextHolder {
  /** What is held back of a socket goes to the kernel. */
  write(socket: RelaySocket): void;
}

/** Who reads from sockets beside Node. */
export interface SocketReader {
  /** A descriptor is a socket's no longer. */
  forget(fd: number): void;
}

/**
 * A connection whose bytes go to its descriptor as they are: no TLS on it. What is held back for it lies with `holder`;
 * all that is written goes behind it.
 */
export class RelaySocket extends net.Socket {
  /** Where its text lies in the buffer of `holder`. */
  heldAt = 0;
  /** 0: nothing is held back. */
  heldBytes = 0;
  holder: TextHolder | undefined;
  /** Receives what is read. */
  sink: ByteSink | undefined;
  reader: SocketReader | undefined;
  /** The latest read of `reader` brought more than a message. */
  readsMuch = false;
  /** Read when it was paused already. */
  #early: Buffer | undefined;
  #fd = -1;

  /** Descriptor; -1 before the connection is there, and from its end on, when it may be somebody else's. */
  get fd(): number {
    if (this.#fd < 0 && !this.connecting && !this.destroyed) this.#fd = descriptorOf(this);
    return this.#fd;
  }

  /** What is written now goes straight to the kernel, or is refused by it: nothing waits, and nothing is over. */
  get isClear(): boolean {
    return this.writable && this.writableLength === 0 && this.fd >= 0;
  }

  /** Writes what is held back. */
  letGo(): void {
    if (this.heldBytes > 0) this.holder!.write(this);
  }

  /** What was read of it goes to `sink`, or waits while it is paused. @param buffer its bytes are valid only now */
  handOn(buffer: Buffer, length: number): void {
    if (this.destroyed) return;
    if (this.isPaused()) this.#early = Buffer.copyBytesFrom(buffer, 0, length);
    else this.sink!.onBytes(buffer, length);
  }

  /** Something waits since it was paused; nothing may be read before `handOnEarly`. */
  get hasEarly(): boolean {
    return this.#early !== undefined;
  }

  handOnEarly(): void {
    const early = this.#early;
    this.#early = undefined;
    if (early !== undefined) this.sink!.onBytes(early, early.length);
  }

  /** Node reads on only after the tick, and so behind what waits. */
  override resume(): this {
    if (this.#early !== undefined)
      process.nextTick(() => {
        if (!this.isPaused()) this.handOnEarly();
      });
    return super.resume();
  }

  /** A write of ours has failed. As with Node's own, whoever wrote is told when it is done. */
  fail(error: Error): void {
    process.nextTick(() => this.destroy(error));
  }

  override write(...args: unknown[]): boolean {
    this.letGo();
    return super.write(...(args as [Uint8Array]));
  }

  override connect(...args: unknown[]): this {
    super.connect(...(args as [net.SocketConnectOpts]));
    // Node has put its own in this place.
    this.write = RelaySocket.prototype.write;
    return this;
  }

  override end(...args: unknown[]): this {
    this.letGo();
    return super.end(...(args as [Uint8Array]));
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.reader?.forget(this.#fd);
    this.reader = undefined;
    this.#fd = -1;
    this.heldBytes = 0;
    this.#early = undefined;
    super._destroy(error, callback);
  }
}

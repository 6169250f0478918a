import type { Attempts } from '../dispatch/attempts.ts';
import type { Upstream, UpstreamBackend, UpstreamUser } from '../dispatch/upstream.ts';
import { send } from '../io/raw-socket.ts';
import type { ClientStream, UpgradedStream } from './client-stream.ts';

/** A client connection that was upgraded, and its backend's: bytes go both ways unread, until both sides end. */
export class Tunnel implements UpgradedStream, UpstreamUser {
  readonly #client: ClientStream;
  readonly #attempts: Attempts;
  /** undefined: it is gone. */
  #upstream: Upstream | undefined;

  /** @param upstream on which the backend has agreed to the upgrade */
  constructor(client: ClientStream, upstream: Upstream, attempts: Attempts) {
    this.#client = client;
    this.#upstream = upstream;
    this.#attempts = attempts;
    upstream.claim(this);
  }

  get backend(): UpstreamBackend | undefined {
    return this.#upstream?.backend;
  }

  // From the client.

  onBytes(buffer: Buffer, length: number): void {
    this.#client.log?.received(length);
    if (this.#upstream !== undefined && !send(this.#upstream.socket, buffer, 0, length)) this.#client.pause();
  }

  onClientEnd(): void {
    this.#upstream?.socket.end();
  }

  onClientDrain(): void {
    this.#client.touch();
    this.#upstream?.socket.resume();
  }

  holdBackend(): void {
    this.#upstream?.socket.pause();
  }

  onClientClose(orderly: boolean): void {
    const upstream = this.#upstream;
    this.#upstream = undefined;
    this.#attempts.leave();
    if (orderly) upstream?.finish(this.#client.frontend.config.timeouts.idleMs);
    else upstream?.reset();
  }

  // From the backend.

  onUpstreamReady(): void {
    // The connection was there before the tunnel.
  }

  onUpstreamBytes(buffer: Buffer, length: number): void {
    this.#client.touch();
    this.#client.send(buffer, 0, length);
  }

  onUpstreamDrain(): void {
    this.#client.touch();
    this.#client.resume();
  }

  onUpstreamEnd(): void {
    this.#client.endOutput();
  }

  onUpstreamClose(why: string): void {
    this.#upstream = undefined;
    this.#attempts.leave();
    if (why === '') this.#client.endOutput();
    else this.#client.cut();
  }
}

import type { Attempts } from '../dispatch/attempts.ts';
import type { Upstream, UpstreamBackend, UpstreamUser } from '../dispatch/upstream.ts';
import { send } from '../io/raw-socket.ts';
import type { ClientStream, UpgradedStream } from './client-stream.ts';

/** What one side has said in full gets so long to reach the other, without progress, once its sender is gone. */
const LINGER_MS = 30_000;

/**
 * A client connection that was upgraded, and its backend's: bytes go both ways unread, until both sides end. As in `mode:
 * tcp`, the end of one side is passed on as an end, and anything else before it as a reset; a side that goes away after its
 * end was heard in full still has all of it delivered.
 */
export class Tunnel implements UpgradedStream, UpstreamUser {
  readonly #client: ClientStream;
  readonly #attempts: Attempts;
  /** undefined: it is gone. */
  #upstream: Upstream | undefined;
  #backendEnded = false;
  #clientClosed = false;

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
    // The backend has ended and is gone: nobody is left to hear it, but the client may still be reading.
    if (this.#upstream === undefined) return;
    this.#client.touch();
    this.#client.log?.received(length);
    if (!send(this.#upstream.socket, buffer, 0, length)) this.#client.pause();
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
    if (orderly && upstream !== undefined) {
      this.#clientClosed = true;
      upstream.deadline = this.#lingering();
      // Nobody reads what it still says. What is unread would make of our end a reset, which overtakes what waits.
      upstream.socket.resume();
      return;
    }
    this.#leave();
    upstream?.reset();
  }

  // From the backend.

  onUpstreamReady(): void {
    // The connection was there before the tunnel.
  }

  onUpstreamBytes(buffer: Buffer, length: number): void {
    if (this.#clientClosed) return;
    this.#client.touch();
    this.#client.send(buffer, 0, length);
  }

  onUpstreamDrain(): void {
    if (this.#clientClosed) {
      if (this.#upstream !== undefined) this.#upstream.deadline = this.#lingering();
      return;
    }
    this.#client.touch();
    this.#client.resume();
  }

  onUpstreamEnd(): void {
    this.#backendEnded = true;
    if (!this.#clientClosed) this.#client.endOutput();
  }

  onUpstreamClose(why: string): void {
    this.#leave();
    if (this.#clientClosed) return;
    if (why !== '' && !this.#backendEnded) {
      this.#client.reset('response_cut');
      return;
    }
    this.#client.endOutput();
    this.#client.deadline = this.#lingering();
    this.#client.resume();
  }

  #lingering(): number {
    const { context, config } = this.#client.frontend;
    return context.deadlines.in(Math.min(LINGER_MS, config.timeouts.idleMs));
  }

  #leave(): void {
    this.#upstream = undefined;
    this.#attempts.leave();
  }
}

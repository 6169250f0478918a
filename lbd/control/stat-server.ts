import { closeSync, openSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { descriptorOf, sendDescriptor } from '../../common/descriptors.ts';
import { messageOf } from '../../common/errors.ts';
import { libc } from '../../common/libc.ts';
import { listenUnix } from '../../common/unix-socket.ts';

/**
 * The end of `lbd-stat.sock`: whoever connects gets a descriptor of this process's `/proc/self/stat` (proc(5)), and the
 * connection ends. By it `ha-agent` sees whether this process is stopped also where `/proc` hides the processes of others
 * from it. What connects can ask for nothing, and nothing is kept of it.
 */
export class StatServer {
  readonly #onTrouble: (text: string) => void;
  readonly #server = createServer((socket) => this.#accept(socket));
  #descriptor: number | undefined;
  #trouble: string | undefined;

  /** @param onTrouble the state of this process cannot be shown, and why: once for each cause */
  constructor(onTrouble: (text: string) => void) {
    this.#onTrouble = onTrouble;
  }

  /** What keeps `ha-agent` from seeing this process. */
  get warnings(): readonly string[] {
    return this.#trouble === undefined ? [] : [this.#trouble];
  }

  /** Never rejects: without it the agent looks into `/proc` itself. @returns whether it listens */
  async listen(path: string): Promise<boolean> {
    try {
      // Where nothing can be passed, nobody shall wait for it.
      libc();
      this.#descriptor = openSync('/proc/self/stat', 'r');
      await listenUnix(this.#server, path);
      return true;
    } catch (error) {
      this.#failed(error);
      this.#forget();
      return false;
    }
  }

  /** Removes the socket file. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#forget();
    });
  }

  #accept(socket: Socket): void {
    // It does not matter how the other end went.
    socket.on('error', () => {});
    try {
      if (this.#descriptor !== undefined) sendDescriptor(descriptorOf(socket), this.#descriptor);
    } catch (error) {
      this.#failed(error);
    }
    socket.destroy();
  }

  #forget(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }

  #failed(error: unknown): void {
    const text = `ha-agent is not shown the state of this process: ${messageOf(error)}`;
    if (text === this.#trouble) return;
    this.#trouble = text;
    this.#onTrouble(text);
  }
}

import { EventEmitter } from 'node:events';
import { asking, surroundings } from './current.ts';

export * from 'node:net';

/** Until a connection is refused. */
const REFUSE_MS = 0.2;

/** In place of a socket that is connected to a path of this machine. */
class PathSocket extends EventEmitter {
  readonly #process = asking();
  readonly #lbd = surroundings().lbdOf(this.#process.machine);
  readyState: 'opening' | 'open' | 'closed' = 'opening';
  destroyed = false;
  readonly writableLength = 0;

  constructor() {
    super();
    const accepted = this.#lbd.accept(this.#process, {
      connected: () => {
        if (this.destroyed) return;
        this.readyState = 'open';
        this.emit('connect');
      },
      said: (text) => {
        if (!this.destroyed) this.emit('data', text);
      },
      ended: () => this.#close(),
    });
    if (accepted) return;
    this.#process.inputLater(REFUSE_MS, () => {
      this.emit('error', Object.assign(new Error('connect ENOENT'), { code: 'ENOENT' }));
      this.#close();
    });
  }

  setEncoding(): this {
    return this;
  }

  write(text: string): boolean {
    // The agent writes whole lines, one at a time.
    if (this.readyState === 'open') this.#lbd.fromAgent(text.slice(0, -1));
    return true;
  }

  end(): this {
    return this.destroy();
  }

  destroy(): this {
    if (!this.destroyed) this.#process.inputLater(0, () => this.#close());
    this.destroyed = true;
    this.readyState = 'closed';
    return this;
  }

  #close(): void {
    if (this.readyState === 'closed' && !this.destroyed) return;
    this.readyState = 'closed';
    this.destroyed = true;
    this.emit('close', false);
    this.removeAllListeners();
  }
}

/** Nobody listens: of `lbd` there is only the liveness socket, as of one of a former release. */
class RefusedSocket extends EventEmitter {
  readonly connecting = true;

  constructor() {
    super();
    asking().inputLater(REFUSE_MS, () =>
      this.emit('error', Object.assign(new Error('connect ENOENT'), { code: 'ENOENT' })),
    );
  }

  pause(): void {}

  unref(): void {}

  destroy(): void {}
}

/**
 * In place of `net.createConnection`.
 *
 * @param to the liveness socket of `lbd`, or as an object the one that shows its process
 */
export function createConnection(to: string | { readonly path: string }): PathSocket | RefusedSocket {
  return typeof to === 'string' ? new PathSocket() : new RefusedSocket();
}

export const connect = createConnection;

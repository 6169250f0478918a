import { connect, createServer, type Server } from 'node:net';

/** Abstract sockets are named per network namespace, as tables are, and end with their process. */
const NAME = '\0tandem_lb';
/** A host that is busy; whoever listens is connected to at once. */
const ANSWER_MS = 1_000;

/**
 * Tells lbds on one host whose table it is. Who has frontends in the kernel listens at a name that all of them know: so
 * one without such frontends does not take another one's table for a leftover. Best effort: any program may take the name,
 * and then a leftover stays.
 */
export class TableOwner {
  readonly #name: string;
  #server: Server | undefined;

  /** @param name another one only in tests */
  constructor(name = NAME) {
    this.#name = name;
  }

  /** Says that the table is in use, from now until `close`; where another process does so, until it ends. */
  claim(): void {
    if (this.#server !== undefined) return;
    const server = createServer((socket) => socket.destroy());
    this.#server = server;
    server.on('error', () => {
      // Somebody has it: the next claim tries again.
      if (this.#server === server) this.#server = undefined;
    });
    server.listen(this.#name);
    server.unref();
  }

  /** Whether any process says that the table is in use. */
  isClaimed(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connect(this.#name);
      const settle = (claimed: boolean) => {
        socket.destroy();
        resolve(claimed);
      };
      socket.setTimeout(ANSWER_MS, () => settle(true));
      socket.once('connect', () => settle(true));
      socket.once('error', () => settle(false));
    });
  }

  close(): void {
    this.#server?.close();
    this.#server = undefined;
  }
}

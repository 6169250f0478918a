import type { Server } from 'node:tls';

/**
 * The servers of the names that were asked for last. To make one takes a millisecond or two and some memory, so that of
 * ten thousand certificates only those are made that clients want, and so many at most.
 */
export class RecentServers {
  readonly #most: number;
  readonly #onForgotten: (server: Server) => void;
  /** Least recently used first. */
  readonly #servers = new Map<string, { readonly server: Server; readonly serverName: string }>();

  /** @param onForgotten told of each that nobody will be given any more; its connections go on */
  constructor(most: number, onForgotten: (server: Server) => void) {
    this.#most = most;
    this.#onForgotten = onForgotten;
  }

  get size(): number {
    return this.#servers.size;
  }

  /** @param make called where it is not there; what it throws is not kept */
  get(key: string, serverName: string, make: () => Server): Server {
    const known = this.#servers.get(key);
    if (known !== undefined) {
      this.#servers.delete(key);
      this.#servers.set(key, known);
      return known.server;
    }
    const server = make();
    this.#servers.set(key, { server, serverName });
    if (this.#servers.size > this.#most) this.#forget(this.#servers.keys().next().value!);
    return server;
  }

  /** Forgets those whose names have other certificates now. @param keyOf what a name has */
  keepOnly(keyOf: (serverName: string) => string): void {
    for (const [key, { serverName }] of this.#servers) if (keyOf(serverName) !== key) this.#forget(key);
  }

  #forget(key: string): void {
    const { server } = this.#servers.get(key)!;
    this.#servers.delete(key);
    this.#onForgotten(server);
  }
}

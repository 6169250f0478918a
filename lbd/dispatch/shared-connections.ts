/** A connection to a backend that carries several requests at a time. */
export interface SharedConnection {
  /** IP address of the backend that it leads to. */
  readonly address: string;
  /** Nobody uses it, or waits for it. */
  readonly idle: boolean;
  /** Takes no more requests, and ends with the last one; nobody finds it any more. */
  retire(): void;
}

/** What a worker has of them to one backend, and what it has learnt of it. */
export class SharedConnections {
  /** What the backend chose last by ALPN was HTTP/1.1: whoever wants a connection makes one of his own. */
  declined = false;
  /** Requests at a time that the backend takes on one connection, as it said last. */
  mostStreams = Number.MAX_SAFE_INTEGER;
  readonly #all: SharedConnection[] = [];

  add(connection: SharedConnection): void {
    this.#all.push(connection);
  }

  remove(connection: SharedConnection): void {
    const at = this.#all.indexOf(connection);
    if (at >= 0) this.#all.splice(at, 1);
  }

  /** The one that is there for the longest time: so those that are not needed fall idle. */
  find<T extends SharedConnection>(fits: (connection: SharedConnection) => connection is T): T | undefined {
    return this.#all.find(fits);
  }

  /** @param which those to retire; all of them, where it is left out */
  retire(which: (connection: SharedConnection) => boolean = () => true): void {
    for (const connection of this.#all.filter(which)) connection.retire();
  }

  /** Ends one that nobody uses. @returns false: there is none */
  dropIdle(): boolean {
    const idle = this.#all.find((connection) => connection.idle);
    idle?.retire();
    return idle !== undefined;
  }
}
